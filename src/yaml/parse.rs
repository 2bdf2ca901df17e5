//! From the parser's events to the tree: aliases and merge keys resolved, everything bounded.
//!
//! A scanner error ends the reading, because nothing behind it can be trusted; a key that stands
//! twice does not. A document is refused when it grows beyond [`MAX_WEIGHT`] by its aliases
//! (billion laughs) or nests deeper than [`MAX_DEPTH`].

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::node::{Escapes, Key, Kind, Node, Position, Scalar};
use super::problem::{Problem, Problems};
use crate::base::HashMap;

/// How large a document may become, aliases counted as often as they are used: one for each node
/// and one for every 64 bytes of text. 4,000 rules weigh about 100,000.
const MAX_WEIGHT: usize = 500_000;
/// How deep maps and lists may nest; the deepest known configuration needs 9.
const MAX_DEPTH: usize = 64;

/// Reads one document. `None` when it cannot be read; an empty text is [`Kind::Null`]. `file` is
/// the name to say in messages.
pub fn parse(file: &str, text: &str, problems: &mut Problems) -> Option<Node> {
    parse_within(MAX_WEIGHT, file, text, problems)
}

fn parse_within(
    max_weight: usize,
    file: &str,
    text: &str,
    problems: &mut Problems,
) -> Option<Node> {
    let mut builder = Builder {
        events: Parser::new_from_str(text),
        text,
        file,
        anchors: HashMap::default(),
        weight: 0,
        max_weight,
        problems,
    };
    match builder.document() {
        Ok(node) => Some(node),
        Err(problem) => {
            problems.push(*problem);
            None
        }
    }
}

type Result<T> = std::result::Result<T, Box<Problem>>;

/// An anchored node, and what a copy of it costs.
struct Anchor {
    node: Node,
    weight: usize,
    height: usize,
}

struct Builder<'i, 'p> {
    events: Parser<'i, StrInput<'i>>,
    text: &'i str,
    file: &'i str,
    /// Finished anchors; an alias inside its own anchor does not find it.
    anchors: HashMap<usize, Anchor>,
    weight: usize,
    max_weight: usize,
    problems: &'p mut Problems,
}

