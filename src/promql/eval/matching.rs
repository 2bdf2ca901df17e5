//! Vector matching: arithmetic and comparisons between two vectors.
//!
//! Signatures are computed once per series; what can pair with what is then known for all steps,
//! and each pair of series is one pass over two rows.

use super::super::ast::{Binary, Group, Matching};
use super::binary::apply;
use super::budget::Paid;
use super::column::{ABSENT, Head, Vector, is_present};
use super::engine::Engine;
use super::error::EvalError;
use super::keys::{Numbering, Signature};
use super::names::{GoLabels, is_metadata, merge_rows, settled, strip, visible};
use crate::base::{Labels, LabelsBuilder};

/// No further series in a chain.
const END: u32 = u32::MAX;

/// The two sides of a join, by how many series may share a signature.
struct Join<'j> {
    binary: &'j Binary,
    /// The signatures of `one`, numbered.
    numbering: Numbering<'j>,
    /// What a result keeps of the labels of `many`, where that hangs on them alone.
    shape: Option<Numbering<'j>>,
    /// The side with possibly many series per signature (one-to-one: the left).
    many: &'j Vector,
    /// The side with at most one per signature and step.
    one: &'j Vector,
    /// Whether `many` is the right operand.
    swapped: bool,
    /// For each signature, the first series of `one`, and for each of those the next.
    first: Vec<u32>,
    next: Vec<u32>,
    /// The signature of each series of `many`; none if `one` lacks it and is not filled.
    number: Vec<Option<u32>>,
    /// Stands in for a missing series of `one`.
    fill_one: Option<f64>,
    /// Stands in for a missing series of `many`.
    fill_many: Option<f64>,
}

/// The result of a join while it grows.
struct Joined {
    vector: Vector,
    /// The signature behind each row.
    number: Paid<u32>,
    /// Whether a signature has a series of `many`, per step.
    met: Paid<bool>,
}

impl Joined {
    /// Ends the row just appended, and gives it its labels unless it is empty.
    fn close(&mut self, number: u32, head: impl FnOnce() -> Head) -> Result<(), EvalError> {
        let before = self.vector.heads.len();
        self.vector.seal_row(head)?;
        if self.vector.heads.len() > before {
            self.number.push(number)?;
        }
        Ok(())
    }
}

impl<'a> Engine<'a> {
    /// The signature of `on` or `ignoring`.
    pub fn matching_signature<'m>(&self, matching: &'m Matching) -> Signature<'m> {
        if matching.on {
            Signature::of(&matching.labels, self.eager())
        } else {
            Signature::without(&matching.labels, self.eager())
        }
    }

    /// What a one-to-one match on chosen labels keeps of its left side, if its metadata labels go.
    fn result_shape(&self, binary: &Binary) -> Option<Numbering<'a>> {
        let matching = &binary.matching;
        let chosen = matching.on || !matching.labels.is_empty();
        let strips = !binary.op.is_comparison() || (self.eager() && binary.return_bool);
        (matching.group == Group::OneToOne && chosen && strips)
            .then(|| Numbering::new(self.memo, self.matching_signature(matching).stripped()))
    }

    /// Evaluates arithmetic or a comparison between two vectors.
    pub fn join(
        &mut self,
        binary: &'a Binary,
        lhs: &Vector,
        rhs: &Vector,
    ) -> Result<Vector, EvalError> {
        let matching = &binary.matching;
        let swapped = matching.group == Group::OneToMany;
        let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
        // Under group_right Prometheus 3.14 swaps the operands but not the values that fill for
        // them: fill_left fills the "many" side there too (fill-modifier.test).
        let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
        let signature = self.matching_signature(matching);
        let mut numbering = Numbering::new(self.memo, signature);
        let mut first: Vec<u32> = Vec::new();
        let mut next = vec![END; one.heads.len()];
        for (series, head) in one.heads.iter().enumerate().rev() {
            let number = numbering.number(head) as usize;
            match first.get_mut(number) {
                Some(first) => next[series] = std::mem::replace(first, series as u32),
                None => first.push(series as u32),
            }
        }
        let number = if fill_one.is_some() {
            many.heads.iter().map(|head| Some(numbering.number(head))).collect()
        } else {
            many.heads.iter().map(|head| numbering.find(head)).collect()
        };
        first.resize(numbering.len(), END);
        let join = Join {
            binary,
            numbering,
            shape: self.result_shape(binary),
            many,
            one,
            swapped,
            first,
            next,
            number,
            fill_one,
            fill_many,
        };
        join.check_one_side(self)?;
        let joined = join.run(self)?;
        join.finish(self, joined)
    }
}

