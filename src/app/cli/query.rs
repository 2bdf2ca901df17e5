//! `query`: a PromQL query to a running plimsoll, or over recorded scrapes.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use super::super::capture::Capture;
use super::super::clock::Clock;
use super::args::{Format, QueryArgs};
use super::ask::{Refused, ask};
use super::out::Out;
use super::{exit, finish, runtime};
use crate::base::{Labels, Timestamp, format_value, parse_duration, parse_rfc3339};
use crate::exposition::Selection;
use crate::promql::ast::{Expr, ExprKind, ValueType};
use crate::promql::eval::{Severity, Steps};
use crate::promql::{
    self, EvalError, EvalOptions, Features, ParseError, ParseOptions, in_bytes, in_characters,
    marked, place, width,
};

/// Recorded scrapes were made by nobody in particular.
const JOB: &str = "capture";

/// When the query is evaluated.
struct When {
    at: Timestamp,
    steps: Option<Steps>,
}

pub fn query(args: &QueryArgs, out: &mut Out<'_>) -> u8 {
    let features = args.promql.features();
    if args.dir.is_none() && features != Features::default() {
        out.say("--enable-feature is for --dir; a running plimsoll has the section `promql`");
        return exit::USAGE;
    }
    let options = match &args.dir {
        Some(_) => features.parsing(),
        // Whoever answers knows what is switched on there.
        None => ParseOptions { experimental_functions: true },
    };
    let expr = match promql::parse(&args.expr, &options) {
        Ok(expr) => expr,
        Err(error) => {
            out.say(&Told::parse(&args.expr, &error).text(&args.expr));
            return exit::PROBLEMS;
        }
    };
    let outcome = match &args.dir {
        Some(_) => over_capture(args, &expr),
        None => over_http(args),
    };
    let outcome = outcome.map(|(data, notes)| {
        notes.iter().for_each(|note| out.say(&format!("note: {note}")));
        match (args.csv, out.format) {
            (true, _) => out.raw(csv(&data).as_bytes()),
            (false, Format::Json) => out.json(&data),
            (false, Format::Text) => out.raw(table(&data, out.colours.0).as_bytes()),
        }
        exit::OK
    });
    match outcome.as_ref().err().and_then(|error| Told::of(&args.expr, error)) {
        Some(told) => {
            out.say(&told.text(&args.expr));
            exit::FAILED
        }
        None => finish(outcome, out),
    }
}

/// An error about the query, told with the line it is about, a mark under the place and what helps.
#[derive(Debug, PartialEq)]
struct Told {
    message: String,
    /// Line, column and width in characters.
    position: Option<(usize, usize, usize)>,
    hint: Option<String>,
}

impl Told {
    fn parse(text: &str, error: &ParseError) -> Told {
        let hint = error.hint.clone();
        let column = in_characters(text, (error.line, error.column));
        let position = Some((error.line, column, width(text, error.span)));
        Told { message: error.to_string(), position, hint }
    }

    /// What an evaluation or an answer failed of, if it was the query.
    fn of(text: &str, error: &anyhow::Error) -> Option<Told> {
        if let Some(error) = error.downcast_ref::<EvalError>() {
            let position = error.span.map(|span| {
                let (line, column) = place(text, span.start);
                (line, in_characters(text, (line, column)), width(text, span))
            });
            let hint = error.hint.map(str::to_owned);
            return Some(Told { message: error.placed(text), position, hint });
        }
        let Refused { message, position, hint } = error.downcast_ref::<Refused>()?.clone();
        Some(match position {
            // Prometheus's errors of evaluation do not say where, those of the parser do.
            Some((line, column, _)) => {
                let column = in_bytes(text, (line, column));
                Told { message: format!("{line}:{column}: {message}"), position, hint }
            }
            None => {
                let place = place_in(&message);
                let shown = |(line, column)| (line, in_characters(text, (line, column)), 1);
                Told { position: place.map(shown), message, hint }
            }
        })
    }

    fn text(&self, query: &str) -> String {
        let mark = self.position.map(|(line, column, width)| {
            let mark = marked(query, (line, column), width);
            format!("\n{mark}")
        });
        let hint = self.hint.as_ref().map(|hint| format!("\n  hint: {hint}"));
        format!("error: {}{}{}", self.message, mark.unwrap_or_default(), hint.unwrap_or_default())
    }
}

/// The place that the message of a parse error names: `…: 1:23: parse error: …`.
fn place_in(message: &str) -> Option<(usize, usize)> {
    let (before, _) = message.split_once(": parse error: ")?;
    let mut numbers = before.rsplit([':', ' ']);
    let (column, line) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    (line > 0 && column > 0).then_some((line, column))
}

