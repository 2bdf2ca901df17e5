//! `explain`: why a rule did, or did not, do what was expected of it.

use serde_json::Value;

use super::args::{ExplainArgs, Format};
use super::ask::ask;
use super::out::Out;
use super::{exit, finish, runtime};

/// The escape codes of a terminal, or nothing.
struct Paint {
    strong: &'static str,
    value: &'static str,
    bad: &'static str,
    plain: &'static str,
}

const COLOURS: Paint =
    Paint { strong: "\x1b[1m", value: "\x1b[36m", bad: "\x1b[1;31m", plain: "\x1b[0m" };
const NONE: Paint = Paint { strong: "", value: "", bad: "", plain: "" };

pub fn explain(args: &ExplainArgs, out: &mut Out<'_>) -> u8 {
    let limit = args.limit.to_string();
    let mut params = vec![("rule", args.rule.as_str()), ("limit", &limit)];
    if let Some(group) = &args.group {
        params.push(("group", group));
    }
    let path = "/api/v1/plimsoll/explain";
    let asked = runtime().and_then(|runtime| runtime.block_on(ask(&args.url, path, &params)));
    let outcome = asked.map(|(data, _)| {
        match out.format {
            Format::Json => out.json(&data),
            Format::Text => {
                let paint = if out.colours.0 { &COLOURS } else { &NONE };
                let rules = list(&data["rules"]).iter().map(|rule| told(rule, paint));
                out.raw(rules.collect::<Vec<_>>().join("\n").as_bytes());
            }
        }
        exit::OK
    });
    finish(outcome, out)
}

/// A rule, its alerts, the trees of values, and the evaluations before.
fn told(rule: &Value, paint: &Paint) -> String {
    let Paint { strong, value, bad, plain } = paint;
    let word = |field: &str| text(&rule[field]);
    let mut told = format!(
        "{strong}{}{plain} ({}, group {} in {})\n",
        word("name"),
        word("type"),
        word("group"),
        word("file")
    );
    if let Some(hold) = rule["for"].as_f64().filter(|hold| *hold > 0.0) {
        told += &format!("  must hold for {hold} s\n");
    }
    for alert in list(&rule["alerts"]) {
        let since = text(&alert["since"]);
        told += &format!("  {} {} since {since}", text(&alert["state"]), labels(&alert["labels"]));
        if alert["unknown"].is_object() {
            told += &doubt(&alert["unknown"], paint);
        }
        told += "\n";
    }
    let evaluations = list(&rule["evaluations"]);
    if evaluations.is_empty() {
        told += "  not evaluated yet\n";
    }
    for evaluation in evaluations {
        told += &format!(
            "\n{strong}{}{plain}  {} results of {} series in {:.3} ms",
            text(&evaluation["time"]),
            evaluation["results"],
            evaluation["seriesFetched"],
            evaluation["duration"].as_f64().unwrap_or_default() * 1000.0
        );
        if let Some(error) = evaluation["error"].as_str() {
            told += &format!("  {bad}{}{plain}", visible(error));
        }
        for change in list(&evaluation["changes"]) {
            let change = (text(&change["change"]), labels(&change["labels"]));
            told += &format!("\n  → {value}{}{plain} {}", change.0, change.1);
        }
        told += "\n";
        let parts = list(&evaluation["parts"]);
        for part in parts {
            told += &part_line(part, paint);
        }
        if let Some(blocker) = first_empty(parts) {
            let expr = text(&blocker["expr"]);
            told += &format!("  {bad}here it ends:{plain} {expr} gave nothing\n");
        }
    }
    told
}

/// Since when an alert is unknown, why, and how old the last sample of the input at fault is.
fn doubt(unknown: &Value, paint: &Paint) -> String {
    let (since, reason) = (text(&unknown["since"]), text(&unknown["reason"]));
    let mut told = format!(", {}unknown{} since {since}: {reason}", paint.bad, paint.plain);
    let input = &unknown["input"];
    if let Some(error) = input["lastError"].as_str() {
        told += &format!(" ({})", visible(error));
    }
    if let Some(age) = input["age"].as_f64() {
        told += &format!("; its newest sample is {age:.0} s old");
    }
    told
}