impl<'i> Builder<'i, '_> {
    fn document(&mut self) -> Result<Node> {
        let mut root = Node { at: Position { line: 1, column: 1 }, kind: Kind::Null };
        let mut documents = 0;
        while let Some(event) = self.events.next() {
            match event.map_err(|error| self.unreadable(&error))? {
                (Event::DocumentStart(..), span) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(self
                            .refuse(start(&span), "a second document begins here")
                            .hint("one file holds one document; remove the `---`")
                            .into());
                    }
                    let (event, span) = self.next()?;
                    root = self.node(event, span, 0)?;
                }
                (Event::StreamStart | Event::StreamEnd | Event::DocumentEnd, _) => {}
                (event, span) => unreachable!("{event:?} at {span:?} is inside a document"),
            }
        }
        Ok(root)
    }

    fn next(&mut self) -> Result<(Event<'i>, Span)> {
        match self.events.next() {
            Some(event) => event.map_err(|error| self.unreadable(&error)),
            None => unreachable!("the parser closes what it has opened"),
        }
    }

    fn node(&mut self, event: Event<'i>, span: Span, depth: usize) -> Result<Node> {
        let at = start(&span);
        if depth > MAX_DEPTH {
            return Err(self.refuse(at, format!("nested deeper than {MAX_DEPTH} levels")).into());
        }
        let (kind, anchor) = match event {
            Event::Alias(id) => return self.alias(id, at, depth),
            Event::Scalar(text, style, anchor, tag) => {
                self.known_tag(tag.as_deref(), at)?;
                let is_text = tag.as_deref().is_some_and(|t| t.is_yaml_core_schema_tag("str"));
                (scalar(&text, style, is_text, self.source(&span)), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.known_tag(tag.as_deref(), at)?;
                (Kind::Seq(self.items(depth)?), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.known_tag(tag.as_deref(), at)?;
                (Kind::Map(self.entries(depth)?), anchor)
            }
            event => unreachable!("{event:?} begins no node"),
        };
        let node = Node { at, kind };
        self.charge(own_weight(&node), at)?;
        if anchor != 0 {
            let (weight, height) = measure(&node);
            self.charge(weight, at)?;
            self.anchors.insert(anchor, Anchor { node: node.clone(), weight, height });
        }
        Ok(node)
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<(Key, Node)>> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen: HashMap<String, Position> = HashMap::default();
        let mut merges = None;
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(t, ScalarStyle::Plain, ..) if t == "<<");
            let at = start(&span);
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            let Kind::Scalar(Scalar { text, .. }) = key.kind else {
                let found = key.describe();
                return Err(self.refuse(at, format!("a key must be a word, not {found}")).into());
            };
            if let Some(first) = seen.get(&text) {
                let problem = self.refuse(at, format!("key `{text}` stands here a second time"));
                self.problems.push(problem.hint(format!("the first is at {first}")));
                continue;
            }
            seen.insert(text.clone(), at);
            if is_merge {
                merges = Some((at, value));
            } else {
                entries.push((Key { text, at }, value));
            }
        }
        if let Some((at, value)) = merges {
            for (key, node) in self.merged(value, at)? {
                if seen.insert(key.text.clone(), key.at).is_none() {
                    entries.push((key, node));
                }
            }
        }
        Ok(entries)
    }

    /// What `<<` brings, in order of precedence: a key that is written out wins over all of it,
    /// then the earlier of the merged maps.
    fn merged(&self, value: Node, at: Position) -> Result<Vec<(Key, Node)>> {
        let maps = match value.kind {
            Kind::Seq(items) => items,
            _ => vec![value],
        };
        let mut merged = Vec::new();
        for map in maps {
            let Kind::Map(entries) = map.kind else {
                let message = format!("`<<` merges maps, and this is {}", map.describe());
                return Err(self.refuse(at, message).into());
            };
            merged.extend(entries);
        }
        Ok(merged)
    }

    fn alias(&mut self, id: usize, at: Position, depth: usize) -> Result<Node> {
        let Some(Anchor { node, weight, height }) = self.anchors.get(&id) else {
            return Err(self.refuse(at, "this alias stands inside what it refers to").into());
        };
        let (node, weight, height) = (node.clone(), *weight, *height);
        if depth + height > MAX_DEPTH {
            return Err(self.refuse(at, format!("nested deeper than {MAX_DEPTH} levels")).into());
        }
        self.charge(weight, at)?;
        Ok(node)
    }

    /// Counts what is built; the budget is spent before the memory is.
    fn charge(&mut self, weight: usize, at: Position) -> Result<()> {
        self.weight += weight;
        if self.weight > self.max_weight {
            let message = "the document grows too large here";
            let hint = format!("at most {} values, aliases counted at each use", self.max_weight);
            return Err(self.refuse(at, message).hint(hint).into());
        }
        Ok(())
    }

    fn known_tag(&self, tag: Option<&Tag>, at: Position) -> Result<()> {
        match tag.filter(|tag| tag.is_custom()) {
            None => Ok(()),
            Some(tag) => {
                let message = format!("the tag `{}` means nothing here", tag.original());
                Err(self.refuse(at, message).into())
            }
        }
    }

    fn source(&self, span: &Span) -> &'i str {
        span.slice(self.text).unwrap_or_default()
    }

    fn refuse(&self, at: Position, message: impl Into<String>) -> Problem {
        Problem::in_file(self.file, at, message)
    }

    /// The parser's error in words: its names are whole phrases in camel case.
    fn unreadable(&self, error: &ScanError) -> Box<Problem> {
        let at = Position { line: error.marker().line(), column: error.marker().col() + 1 };
        let debug = format!("{:?}", error.kind());
        if *error.kind() == ErrorKind::RecursionLimitExceeded {
            return self.refuse(at, format!("nested deeper than {MAX_DEPTH} levels")).into();
        }
        let name = debug.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        let mut words = String::new();
        for c in name.chars() {
            if c.is_ascii_uppercase() {
                words.push(' ');
            }
            words.push(c.to_ascii_lowercase());
        }
        let problem = self.refuse(at, format!("not YAML:{words}"));
        let line = self.text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
        let indent = line.len() - line.trim_start().len();
        match name {
            _ if line[..indent].contains('\t') || name.contains("Tab") => {
                problem.hint("indent with spaces, not tabs")
            }
            "MappingValueNotAllowed" => problem.hint("put a text that contains `: ` in quotes"),
            "UnknownAnchor" => problem.hint("put a text that begins with `*` in quotes"),
            _ => problem,
        }
        .into()
    }
}

