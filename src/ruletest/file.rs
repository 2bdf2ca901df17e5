//! The format of promtool's unit tests (`cmd/promtool/unittest.go`), read with every problem.
//!
//! Keys, defaults and meaning are promtool's; keys of newer promtools (`fuzzy_compare`,
//! `start_timestamp`) are known too.

use std::time::Duration;

use crate::base::{Labels, Timestamp, parse_rfc3339};
use crate::promql::ast::Expr;
use crate::promql::{
    Features, NotationError, SeriesValues, parse as parse_promql, parse_expected, parse_series,
};
use crate::yaml::{Cursor, Fields, Node, Position, Problems, parse, read as values};

/// `evaluation_interval` where none is given, or 0.
const EVALUATION_INTERVAL: Duration = Duration::from_secs(60);
/// More evaluations than this are a slip of the pen: a year at 5 s is six million.
const MAX_EVALUATIONS: u128 = 10_000_000;

/// Where something stands in the test file.
pub type Place = Position;

/// One test file.
#[derive(Clone, Debug)]
pub struct TestFile {
    /// Its name, as the user gave it.
    pub name: String,
    /// Patterns of rule files, relative to the test file, each with its place.
    pub rule_files: Vec<(String, Place)>,
    /// How often every rule is evaluated.
    pub evaluation_interval: Duration,
    /// Names of groups that are evaluated first, in this order.
    pub group_eval_order: Vec<String>,
    /// Whether values may differ by a rounding error.
    pub fuzzy_compare: bool,
    /// What expressions may use.
    pub features: Features,
    /// The tests, in the order of the file.
    pub tests: Vec<RuleTest>,
}

/// One test: its samples, and what is expected of them.
#[derive(Clone, Debug)]
pub struct RuleTest {
    /// Its name; may be empty.
    pub name: String,
    /// Where it stands.
    pub at: Place,
    /// How far apart the samples are.
    pub interval: Duration,
    /// The time of the first sample, which all times of the test are counted from.
    pub start: Timestamp,
    /// The series and their values.
    pub series: Vec<(Labels, SeriesValues)>,
    /// Which alerts fire.
    pub alerts: Vec<AlertTest>,
    /// What expressions yield.
    pub exprs: Vec<ExprTest>,
    /// `$externalLabels` of templates.
    pub external_labels: Labels,
    /// `$externalURL` of templates.
    pub external_url: String,
}

/// Which alerts of one name fire at one time.
#[derive(Clone, Debug)]
pub struct AlertTest {
    /// Where it stands.
    pub at: Place,
    /// When, counted from the start.
    pub eval_time: Duration,
    /// The name.
    pub alertname: String,
    /// Labels (with `alertname`) and annotations of each.
    pub expected: Vec<(Labels, Labels)>,
}

/// What an expression yields at one time.
#[derive(Clone, Debug)]
pub struct ExprTest {
    /// Where it stands.
    pub at: Place,
    /// When, counted from the start.
    pub eval_time: Duration,
    /// The expression.
    pub expr: Expr,
    /// The same in the file, to find a character of it again.
    pub written: Node,
    /// The samples.
    pub expected: Vec<(Labels, f64)>,
}

/// Reads a test file; `None` if nothing of it can be used. Whoever runs it first looks whether the
/// problems have errors. `features` are those that expressions may use.
pub fn read(name: &str, text: &str, features: Features) -> (Option<TestFile>, Problems) {
    let mut problems = Problems::default();
    let node = parse(name, text, &mut problems);
    let file = node.as_ref().and_then(|node| {
        let mut fields = Fields::open(Cursor::root(name, node, &mut problems))?;
        let rule_files = fields.list("rule_files", |at| {
            let place = at.node.at;
            values::string(at).map(|pattern| (pattern, place))
        });
        let interval = fields.optional("evaluation_interval", values::duration);
        let interval = interval.filter(|d| !d.is_zero()).unwrap_or(EVALUATION_INTERVAL);
        let order = fields.optional("group_eval_order", distinct).unwrap_or_default();
        let fuzzy = fields.or("fuzzy_compare", false, values::boolean);
        let tests = fields.list("tests", |at| test(at, interval, features));
        fields.finish();
        Some(TestFile {
            name: name.to_owned(),
            rule_files,
            evaluation_interval: interval,
            group_eval_order: order,
            fuzzy_compare: fuzzy,
            features,
            tests,
        })
    });
    problems.sort();
    (file, problems)
}

