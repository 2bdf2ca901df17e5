//! How large the tree is that Go makes of a pattern: it refuses one higher than [`MAX_HEIGHT`], and
//! counts that multiply to more than [`MAX_REPEATS`].
//!
//! Counted as `regexp/syntax` does while it reads: a capturing group, a repetition, a sequence and a
//! list of alternatives are one level each; characters in a row are one node, and so are single
//! characters beside each other in alternatives. What Go factors out of alternatives that begin
//! alike is left as it is written, which may be a level more or less.

/// Go's bound on the height (`maxHeight`).
pub(super) const MAX_HEIGHT: usize = 1000;
/// Go's bound on a count, and on what counts around each other multiply to (`repeatIsValid`).
pub(super) const MAX_REPEATS: u32 = 1000;

/// A part of the tree.
#[derive(Clone, Copy)]
struct Part {
    kind: Kind,
    height: usize,
    /// What the counts in it multiply to at most.
    repeats: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// So many characters in a row.
    Literal(usize),
    /// A class, or what is like one.
    Character,
    Sequence,
    Alternatives,
    Other,
}

impl Part {
    fn leaf(kind: Kind) -> Part {
        Part { kind, height: 1, repeats: 1 }
    }

    fn is_one_character(self) -> bool {
        matches!(self.kind, Kind::Literal(1) | Kind::Character)
    }
}

/// Parts beside each other.
#[derive(Default)]
struct Row {
    count: usize,
    highest: usize,
    repeats: u32,
    last: Option<Part>,
}

impl Row {
    /// One more; a row of the same kind is one with this, and so are characters with those before.
    fn take(&mut self, part: Part, kind: Kind) {
        if let (Some(Kind::Literal(before)), Kind::Literal(more), Kind::Sequence) =
            (self.last.map(|last| last.kind), part.kind, kind)
        {
            self.last = Some(Part::leaf(Kind::Literal(before + more)));
            return;
        }
        let is_row = part.kind == kind;
        self.count += if is_row { 2 } else { 1 };
        self.highest = self.highest.max(part.height - usize::from(is_row));
        self.repeats = self.repeats.max(part.repeats);
        self.last = Some(part);
    }

    fn end(self, kind: Kind) -> Part {
        match self.last {
            Some(only) if self.count == 1 => only,
            Some(_) => Part { kind, height: self.highest + 1, repeats: self.repeats },
            None => Part::leaf(Kind::Other),
        }
    }
}

/// A group that is open, or the pattern as a whole.
#[derive(Default)]
struct Level {
    captures: bool,
    alternatives: Row,
    sequence: Row,
    /// The last of the sequence, which what follows may still change.
    last: Option<Part>,
}

impl Level {
    fn push(&mut self, part: Part) {
        self.settle();
        self.last = Some(part);
    }

    fn settle(&mut self) {
        if let Some(part) = self.last.take() {
            self.sequence.take(part, Kind::Sequence);
        }
    }

    /// Whether what the counts multiply to is within the bound.
    fn repeat(&mut self, times: u32) -> bool {
        let Some(last) = self.last else { return true };
        let repeats = last.repeats.saturating_mul(times);
        self.last = Some(Part { kind: Kind::Other, height: last.height + 1, repeats });
        times < 2 || repeats <= MAX_REPEATS
    }

    fn end_alternative(&mut self) {
        self.settle();
        let part = std::mem::take(&mut self.sequence).end(Kind::Sequence);
        let before = self.alternatives.last;
        if before.is_some_and(Part::is_one_character) && part.is_one_character() {
            self.alternatives.last = Some(Part::leaf(Kind::Character));
            return;
        }
        self.alternatives.take(part, Kind::Alternatives);
    }

    fn end(mut self) -> Part {
        self.end_alternative();
        let inner = self.alternatives.end(Kind::Alternatives);
        match self.captures {
            true => Part { kind: Kind::Other, height: inner.height + 1, ..inner },
            false => inner,
        }
    }
}

/// Counts along while a pattern is read.
pub(super) struct Height {
    levels: Vec<Level>,
}

impl Height {
    pub(super) fn new() -> Height {
        Height { levels: vec![Level::default()] }
    }

    /// A character that stands for itself.
    pub(super) fn literal(&mut self) {
        self.push(Part::leaf(Kind::Literal(1)));
    }

    /// A class or `.`.
    pub(super) fn character(&mut self) {
        self.push(Part::leaf(Kind::Character));
    }

    /// An assertion.
    pub(super) fn assertion(&mut self) {
        self.push(Part::leaf(Kind::Other));
    }

    /// A repetition of what stands before it, so many times at most, or at least if there is no most;
    /// 1 if none is counted. Whether Go takes it.
    pub(super) fn repeat(&mut self, times: u32) -> bool {
        self.levels.last_mut().is_none_or(|level| level.repeat(times))
    }

    /// A `|`.
    pub(super) fn alternative(&mut self) {
        self.levels.last_mut().into_iter().for_each(Level::end_alternative);
    }

    /// The beginning of a group.
    pub(super) fn open(&mut self, captures: bool) {
        self.levels.push(Level { captures, ..Level::default() });
    }

    /// The end of a group.
    pub(super) fn close(&mut self) {
        if let Some(group) = self.levels.pop() {
            self.push(group.end());
        }
    }

    /// The height of the whole, between `^` and `$` if it is anchored.
    pub(super) fn whole(mut self, anchored: bool) -> usize {
        let whole = self.levels.pop().map_or(Part::leaf(Kind::Other), Level::end);
        whole.height + usize::from(anchored && whole.kind != Kind::Sequence)
    }

    fn push(&mut self, part: Part) {
        self.levels.last_mut().into_iter().for_each(|level| level.push(part));
    }
}