fn start(span: &Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

fn scalar(text: &str, style: ScalarStyle, is_text: bool, source: &str) -> Kind {
    let plain = style == ScalarStyle::Plain && !is_text;
    if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Kind::Null;
    }
    let escapes = match style {
        ScalarStyle::SingleQuoted => Escapes::Doubled,
        ScalarStyle::DoubleQuoted => Escapes::Backslash,
        ScalarStyle::Plain | ScalarStyle::Literal | ScalarStyle::Folded => Escapes::None,
    };
    let raw = (source != text).then(|| source.to_owned());
    Kind::Scalar(Scalar { text: text.to_owned(), quoted: !plain, raw, escapes })
}

/// The weight of a node without its children.
fn own_weight(node: &Node) -> usize {
    let bytes = match &node.kind {
        Kind::Null | Kind::Seq(_) => 0,
        Kind::Scalar(scalar) => scalar.text.len() + scalar.raw.as_ref().map_or(0, String::len),
        Kind::Map(entries) => entries.iter().map(|(key, _)| 64 + key.text.len()).sum(),
    };
    1 + bytes / 64
}

/// Weight and height of a node with its children.
fn measure(node: &Node) -> (usize, usize) {
    let children: Vec<&Node> = match &node.kind {
        Kind::Null | Kind::Scalar(_) => Vec::new(),
        Kind::Seq(items) => items.iter().collect(),
        Kind::Map(entries) => entries.iter().map(|(_, node)| node).collect(),
    };
    let below = children.into_iter().map(measure);
    let (weight, height) = below.fold((0, 0), |(w, h), (cw, ch)| (w + cw, h.max(ch + 1)));
    (weight + own_weight(node), height)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// The tree in one line; scalars that surely are texts in quotes.
    fn show(node: &Node) -> String {
        match &node.kind {
            Kind::Null => "-".to_owned(),
            Kind::Scalar(scalar) if scalar.quoted => format!("{:?}", scalar.text),
            Kind::Scalar(scalar) => scalar.text.clone(),
            Kind::Seq(items) => {
                format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
            }
            Kind::Map(entries) => {
                let parts: Vec<String> = entries
                    .iter()
                    .map(|(key, node)| format!("{}={}", key.text, show(node)))
                    .collect();
                format!("{{{}}}", parts.join(" "))
            }
        }
    }

    fn check(text: &str, want: &str) {
        let mut problems = Problems::default();
        let shown = match parse("a.yml", text, &mut problems) {
            Some(node) if problems.is_empty() => show(&node),
            _ => problems.to_string().trim_end().replace("a.yml:", ""),
        };
        assert_eq!(shown, want, "{text:?}");
    }

    #[test]
    fn documents_become_trees() {
        let cases = [
            ("", "-"),
            ("# only a comment\n", "-"),
            ("---\n", "-"),
            ("a: 1.10\nb: 014\nc: yes\nd: True\n", "{a=1.10 b=014 c=yes d=True}"),
            ("a:\nb: ~\nc: null\nd: ''\ne: 'null'\n", "{a=- b=- c=- d=\"\" e=\"null\"}"),
            ("a: !!str 1\nb: !!str\n", "{a=\"1\" b=\"\"}"),
            ("\u{feff}a: [x, 'y']\n", "{a=[x \"y\"]}"),
            ("a: |\n  x\n  y\n", "{a=\"x\\ny\\n\"}"),
            ("'a b': 1\n\"c\": 2\n3: 4\n", "{a b=1 c=2 3=4}"),
            ("a: &x {k: v}\nb: *x\nc: &y t\nd: *y\n", "{a={k=v} b={k=v} c=t d=t}"),
            ("a: &x {k: v, l: w}\nb: {<<: *x, k: own}\n", "{a={k=v l=w} b={k=own l=w}}"),
            ("- &x {k: 1}\n- &y {k: 2, l: 2}\n- {<<: [*x, *y]}\n", "[{k=1} {k=2 l=2} {k=1 l=2}]"),
            ("'<<': x\n", "{<<=x}"),
            ("...\n", "-"),
        ];
        for (text, want) in cases {
            check(text, want);
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_where_it_stands() {
        let cases = [
            ("a: 1\nb: 2\na: 3\n", "3:1: key `a` stands here a second time; the first is at 1:1"),
            (
                "a: {b: 1, b: 2}\nc: {d: 1, d: 2}\n",
                "1:11: key `b` stands here a second time; the first is at 1:5\n\
                 2:11: key `d` stands here a second time; the first is at 2:5",
            ),
            (
                "x: &x {k: 1}\ny: {<<: *x, <<: *x}\n",
                "2:13: key `<<` stands here a second time; the first is at 2:5",
            ),
            (
                "a: 1\n---\nb: 2\n",
                "2:1: a second document begins here; one file holds one document; remove the `---`",
            ),
            (
                "a: b: c",
                "1:5: not YAML: mapping value not allowed; put a text that contains `: ` in quotes",
            ),
            ("a: *b", "1:4: not YAML: unknown anchor; put a text that begins with `*` in quotes"),
            ("a: &x [*x]", "1:8: this alias stands inside what it refers to"),
            ("<<: 3\n", "1:1: `<<` merges maps, and this is a single value"),
            ("? [a]\n: b\n", "1:3: a key must be a word, not a list"),
            (": b\n", "1:1: a key must be a word, not nothing"),
            ("a: !vault x\n", "1:11: the tag `!vault` means nothing here"),
        ];
        for (text, want) in cases {
            check(text, want);
        }
    }

    #[test]
    fn tabs_are_named() {
        let mut problems = Problems::default();
        assert_eq!(parse("a.yml", "a:\n  b: 1\n\tc: 2\n", &mut problems), None);
        assert!(problems.to_string().ends_with("indent with spaces, not tabs\n"), "{problems}");
    }

    #[test]
    fn billion_laughs_are_refused_at_the_alias_that_breaks_the_budget() {
        let mut text = "a0: &a0 lol\n".to_owned();
        for level in 1..10 {
            let refs = vec![format!("*a{}", level - 1); 9].join(", ");
            writeln!(text, "a{level}: &a{level} [{refs}]").expect("writes to a string");
        }
        let mut problems = Problems::default();
        assert_eq!(parse("a.yml", &text, &mut problems), None);
        let shown = problems.to_string();
        assert!(shown.starts_with("a.yml:6:") || shown.starts_with("a.yml:7:"), "{shown}");
        assert!(shown.contains("grows too large"), "{shown}");
    }

    #[test]
    fn every_way_to_grow_counts() {
        let long_text = format!("a: &a '{}'\nb: [{}]\n", "x".repeat(6400), "*a, ".repeat(10));
        let many_nodes = format!("a:\n  [{}]\n", "a,".repeat(1000));
        let nested_anchors: String = (0..50).map(|level| format!("&a{level} [")).collect();
        let nested_anchors = format!("a:\n  {nested_anchors}{}\n", "]".repeat(50));
        for text in [long_text, many_nodes, nested_anchors] {
            let mut problems = Problems::default();
            assert_eq!(parse_within(1000, "a.yml", &text, &mut problems), None);
            assert!(problems.to_string().starts_with("a.yml:2:"), "{problems}");
        }
    }

    #[test]
    fn depth_is_bounded_also_through_aliases() {
        let open = format!("a: {}", "[".repeat(200_000));
        let mut chain = "a0: &a0 [x]\n".to_owned();
        for level in 1..100 {
            writeln!(chain, "a{level}: &a{level} [*a{}]", level - 1).expect("writes to a string");
        }
        let closed = format!("a: {}{}", "[".repeat(70), "]".repeat(70));
        for (text, place) in [(open, "1:"), (closed, "1:68:"), (chain, "64:")] {
            let mut problems = Problems::default();
            assert_eq!(parse("a.yml", &text, &mut problems), None);
            let shown = problems.to_string();
            assert!(shown.starts_with(&format!("a.yml:{place}")), "{shown}");
            assert!(shown.contains("deeper than"), "{shown}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-a-c:?&*<>|{}\\[\\]'\"!%#, \n\t~é\u{feff}\\\\]{0,80}") {
            let mut problems = Problems::default();
            if parse("a.yml", &text, &mut problems).is_none() {
                proptest::prop_assert!(problems.has_errors());
            }
        }
    }
}