impl RuleTest {
    /// The latest time that anything is expected of.
    pub fn ends(&self) -> Duration {
        let alerts = self.alerts.iter().map(|test| test.eval_time);
        alerts.chain(self.exprs.iter().map(|test| test.eval_time)).max().unwrap_or_default()
    }
}

fn test(at: Cursor<'_, '_>, evaluation_interval: Duration, features: Features) -> Option<RuleTest> {
    let place = at.node.at;
    let mut fields = Fields::open(at)?;
    let name = fields.optional("name", values::string).unwrap_or_default();
    let interval = fields.optional("interval", values::duration).filter(|d| !d.is_zero());
    let start = fields.optional("start_timestamp", start_time).unwrap_or_default();
    let series = fields.list("input_series", input_series);
    let alerts = fields.list("alert_rule_test", alert_test);
    let exprs = fields.list("promql_expr_test", |at| expr_test(at, features));
    let external = fields.optional("external_labels", texts).unwrap_or_default();
    let external_url = fields.optional("external_url", values::string).unwrap_or_default();
    let test = RuleTest {
        name,
        at: place,
        interval: interval.unwrap_or(evaluation_interval),
        start,
        series,
        alerts,
        exprs,
        external_labels: Labels::from_pairs(external),
        external_url,
    };
    if test.ends().as_millis() / evaluation_interval.as_millis() > MAX_EVALUATIONS {
        fields.cursor().error(format!(
            "asks for more than {MAX_EVALUATIONS} evaluations; raise `evaluation_interval` or \
             lower `eval_time`"
        ));
    }
    fields.finish();
    Some(test)
}

/// Names of groups, each once.
fn distinct(mut at: Cursor<'_, '_>) -> Option<Vec<String>> {
    let names = values::strings(at.again())?;
    let repeated = names.iter().enumerate().find(|(nth, name)| names[..*nth].contains(name));
    if let Some((_, name)) = repeated {
        at.error(format!("the group `{name}` is repeated"));
        return None;
    }
    Some(names)
}

/// RFC 3339, or seconds since 1970.
fn start_time(mut at: Cursor<'_, '_>) -> Option<Timestamp> {
    let text = values::string(at.again())?;
    let seconds = || text.parse().ok().filter(|s: &f64| s.is_finite()).map(Timestamp::from_seconds);
    let start = parse_rfc3339(&text).or_else(seconds);
    if start.is_none() {
        at.error_hint(format!("`{text}` is not a time"), "write `2026-11-22T02:00:00Z`");
    }
    start
}

fn input_series(at: Cursor<'_, '_>) -> Option<(Labels, SeriesValues)> {
    let mut fields = Fields::open(at)?;
    // Where both are missing promtool forgets the series behind it, and says nothing.
    let labels = fields.required("series", series);
    if !fields.has("values") {
        fields.cursor().warning("`values` is missing: no sample comes of it");
        fields.optional("values", |_| Some(()));
        fields.finish();
        return Some((labels?, SeriesValues::default()));
    }
    let samples = fields.required("values", |mut at| {
        let text = values::string(at.again())?;
        SeriesValues::parse(&text).map_err(|error| complain(&mut at, error)).ok()
    });
    fields.finish();
    Some((labels?, samples?))
}

fn series(mut at: Cursor<'_, '_>) -> Option<Labels> {
    let text = values::string(at.again())?;
    parse_series(&text).map_err(|error| complain(&mut at, error)).ok()
}