fn when(args: &QueryArgs, now: Timestamp) -> anyhow::Result<When> {
    let at = match &args.time {
        None => now,
        Some(text) => {
            let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.abs() < 1e12);
            seconds.map(Timestamp::from_seconds).or_else(|| parse_rfc3339(text)).with_context(
                || format!("--time: {text:?} is neither unix seconds nor 2026-11-22T02:00:00Z"),
            )?
        }
    };
    let duration = |name: &str, text: &str| match parse_duration(text) {
        Err(_) if text.strip_prefix('-').is_some_and(|text| parse_duration(text).is_ok()) => {
            Err(anyhow!("--{name}: must be above zero"))
        }
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err(anyhow!("--{name}: must be above zero")),
        Err(why) => Err(anyhow!("--{name}: {why}")),
    };
    let steps = match &args.range {
        None => None,
        Some(range) => {
            let (range, step) = (duration("range", range)?, duration("step", &args.step)?);
            Some(Steps { start: at - range, end: at, step })
        }
    };
    Ok(When { at, steps })
}

fn over_http(args: &QueryArgs) -> anyhow::Result<(Value, Vec<String>)> {
    let When { at, steps } = when(args, Clock::system().now().wall)?;
    let seconds = |at: Timestamp| format!("{:.3}", at.as_seconds());
    let (path, params) = match steps {
        None if args.time.is_none() => ("/api/v1/query", Vec::new()),
        None => ("/api/v1/query", vec![("time", seconds(at))]),
        Some(Steps { start, end, step }) => {
            let step = format!("{:.3}", step.as_secs_f64());
            let params = vec![("start", seconds(start)), ("end", seconds(end)), ("step", step)];
            ("/api/v1/query_range", params)
        }
    };
    let mut form = vec![("query", args.expr.as_str())];
    form.extend(params.iter().map(|(name, value)| (*name, value.as_str())));
    runtime()?.block_on(ask(&args.url, path, &form))
}

fn over_capture(args: &QueryArgs, expr: &Expr) -> anyhow::Result<(Value, Vec<String>)> {
    let folder = args.dir.as_deref().context("no folder")?;
    let capture = Capture::open(folder)?;
    let last = capture.times().next_back().context("no scrape")?;
    let When { at, steps } = when(args, last)?;
    let instance = folder.file_name().map_or("capture".into(), |name| name.to_string_lossy());
    let target = Labels::from_pairs([("job", JOB), ("instance", &instance)]);
    let (samples, mut notes) = capture.read(&selection(expr), &target)?;
    let options = EvalOptions {
        default_step: Duration::from_secs(15),
        features: args.promql.features(),
        ..EvalOptions::default()
    };
    let evaluated = match steps {
        None => promql::instant(expr, &samples, at, &options)?,
        Some(steps) => promql::range(expr, &samples, steps, &options)?,
    };
    for severity in [Severity::Warning, Severity::Info] {
        notes.extend(evaluated.annotations.render(severity, &args.expr));
    }
    Ok((data(&evaluated.value, at), notes))
}

/// The metrics a query names; all, if it selects by pattern.
fn selection(expr: &Expr) -> Selection {
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut all = false;
    expr.walk(&mut |part| {
        let selector = match &part.kind {
            ExprKind::Vector(vector) => &vector.selector,
            ExprKind::Matrix(matrix) => &matrix.vector.selector,
            // Reads series that its argument does not name.
            ExprKind::Call(call) => return all |= call.func.name == "info",
            _ => return,
        };
        match selector.metric_name() {
            Some(name) => drop(names.insert(name.to_owned())),
            None => all = true,
        }
    });
    if all { Selection::all() } else { Selection::only(names, Vec::new()) }
}

/// A value as the API shows it.
fn data(value: &promql::Value, at: Timestamp) -> Value {
    let point = |at: Timestamp, value: f64| json!([at.as_seconds(), format_value(value)]);
    let (kind, result) = match value {
        promql::Value::Scalar(number) => (ValueType::Scalar, point(at, *number)),
        promql::Value::String(text) => (ValueType::String, json!([at.as_seconds(), text])),
        promql::Value::Vector(series) => {
            let one = |(metric, number): &(Labels, f64)| json!({"metric": metric, "value": point(at, *number)});
            (ValueType::Vector, series.iter().map(one).collect())
        }
        promql::Value::Matrix(series) => {
            let one = |(metric, samples): &(Labels, Vec<crate::base::Sample>)| {
                let values: Vec<Value> =
                    samples.iter().map(|sample| point(sample.at, sample.value)).collect();
                json!({"metric": metric, "values": values})
            };
            (ValueType::Matrix, series.iter().map(one).collect())
        }
    };
    let kind = match kind {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    };
    json!({"resultType": kind, "result": result})
}

/// One value: whose, when, what.
struct Row {
    metric: Vec<(String, String)>,
    seconds: f64,
    value: String,
}

