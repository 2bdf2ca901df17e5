//! What a template computes with, and how it is printed: Go's rules for the types that alert
//! templates can meet.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::verbs::Printer;
use crate::base::Labels;

/// A value. Cloning is cheap; nothing is ever changed in place.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// `nil`, and what is missing from a map of anything.
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(Rc<str>),
    Map(Rc<Map>),
    List(Rc<Vec<Value>>),
    Sample(Rc<Sample>),
    /// A time in milliseconds since the epoch.
    Time(i64),
    /// A `time.Duration` in nanoseconds.
    Duration(i64),
    /// The root: `.Labels`, `.ExternalLabels`, `.ExternalURL`, `.Value`.
    Root(Rc<Root>),
}

/// What a template is given.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) labels: Value,
    pub(super) external_labels: Value,
    pub(super) external_url: Rc<str>,
    pub(super) value: f64,
}

/// A map from text.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) entries: BTreeMap<String, Value>,
    /// What an absent key gives: labels hold text, so `""` there.
    pub(super) missing: Value,
    /// Levels of maps in maps, so that `args` in a loop cannot nest without bound.
    pub(super) height: usize,
}

/// One series of a query's result.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Value,
    pub(super) value: f64,
}

impl Value {
    pub(super) fn text(text: impl Into<Rc<str>>) -> Value {
        Value::String(text.into())
    }

    /// A map of labels; an absent one is empty.
    pub(super) fn labels(labels: &Labels) -> Value {
        let entries = labels.iter().map(|(name, value)| (name.to_owned(), Value::text(value)));
        let missing = Value::text("");
        Value::Map(Rc::new(Map { entries: entries.collect(), missing, height: 1 }))
    }

    /// Whether `if` takes the first branch: not for false, zero, nil and what is empty.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value) | Value::Duration(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::String(text) => !text.is_empty(),
            Value::Map(map) => !map.entries.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Sample(_) | Value::Time(_) | Value::Root(_) => true,
        }
    }

    /// The name of its type in Go, for errors.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::String(_) => "string",
            Value::Map(_) => "map[string]string",
            Value::List(_) => "template.queryResult",
            Value::Sample(_) => "*template.sample",
            Value::Time(_) => "*time.Time",
            Value::Duration(_) => "time.Duration",
            Value::Root(_) => {
                "struct { Labels map[string]string; ExternalLabels map[string]string; \
                 ExternalURL string; Value interface {} }"
            }
        }
    }

    /// How many levels of maps it holds.
    pub(super) fn height(&self) -> usize {
        match self {
            Value::Map(map) => map.height,
            _ => 0,
        }
    }

    /// Appends it as a template prints it: as `%v`, but for nothing and for what a pointer points to.
    /// Stops early once `out` holds more than `cap` bytes, so that maps that share parts cannot
    /// multiply without bound; the caller then refuses.
    pub(super) fn print(&self, out: &mut String, cap: usize) {
        match self {
            Value::Nil => out.push_str("<no value>"),
            Value::String(text) => out.push_str(text),
            Value::Sample(sample) => {
                let mut printer = Printer::onto(out, cap);
                printer.sample("{", sample, 'v');
                *out = printer.out;
            }
            _ => self.print_plain(out, cap),
        }
    }

    /// As [`Value::print`], as `fmt.Sprint` does it.
    pub(super) fn print_plain(&self, out: &mut String, cap: usize) {
        let mut printer = Printer::onto(out, cap);
        printer.argument(self, 'v');
        *out = printer.out;
    }
}

/// `time.Time` in UTC as Go prints it: `2015-06-23 13:19:44.128 +0000 UTC`.
pub(super) fn time_text(millis: i64) -> String {
    let iso = crate::base::format_rfc3339(crate::base::Timestamp(millis));
    let (date, clock) = iso.split_once('T').expect("RFC 3339 has a T");
    let clock = clock.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    // Cutting zeros must not reach the seconds, which stand before the point.
    let clock = if clock.len() < 8 { &iso[date.len() + 1..date.len() + 9] } else { clock };
    format!("{date} {clock} +0000 UTC")
}

/// `time.Duration` as Go prints it: `1h2m3.5s`, `1.5ms`, `0s`.
pub(super) fn duration_text(nanos: i64) -> String {
    let (sign, size) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let fraction = |nanos: u64, unit: u64, digits: usize| {
        let text = format!("{}.{:0digits$}", nanos / unit, nanos % unit);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let body = match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{size}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(size, 1_000, 3)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(size, 1_000_000, 6)),
        _ => {
            let (minutes, rest) = (size / 60_000_000_000, size % 60_000_000_000);
            let seconds = fraction(rest, 1_000_000_000, 9);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_print_as_in_go() {
        assert_eq!(time_text(1_435_065_584_128), "2015-06-23 13:19:44.128 +0000 UTC");
        assert_eq!(time_text(1_435_065_580_000), "2015-06-23 13:19:40 +0000 UTC");
        assert_eq!(time_text(0), "1970-01-01 00:00:00 +0000 UTC");
        let cases = [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5µs"),
            (1_500_000, "1.5ms"),
            (10_000_000_000, "10s"),
            (90_500_000_000, "1m30.5s"),
            (-3_600_000_000_000, "-1h0m0s"),
        ];
        for (nanos, want) in cases {
            assert_eq!(duration_text(nanos), want);
        }
    }
}