impl Join<'_> {
    /// The series of `one` with a signature.
    fn chain(&self, number: u32) -> impl Iterator<Item = usize> {
        let start = self.first[number as usize];
        std::iter::successors((start != END).then_some(start), |at| {
            let next = self.next[*at as usize];
            (next != END).then_some(next)
        })
        .map(|series| series as usize)
    }

    /// At no step may two series of `one` share a signature, unless there is nothing to match.
    fn check_one_side(&self, engine: &Engine) -> Result<(), EvalError> {
        let fills = self.fill_one.is_some() || self.fill_many.is_some();
        // Whether there is anything to match, per step; looked at once, and only if it matters.
        let mut met: Option<Paid<bool>> = None;
        for number in 0..self.first.len() as u32 {
            if self.chain(number).nth(1).is_none() {
                continue;
            }
            engine.check_deadline()?;
            let met = match &met {
                Some(met) => met,
                None => met.insert(self.steps_of_many(engine)?),
            };
            for step in 0..self.one.steps {
                let mut present =
                    self.chain(number).filter(|series| is_present(self.one.row(*series)[step]));
                let (Some(a), Some(b)) = (present.next(), present.next()) else {
                    continue;
                };
                if fills || met[step] {
                    return Err(self.duplicate(engine, a, b));
                }
            }
        }
        Ok(())
    }

    /// Whether any series of `many` has a value, per step.
    fn steps_of_many(&self, engine: &Engine) -> Result<Paid<bool>, EvalError> {
        let mut met = engine.budget.filled(false, self.many.steps)?;
        for (_, row) in self.many.rows() {
            met.iter_mut().zip(row).for_each(|(met, value)| *met |= is_present(*value));
        }
        Ok(met)
    }

    fn duplicate(&self, engine: &Engine, a: usize, b: usize) -> EvalError {
        let (a, b) = (&self.one.heads[a], &self.one.heads[b]);
        let side = if self.swapped { "left" } else { "right" };
        let group = self.numbering.labels_of(a);
        let group = GoLabels(&group);
        let mut both = [settled(a, engine.eager()), settled(b, engine.eager())];
        both.sort();
        EvalError::execution(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the \
             operation: [{}, {}];many-to-many matching not allowed: matching labels must be \
             unique on one side",
            GoLabels(&both[0]),
            GoLabels(&both[1])
        ))
    }

    fn run(&self, engine: &Engine) -> Result<Joined, EvalError> {
        let steps = self.many.steps;
        let mut joined = Joined {
            vector: Vector::with_room(&engine.budget, self.many.heads.len(), steps)?,
            number: engine.budget.room(self.many.heads.len())?,
            met: engine.budget.filled(false, self.first.len().saturating_mul(steps))?,
        };
        for (series, (head, row)) in self.many.rows().enumerate() {
            let Some(number) = self.number[series] else {
                continue;
            };
            self.meet(&mut joined, number, row)?;
            engine.check_bounds()?;
            for partner in self.chain(number) {
                let cells = joined.vector.open_row()?.iter_mut();
                for ((cell, m), o) in cells.zip(row).zip(self.one.row(partner)) {
                    *cell = self.cell(*m, *o);
                }
                joined.close(number, || self.head(engine, head, Some(&self.one.heads[partner])))?;
            }
            if let Some(fill) = self.fill_one {
                let one = |step| if self.one_present(number, step) { ABSENT } else { fill };
                let cells = joined.vector.open_row()?.iter_mut();
                for (step, (cell, m)) in cells.zip(row).enumerate() {
                    *cell = self.cell(*m, one(step));
                }
                joined.close(number, || self.head(engine, head, None))?;
            }
        }
        if let Some(fill) = self.fill_many {
            self.fill_missing_many(engine, &mut joined, fill)?;
        }
        Ok(joined)
    }

    /// One-to-one, a signature may have one match per step, whether or not a comparison lets it
    /// through. Also remembers for filling which signatures have a series of `many`.
    fn meet(&self, joined: &mut Joined, number: u32, row: &[f64]) -> Result<(), EvalError> {
        let one_to_one = self.binary.matching.group == Group::OneToOne;
        let met = &mut joined.met[number as usize * row.len()..][..row.len()];
        for (step, _) in row.iter().enumerate().filter(|(_, value)| is_present(**value)) {
            let again = std::mem::replace(&mut met[step], true);
            if again && one_to_one && (self.fill_one.is_some() || self.one_present(number, step)) {
                return Err(EvalError::execution(
                    "multiple matches for labels: many-to-one matching must be explicit \
                     (group_left/group_right)",
                ));
            }
        }
        Ok(())
    }

    /// Whether `one` has a value for a signature at a step.
    fn one_present(&self, number: u32, step: usize) -> bool {
        self.chain(number).any(|one| is_present(self.one.row(one)[step]))
    }

    /// Results for series of `one` that no series of `many` matches.
    fn fill_missing_many(
        &self,
        engine: &Engine,
        joined: &mut Joined,
        fill: f64,
    ) -> Result<(), EvalError> {
        let steps = self.many.steps;
        let many = |met| if met { ABSENT } else { fill };
        for number in 0..self.first.len() as u32 {
            for one in self.chain(number) {
                let met = &joined.met[number as usize * steps..][..steps];
                let cells = joined.vector.open_row()?.iter_mut();
                for ((cell, o), met) in cells.zip(self.one.row(one)).zip(met) {
                    *cell = self.cell(many(*met), *o);
                }
                let head = &self.one.heads[one];
                let labels = self.numbering.labels(number);
                let stand_in = Head { labels, drop_name: false };
                joined.close(number, || self.head(engine, &stand_in, Some(head)))?;
            }
        }
        Ok(())
    }

    /// The result for one value of `many` and one of `one`.
    fn cell(&self, many: f64, one: f64) -> f64 {
        if !is_present(many) || !is_present(one) {
            return ABSENT;
        }
        let (lhs, rhs) = if self.swapped { (one, many) } else { (many, one) };
        let result = apply(self.binary.op, lhs, rhs);
        if self.binary.op.is_comparison() && !self.binary.return_bool {
            return if result == 1.0 { lhs } else { ABSENT };
        }
        result
    }

    /// The identity of a result.
    fn head(&self, engine: &Engine, many: &Head, one: Option<&Head>) -> Head {
        let matching = &self.binary.matching;
        let eager = engine.eager();
        let arithmetic = !self.binary.op.is_comparison();
        let one_to_one = matching.group == Group::OneToOne;
        let drop_name = many.drop_name || self.binary.return_bool;
        let reshaped = if one_to_one {
            matching.on || !matching.labels.is_empty()
        } else {
            !matching.include.is_empty()
        };
        if !reshaped {
            return match (arithmetic, eager) {
                (true, true) => Head { labels: many.labels.clone(), drop_name: true },
                (true, false) => {
                    let labels = strip(&many.labels);
                    engine.budget.count_labels(&labels);
                    Head { labels, drop_name }
                }
                (false, _) => Head { labels: many.labels.clone(), drop_name },
            };
        }
        let strips = arithmetic || (eager && self.binary.return_bool);
        let drop_name = drop_name && !eager;
        let stays = |name: &str| {
            let named = || matching.labels.iter().any(|label| label == name);
            !(strips && is_metadata(name)) && (!one_to_one || named() == matching.on)
        };
        let labels = match &self.shape {
            Some(shape) => shape.labels_of(many),
            None => {
                let stay = visible(many, eager).filter(|(name, _)| stays(name));
                let labels = Labels::from_sorted(stay);
                engine.budget.count_labels(&labels);
                labels
            }
        };
        if one_to_one {
            return Head { labels, drop_name };
        }
        let mut builder = LabelsBuilder::from(&labels);
        for name in &matching.include {
            let value = one.and_then(|one| {
                let mut pairs = visible(one, eager);
                pairs.find(|(label, _)| label == name).map(|(_, value)| value)
            });
            builder.set(name, value.unwrap_or(""));
        }
        let labels = builder.build();
        engine.budget.count_labels(&labels);
        Head { labels, drop_name }
    }

    /// Makes the result's series unique where it may not be so by construction.
    fn finish(&self, engine: &Engine, joined: Joined) -> Result<Vector, EvalError> {
        let Joined { mut vector, number, .. } = joined;
        let matching = &self.binary.matching;
        let one_to_one = matching.group == Group::OneToOne;
        let arithmetic = !self.binary.op.is_comparison();
        let drops = arithmetic || self.binary.return_bool;
        let named = |names: &[String]| names.iter().any(|name| is_metadata(name));
        // What stands in for a missing series has no name, and at another step that series has one.
        let distinct = self.many.distinct && self.fill_many.is_none();
        vector.distinct = if one_to_one {
            drops || (!matching.on && distinct) || (matching.on && !named(&matching.labels))
        } else {
            matching.include.is_empty() && (drops || distinct)
        };
        // One-to-one, the labels of a result are as unique as its signature, step by step.
        let unique_by_construction = if !one_to_one {
            matching.include.is_empty() && (self.many.distinct || !drops)
        } else if matching.on {
            vector.steps == 1 && !(drops && named(&matching.labels))
        } else {
            vector.steps == 1 && (self.many.distinct || !drops)
        };
        let filled = self.fill_many.is_some() || self.fill_one.is_some();
        if unique_by_construction && !filled {
            return Ok(vector);
        }
        merge_rows(vector, engine.eager(), |vector, first, second| {
            let meet = vector
                .row(first)
                .iter()
                .zip(vector.row(second))
                .any(|(a, b)| is_present(*a) && is_present(*b));
            if !meet {
                return Ok(());
            }
            if !one_to_one && number[first] == number[second] {
                return Err(EvalError::execution(
                    "multiple matches for labels: grouping labels must ensure unique matches",
                ));
            }
            Err(EvalError::same_labelset())
        })
    }
}