fn rows(data: &Value) -> Vec<Row> {
    let row = |metric: &Value, point: &Value| Row {
        metric: metric.as_object().map_or(Vec::new(), |labels| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            labels.iter().map(|(name, value)| (name.clone(), text(value))).collect()
        }),
        seconds: point[0].as_f64().unwrap_or_default(),
        value: point[1].as_str().unwrap_or_default().to_owned(),
    };
    let result = &data["result"];
    if matches!(data["resultType"].as_str(), Some("scalar" | "string")) {
        return vec![row(&Value::Null, result)];
    }
    let series = result.as_array().map_or(&[][..], Vec::as_slice);
    let points = series.iter().flat_map(|series| {
        let many = series["values"].as_array().map_or(&[][..], Vec::as_slice);
        let one = series.get("value");
        one.into_iter().chain(many).map(|point| row(&series["metric"], point))
    });
    points.collect()
}

/// For people: one line per value, in columns.
fn table(data: &Value, colour: bool) -> String {
    let rows = rows(data);
    if rows.is_empty() {
        return "no series\n".to_owned();
    }
    let times = data["resultType"] == "matrix";
    let named: Vec<(String, &Row)> = rows.iter().map(|row| (name_of(row), row)).collect();
    let width = named.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(100);
    let (bright, plain) = if colour { ("\x1b[36m", "\x1b[0m") } else { ("", "") };
    let mut text = String::new();
    for (name, row) in named {
        let time = match times {
            true => format!("{}  ", Timestamp::from_seconds(row.seconds)),
            false => String::new(),
        };
        let gap = if width == 0 { "" } else { "  " };
        text += &format!("{name:width$}{gap}{time}{bright}{}{plain}\n", visible(&row.value));
    }
    text
}

/// `name{label="value"}`, free of control characters.
fn name_of(row: &Row) -> String {
    let name = row.metric.iter().find(|(name, _)| name == "__name__");
    let name = name.map_or("", |(_, value)| value.as_str());
    let labels = row.metric.iter().filter(|(name, _)| name != "__name__");
    let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value:?}")).collect();
    match (name, labels.is_empty()) {
        ("", true) if row.metric.is_empty() => String::new(),
        (name, true) => visible(name),
        (name, false) => format!("{}{{{}}}", visible(name), labels.join(", ")),
    }
}

/// Text that others wrote, without what a terminal would obey.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// RFC 4180: a column per label, then time and value.
fn csv(data: &Value) -> String {
    let rows = rows(data);
    let names: BTreeSet<&str> =
        rows.iter().flat_map(|row| row.metric.iter().map(|(name, _)| name.as_str())).collect();
    let header = names.iter().copied().chain(["time", "value"]).map(quoted);
    let mut text = header.collect::<Vec<_>>().join(",") + "\r\n";
    for row in &rows {
        let label = |name: &&str| {
            let found = row.metric.iter().find(|(of, _)| of == name);
            quoted(found.map_or("", |(_, value)| value.as_str()))
        };
        let mut cells: Vec<String> = names.iter().map(label).collect();
        cells.push(format!("{:.3}", row.seconds));
        cells.push(quoted(&row.value));
        text += &(cells.join(",") + "\r\n");
    }
    text
}

fn quoted(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_point_at_the_bytes() {
        let cases = [
            ("up ==", "  up ==\n       ^"),
            ("rate(v)", "  rate(v)\n       ^"),
            (
                "v{l='한국'} + ) + 12345",
                "  v{l='한국'} + ) + 12345\n               ^\n  hint: no `(` is open here: take the `)` away",
            ),
            (
                "sum(v)\n  / raet(v[5m])",
                "    / raet(v[5m])\n      ^^^^\n  hint: did you mean `rate`?",
            ),
        ];
        for (text, want) in cases {
            let error = promql::parse(text, &ParseOptions::default()).expect_err(text);
            let got = Told::parse(text, &error).text(text);
            assert!(got.ends_with(want), "{text}: {got}");
        }
    }

    #[test]
    fn answers_are_tables_and_csv() {
        let vector = json!({"resultType": "vector", "result": [
            {"metric": {"__name__": "v", "t": "a,\"b\""}, "value": [1.5, "7"]},
            {"metric": {"u": "x"}, "value": [1.5, "NaN"]},
        ]});
        assert_eq!(table(&vector, false), "v{t=\"a,\\\"b\\\"\"}  7\n{u=\"x\"}         NaN\n");
        assert_eq!(
            csv(&vector),
            "__name__,t,u,time,value\r\nv,\"a,\"\"b\"\"\",,1.500,7\r\n,,x,1.500,NaN\r\n"
        );
        let scalar = json!({"resultType": "scalar", "result": [1, "2"]});
        assert_eq!(
            (table(&scalar, false), csv(&scalar)),
            ("2\n".into(), "time,value\r\n1.000,2\r\n".into())
        );
        let matrix = json!({"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "2"], [2, "3"]]}]});
        assert_eq!(
            table(&matrix, false),
            "1970-01-01T00:00:01.000Z  2\n1970-01-01T00:00:02.000Z  3\n"
        );
        let nothing = json!({"resultType": "vector", "result": []});
        assert_eq!(
            (table(&nothing, true), csv(&nothing)),
            ("no series\n".into(), "time,value\r\n".into())
        );
    }
}