/// A part, indented by where it stands, with its values.
fn part_line(part: &Value, paint: &Paint) -> String {
    let Paint { value, bad, plain, .. } = paint;
    let indent = "  ".repeat(1 + depth(part));
    let head = format!("{indent}{}", text(&part["expr"]));
    if let Some(error) = part["error"].as_str() {
        return format!("{head}  {bad}{}{plain}\n", visible(error));
    }
    let values = list(&part["values"]);
    let one = |point: &Value| (labels(&point["metric"]), text(&point["value"]));
    if let [only] = values {
        let (labels, number) = one(only);
        let labels = if labels == "{}" { String::new() } else { format!("{labels} ") };
        return format!("{head}  = {labels}{value}{number}{plain}\n");
    }
    if values.is_empty() {
        return format!("{head}  {bad}= nothing{plain}\n");
    }
    let mut lines = format!("{head}  = {} series\n", part["results"]);
    for point in values {
        let (labels, number) = one(point);
        lines += &format!("{indent}    {labels} {value}{number}{plain}\n");
    }
    let more = part["results"].as_u64().unwrap_or(0).saturating_sub(values.len() as u64);
    if more > 0 {
        lines += &format!("{indent}    … and {more} more\n");
    }
    lines
}

/// The part at which values ran out: it yields nothing though what it is made of yields something.
fn first_empty(parts: &[Value]) -> Option<&Value> {
    if parts.first().is_none_or(|whole| whole["results"] != 0) {
        return None;
    }
    let ran_out = |(at, part): &(usize, &Value)| {
        let mut inner = parts[at + 1..].iter().take_while(|inner| depth(inner) > depth(part));
        part["results"] == 0 && part["error"].is_null() && !inner.any(|inner| inner["results"] == 0)
    };
    parts.iter().enumerate().find(ran_out).map(|(_, part)| part)
}

fn depth(part: &Value) -> usize {
    // The parser bounds the height of a tree; an answer from elsewhere might not.
    part["depth"].as_u64().map_or(0, |depth| depth.min(100) as usize)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    visible(value.as_str().unwrap_or_default())
}

fn labels(value: &Value) -> String {
    let pairs = value.as_object().into_iter().flatten();
    let pairs: Vec<String> =
        pairs.map(|(name, value)| format!("{name}={:?}", value.as_str().unwrap_or(""))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// Text that others wrote, without what a terminal would obey.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rule_is_told_as_a_tree_with_the_place_where_it_ends() {
        let part = |depth: usize, expr: &str, values: &[(&str, &str)]| {
            let values: Vec<Value> =
                values.iter().map(|(t, v)| json!({"metric": {"t": t}, "value": v})).collect();
            json!({"expr": expr, "depth": depth, "results": values.len(), "values": values})
        };
        let rule = json!({
            "name": "High", "type": "alerting", "group": "g", "file": "r.yml", "for": 10,
            "alerts": [{"labels": {"t": "a"}, "state": "pending", "since": "T0",
                "unknown": {"since": "T1", "reason": "late", "input": {"lastError": "no", "age": 34.6}}}],
            "evaluations": [{
                "time": "T1", "duration": 0.0015, "seriesFetched": 2, "results": 0,
                "changes": [{"labels": {"t": "a"}, "change": "forgotten"}],
                "parts": [
                    part(0, "v > 5 and w", &[]),
                    part(1, "v > 5", &[]),
                    part(2, "v", &[("a", "3"), ("b\u{1b}", "4")]),
                    part(1, "w", &[("a", "1")]),
                ],
            }],
        });
        let want = "High (alerting, group g in r.yml)\n  must hold for 10 s\n  \
                    pending {t=\"a\"} since T0, unknown since T1: late (no); \
                    its newest sample is 35 s old\n\n\
                    T1  0 results of 2 series in 1.500 ms\n  → forgotten {t=\"a\"}\n  \
                    v > 5 and w  = nothing\n    v > 5  = nothing\n      v  = 2 series\n          \
                    {t=\"a\"} 3\n          {t=\"b\\u{1b}\"} 4\n    w  = {t=\"a\"} 1\n  \
                    here it ends: v > 5 gave nothing\n";
        assert_eq!(told(&rule, &NONE), want);
        assert!(told(&rule, &COLOURS).contains("\x1b[1mHigh\x1b[0m"));
    }
}
