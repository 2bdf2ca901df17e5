//! The labels and annotations of a rule's alerts, rendered once and kept while they would read the same.
//!
//! Most alerts go on as they were: the same series, the same value, and queries within the texts
//! that find what they found before. Such an alert keeps its texts. What a text asked is asked again
//! in every evaluation, each query once for all alerts of the rule, so a text is never older than
//! the evaluation that carries it. A text that reads the clock, or whose query failed, is rendered
//! each time.

use std::sync::Arc;

use super::evaluate::{Context, evaluate};
use crate::base::{HashMap, Labels, LabelsBuilder, Remembered};
use crate::promql::ast::Expr;
use crate::promql::parse;
use crate::template::{Limits, Template, TemplateData};
use crate::window::Source;

/// A query that no text has asked for so many evaluations is forgotten.
const KEPT_ROUNDS: u64 = 60;

/// What a query found; the same piece of memory as long as that stays the same.
type Found = Arc<[(Labels, f64)]>;

/// What an alert says.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// Its full label set.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
}

#[derive(Debug)]
struct Kept {
    /// The bits of the value it was rendered with.
    value: u64,
    said: Said,
    /// What its texts asked, and what they were told.
    asked: Vec<(Arc<str>, Found)>,
}

#[derive(Debug)]
struct Query {
    expr: Expr,
    /// The evaluation it was asked in last.
    round: u64,
    found: Found,
}

/// The texts of one rule.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// Templates of the labels; by label name.
    labels: Vec<(String, Template)>,
    /// Templates of the annotations; by name.
    annotations: Vec<(String, Template)>,
    reads_clock: bool,
    kept: Remembered<Kept>,
    queries: HashMap<Arc<str>, Query>,
    round: u64,
}

/// The query of a text failed; the text says so and is not kept.
struct Failed(String);

impl Texts {
    /// The texts of an alerting rule.
    pub fn new(labels: Vec<(String, Template)>, annotations: Vec<(String, Template)>) -> Texts {
        let mut all = labels.iter().chain(&annotations);
        let reads_clock = all.any(|(_, template)| template.reads_clock());
        Texts { labels, annotations, reads_clock, ..Texts::default() }
    }

    /// Begins an evaluation: what queries found before may have changed.
    pub fn begin_round(&mut self) {
        self.round += 1;
    }

    /// What the alert of a series says now.
    pub fn say(
        &mut self,
        name: &str,
        (series, value): (&Labels, f64),
        source: &dyn Source,
        context: &Context<'_>,
    ) -> Said {
        if let Some(said) = self.kept_for(series, value, source, context) {
            return said;
        }
        let mut asked = Vec::new();
        let mut failed = false;
        let (labels, annotations) =
            (std::mem::take(&mut self.labels), std::mem::take(&mut self.annotations));
        let data = TemplateData {
            labels: series,
            external_labels: context.external_labels,
            external_url: context.external_url,
            value,
            at: context.at,
        };
        let mut query = |text: &str| {
            let text: Arc<str> = Arc::from(text);
            match self.ask(&text, source, context) {
                Ok(found) => {
                    asked.push((text, Arc::clone(&found)));
                    Ok(found.to_vec())
                }
                Err(Failed(why)) => {
                    failed = true;
                    Err(why)
                }
            }
        };
        // A template that fails says so in its own text: the alert is sent all the same.
        let mut expand = |template: &Template| {
            template
                .expand(&data, &mut query, Limits::default())
                .unwrap_or_else(|error| format!("<error expanding template: {error}>"))
        };
        let mut builder = LabelsBuilder::from(&series.without_name());
        for (name, template) in &labels {
            builder.set(name, &expand(template));
        }
        builder.set("alertname", name);
        let texts = annotations.iter().map(|(name, template)| (name.as_str(), expand(template)));
        let said = Said { annotations: Labels::of_texts(texts), labels: builder.build() };
        (self.labels, self.annotations) = (labels, annotations);
        if !failed && !self.reads_clock {
            let kept = Kept { value: value.to_bits(), said: said.clone(), asked };
            self.kept.insert(series, kept);
        }
        said
    }

    /// Forgets what no evaluation has needed for a while.
    pub fn forget_unused(&mut self) {
        self.kept.forget_unused();
        let round = self.round;
        self.queries.retain(|_, query| round - query.round < KEPT_ROUNDS);
    }

    /// How many texts are kept, and how many queries.
    #[cfg(test)]
    pub fn size(&self) -> (usize, usize) {
        (self.kept.len(), self.queries.len())
    }

    /// What was said of this series last, if nothing it rests on has changed.
    fn kept_for(
        &mut self,
        series: &Labels,
        value: f64,
        source: &dyn Source,
        context: &Context<'_>,
    ) -> Option<Said> {
        let Texts { kept, queries, round, .. } = self;
        let kept = kept.get(series).filter(|kept| kept.value == value.to_bits())?;
        let is_same = kept.asked.iter().all(|(text, before)| {
            let query = queries.get_mut(text);
            let found = query.and_then(|query| query.ask(*round, source, context).ok());
            found.is_some_and(|found| Arc::ptr_eq(&found, before))
        });
        is_same.then(|| kept.said.clone())
    }

    /// Runs a query of a text, once in an evaluation.
    fn ask(
        &mut self,
        text: &Arc<str>,
        source: &dyn Source,
        context: &Context<'_>,
    ) -> Result<Found, Failed> {
        if !self.queries.contains_key(text) {
            let expr = parse(text, &context.options.features.parsing());
            let expr = expr.map_err(|error| Failed(error.to_string()))?;
            // Rounds count from 1, so this one has not been asked yet.
            let query = Query { expr, round: 0, found: Arc::from([]) };
            self.queries.insert(Arc::clone(text), query);
        }
        let query = self.queries.get_mut(text).expect("it was put there if it was not");
        query.ask(self.round, source, context)
    }
}

impl Query {
    fn ask(
        &mut self,
        round: u64,
        source: &dyn Source,
        context: &Context<'_>,
    ) -> Result<Found, Failed> {
        if self.round != round {
            let found = evaluate(&self.expr, source, context);
            let found = found.map_err(|error| Failed(error.to_string()))?.vector;
            if !is_same(&found, &self.found) {
                self.found = Arc::from(found);
            }
            self.round = round;
        }
        Ok(Arc::clone(&self.found))
    }
}

/// Whether two results read the same; a value that is not a number is itself.
fn is_same(a: &[(Labels, f64)], b: &[(Labels, f64)]) -> bool {
    let pairs = || a.iter().zip(b);
    a.len() == b.len() && pairs().all(|(a, b)| a.1.to_bits() == b.1.to_bits() && a.0 == b.0)
}