fn expected_series(mut at: Cursor<'_, '_>) -> Option<Labels> {
    let text = values::string(at.again())?;
    let labels = parse_expected(&text).map_err(|error| complain(&mut at, error)).ok()?;
    if labels.iter().any(|(_, value)| value.is_empty()) {
        at.warning("no series has an empty label, so this never holds: leave it out");
    }
    Some(labels)
}

fn complain(at: &mut Cursor<'_, '_>, error: NotationError) {
    let place = at.node.position_of(error.offset);
    let problem = at.problem(place, error.message);
    at.push(problem);
}

fn alert_test(at: Cursor<'_, '_>) -> Option<AlertTest> {
    let place = at.node.at;
    let mut fields = Fields::open(at)?;
    let eval_time = fields.or("eval_time", Duration::ZERO, values::duration);
    let alertname = fields.required("alertname", |mut at| {
        let name = values::string(at.again())?;
        if name.is_empty() {
            at.error("is empty: name an alert");
        }
        Some(name)
    });
    let name = alertname.clone().unwrap_or_default();
    let expected = fields.list("exp_alerts", |at| exp_alert(at, &name));
    fields.finish();
    Some(AlertTest { at: place, eval_time, alertname: alertname?, expected })
}

/// Names and values as they stand: what no rule can set is found nowhere, and no error.
fn texts(mut at: Cursor<'_, '_>) -> Option<Vec<(String, String)>> {
    at.each_entry(|key, mut value| {
        values::label_value(&mut value).map(|text| (key.text.clone(), text.to_owned()))
    })
}

fn exp_labels(mut at: Cursor<'_, '_>) -> Option<Vec<(String, String)>> {
    at.each_entry(|key, mut value| {
        let text = values::label_value(&mut value)?;
        if text.is_empty() {
            value.warning("no alert has an empty label, so this never holds: leave it out");
        }
        Some((key.text.clone(), text.to_owned()))
    })
}

fn exp_alert(at: Cursor<'_, '_>, alertname: &str) -> Option<(Labels, Labels)> {
    let mut fields = Fields::open(at)?;
    let mut labels = fields.optional("exp_labels", exp_labels).unwrap_or_default();
    let annotations = fields.optional("exp_annotations", texts).unwrap_or_default();
    fields.finish();
    labels.push(("alertname".to_owned(), alertname.to_owned()));
    // As to promtool, what is expected to be empty differs from what is absent.
    Some((Labels::of_texts(labels), Labels::of_texts(annotations)))
}

fn expr_test(at: Cursor<'_, '_>, features: Features) -> Option<ExprTest> {
    let place = at.node.at;
    let mut fields = Fields::open(at)?;
    let expr = fields.required("expr", |at| {
        let written = at.node.clone();
        Some((expression(at, features)?, written))
    });
    let eval_time = fields.or("eval_time", Duration::ZERO, values::duration);
    let expected = fields.list("exp_samples", exp_sample);
    fields.finish();
    let (expr, written) = expr?;
    Some(ExprTest { at: place, eval_time, expr, written, expected })
}

fn expression(mut at: Cursor<'_, '_>, features: Features) -> Option<Expr> {
    let text = values::string(at.again())?;
    match parse_promql(&text, &features.parsing()) {
        Ok(expr) => Some(expr),
        Err(error) => {
            let place = at.node.position_of(error.span.start);
            let problem = at.problem(place, format!("could not parse: {}", error.message));
            at.push(match error.hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
            None
        }
    }
}

fn exp_sample(at: Cursor<'_, '_>) -> Option<(Labels, f64)> {
    let mut fields = Fields::open(at)?;
    let labels = fields.optional("labels", expected_series).unwrap_or_default();
    let value = fields.or("value", 0.0, values::number);
    fields.optional("histogram", |mut at| {
        at.error("native histograms are not supported, so this can never hold");
        Some(())
    });
    fields.finish();
    Some((labels, value))
}
