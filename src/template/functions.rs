//! The functions templates may call: Go's own and those of Prometheus's `template/template.go`.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::compare::compare;
use super::exec::Executor;
use super::value::{Map, Sample, Value};
use super::{escape, humanize, printf};
use crate::base::{DurationError, parse_duration, parse_float, quoted};
use crate::regex::Pattern;

/// Steps a query or a regular expression costs.
const EXPENSIVE: usize = 1000;
/// Bytes handled in one step.
pub(super) const BYTES_PER_STEP: usize = 64;
/// Bytes of pattern times bytes of text searched in one step: matching is at worst their product.
const PATTERN_BYTES_PER_STEP: usize = 1024;
/// Maps within maps that `args` may build; Go has no limit, but nobody goes beyond two.
const MAX_HEIGHT: usize = 16;
/// `reReplaceAll` whose result could be longer than this is refused before it starts.
const MAX_REPLACED_BYTES: usize = 16 * 1024 * 1024;

/// What a function takes at that place, if it does not take everything.
pub(super) fn wanted(name: &str, place: usize) -> Option<&'static str> {
    let wanted = match (name, place) {
        ("printf" | "query" | "label" | "sortByLabel", 0) => "string",
        ("graphLink" | "tableLink" | "title" | "toUpper" | "toLower" | "stripPort", _) => "string",
        ("stripDomain" | "parseDuration" | "safeHtml" | "urlQueryEscape", _) => "string",
        ("match" | "reReplaceAll", _) => "string",
        ("first", _) | ("sortByLabel", 1) => "template.queryResult",
        ("value" | "strvalue", _) | ("label", 1) => "*template.sample",
        _ => return None,
    };
    Some(wanted)
}

/// Names with the fewest and the most arguments.
const FUNCTIONS: [(&str, usize, usize); 48] = [
    ("and", 1, usize::MAX),
    ("args", 0, usize::MAX),
    ("call", 1, usize::MAX),
    ("eq", 1, usize::MAX),
    ("externalURL", 0, 0),
    ("first", 1, 1),
    ("ge", 2, 2),
    ("graphLink", 1, 1),
    ("gt", 2, 2),
    ("html", 0, usize::MAX),
    ("humanize", 1, 1),
    ("humanize1024", 1, 1),
    ("humanizeDuration", 1, 1),
    ("humanizePercentage", 1, 1),
    ("humanizeTimestamp", 1, 1),
    ("index", 1, usize::MAX),
    ("js", 0, usize::MAX),
    ("label", 2, 2),
    ("le", 2, 2),
    ("len", 1, 1),
    ("lt", 2, 2),
    ("match", 2, 2),
    ("ne", 2, 2),
    ("not", 1, 1),
    ("now", 0, 0),
    ("or", 1, usize::MAX),
    ("parseDuration", 1, 1),
    ("pathPrefix", 0, 0),
    ("print", 0, usize::MAX),
    ("printf", 1, usize::MAX),
    ("println", 0, usize::MAX),
    ("query", 1, 1),
    ("reReplaceAll", 3, 3),
    ("safeHtml", 1, 1),
    ("slice", 1, 4),
    ("sortByLabel", 2, 2),
    ("stripDomain", 1, 1),
    ("stripPort", 1, 1),
    ("strvalue", 1, 1),
    ("tableLink", 1, 1),
    ("title", 1, 1),
    ("toDuration", 1, 1),
    ("toLower", 1, 1),
    ("toTime", 1, 1),
    ("toUpper", 1, 1),
    ("urlQueryEscape", 1, 1),
    ("urlquery", 0, usize::MAX),
    ("value", 1, 1),
];

/// Whether a function of that name exists.
pub(super) fn exists(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, ..)| *known == name)
}

/// What is wrong with so many arguments for a function that exists.
pub(super) fn wrong_count(name: &str, got: usize) -> Option<String> {
    let (_, fewest, most) = FUNCTIONS.iter().find(|(known, ..)| *known == name)?;
    let at_least = if fewest == most { "" } else { "at least " };
    let want = if got > *most { most } else { fewest };
    let wrong = got < *fewest || got > *most;
    wrong.then(|| format!("wrong number of args for {name}: want {at_least}{want} got {got}"))
}

/// Calls a function with as many arguments as it takes. The error is ready to be put behind the
/// call's place.
pub(super) fn call(
    executor: &mut Executor<'_>,
    name: &str,
    args: Vec<Value>,
) -> Result<Value, String> {
    let bytes: usize = args.iter().map(text_bytes).sum();
    executor.spend(1 + bytes / BYTES_PER_STEP)?;
    let value = Call { executor, name }.run(&args)?;
    let cap = executor.limits.output_bytes;
    let size = match &value {
        Value::String(text) if text.len() > cap => {
            return Err(format!("error calling {name}: the result is longer than {cap} bytes"));
        }
        Value::String(text) => text.len() / BYTES_PER_STEP,
        Value::List(list) => list.len(),
        _ => 0,
    };
    executor.spend(size)?;
    Ok(value)
}

/// How long a text is; what is none has no length.
pub(super) fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        _ => 0,
    }
}

/// One call of a function.
struct Call<'c, 'e> {
    executor: &'c mut Executor<'e>,
    name: &'c str,
}

impl Call<'_, '_> {
    fn run(&mut self, args: &[Value]) -> Result<Value, String> {
        match self.name {
            "not" | "len" | "index" | "slice" | "call" | "eq" | "ne" | "lt" | "le" | "gt"
            | "ge" | "args" => self.builtin(args),
            "print" | "println" | "printf" | "html" | "js" | "urlquery" => self.printing(args),
            "query" | "first" | "label" | "value" | "strvalue" | "sortByLabel" => {
                self.querying(args)
            }
            "humanize" | "humanize1024" | "humanizeDuration" | "humanizePercentage"
            | "humanizeTimestamp" | "toTime" | "toDuration" => self.number(&args[0]),
            "match" | "reReplaceAll" => self.pattern(args),
            "externalURL" => Ok(Value::text(self.executor.data.external_url)),
            "pathPrefix" => Ok(Value::text(path(self.executor.data.external_url))),
            "now" => Ok(Value::Float(self.executor.data.at.as_seconds())),
            _ => self.text(text(&args[0])?),
        }
    }

    /// An error of the function itself, as Go words it.
    fn failed<T>(&self, problem: impl std::fmt::Display) -> Result<T, String> {
        Err(format!("error calling {}: {problem}", self.name))
    }

    fn builtin(&mut self, args: &[Value]) -> Result<Value, String> {
        match self.name {
            "not" => Ok(Value::Bool(!args[0].is_true())),
            "len" => match &args[0] {
                Value::String(text) => Ok(Value::Int(text.len() as i64)),
                Value::Map(map) => Ok(Value::Int(map.entries.len() as i64)),
                Value::List(list) => Ok(Value::Int(list.len() as i64)),
                other => self.failed(format!("len of type {}", other.type_name())),
            },
            "index" => self.index(&args[0], &args[1..]),
            "slice" => self.slice(&args[0], &args[1..]),
            "call" if matches!(args[0], Value::Nil) => self.failed("call of nil"),
            "call" => self.failed(format!("non-function of type {}", args[0].type_name())),
            "args" => self.arguments(args),
            comparison => match compare(comparison, args) {
                Ok(holds) => Ok(Value::Bool(holds)),
                Err(problem) => self.failed(problem),
            },
        }
    }

    /// Go checks an index against the length, which itself is one too many.
    fn out_of_range(&self, at: i64, length: usize, what: &str) -> Result<Value, String> {
        if usize::try_from(at) == Ok(length) {
            return self.failed(format!("reflect: {what} index out of range"));
        }
        self.failed(format!("index out of range: {at}"))
    }

    fn index(&self, whole: &Value, keys: &[Value]) -> Result<Value, String> {
        let mut value = whole.clone();
        for key in keys {
            value = match (&value, key) {
                (Value::Map(map), Value::String(key)) => {
                    map.entries.get(&**key).unwrap_or(&map.missing).clone()
                }
                (Value::List(list), Value::Int(at)) => {
                    let item = usize::try_from(*at).ok().and_then(|at| list.get(at));
                    match item {
                        Some(item) => item.clone(),
                        None => return self.out_of_range(*at, list.len(), "slice"),
                    }
                }
                (Value::String(text), Value::Int(at)) => {
                    let byte = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
                    match byte {
                        Some(byte) => Value::Int(i64::from(*byte)),
                        None => return self.out_of_range(*at, text.len(), "string"),
                    }
                }
                (Value::Nil, _) => return self.failed("index of untyped nil"),
                (Value::Map(_), Value::Nil) => {
                    return self.failed("value is nil; should be of type string");
                }
                (Value::Map(_), key) => {
                    let got = key.type_name();
                    return self.failed(format!("value has type {got}; should be string"));
                }
                (Value::List(_) | Value::String(_), Value::Nil) => {
                    return self.failed("cannot index slice/array with nil");
                }
                (Value::List(_) | Value::String(_), key) => {
                    let key = key.type_name();
                    return self.failed(format!("cannot index slice/array with type {key}"));
                }
                (other, _) => {
                    return self.failed(format!("can't index item of type {}", other.type_name()));
                }
            };
        }
        Ok(value)
    }

    fn slice(&self, whole: &Value, bounds: &[Value]) -> Result<Value, String> {
        let length = match whole {
            Value::String(text) => text.len(),
            Value::List(list) => list.len(),
            other => {
                return self.failed(format!("can't slice item of type {}", other.type_name()));
            }
        };
        if bounds.len() == 3 && matches!(whole, Value::String(_)) {
            return self.failed("cannot 3-index slice a string");
        }
        let mut ends = [0, length];
        for (end, bound) in ends.iter_mut().zip(bounds) {
            let Value::Int(at) = bound else {
                let got = bound.type_name();
                return self.failed(format!("cannot index slice/array with type {got}"));
            };
            *end = match usize::try_from(*at) {
                Ok(at) if at <= length => at,
                _ => return self.failed(format!("index out of range: {at}")),
            };
        }
        let [from, to] = ends;
        if from > to {
            return self.failed(format!("invalid slice index: {from} > {to}"));
        }
        match whole {
            // Go cuts bytes; a cut inside a character would leave no text, so it is refused.
            Value::String(text) => match text.get(from..to) {
                Some(part) => Ok(Value::text(part)),
                None => self.failed("slice cuts a character"),
            },
            Value::List(list) => Ok(Value::List(Rc::new(list[from..to].to_vec()))),
            _ => unreachable!("other values were refused above"),
        }
    }

    /// `args a b` is a map of `arg0`, `arg1`, to hand several values to a template.
    fn arguments(&self, args: &[Value]) -> Result<Value, String> {
        let height = 1 + args.iter().map(Value::height).max().unwrap_or(0);
        if height > MAX_HEIGHT {
            return self.failed(format!("nested more than {MAX_HEIGHT} levels deep"));
        }
        let pairs = args.iter().enumerate().map(|(at, arg)| (format!("arg{at}"), arg.clone()));
        let entries: BTreeMap<String, Value> = pairs.collect();
        Ok(Value::Map(Rc::new(Map { entries, missing: Value::Nil, height })))
    }

    fn printing(&mut self, args: &[Value]) -> Result<Value, String> {
        let cap = self.executor.limits.output_bytes;
        let out = match self.name {
            "printf" => printf::printf(text(&args[0])?, &args[1..], cap),
            "println" => {
                let mut out = String::new();
                for (at, arg) in args.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { " " });
                    arg.print_plain(&mut out, cap);
                }
                out.push('\n');
                out
            }
            _ => {
                let plain = match self.name {
                    "print" => sprint(args, cap),
                    _ => {
                        sprint(&args.iter().map(|arg| printable(arg, cap)).collect::<Vec<_>>(), cap)
                    }
                };
                match self.name {
                    "html" => escape::html(&plain),
                    "js" => escape::js(&plain),
                    "urlquery" => escape::query(&plain),
                    _ => plain,
                }
            }
        };
        Ok(Value::text(out))
    }

    fn querying(&mut self, args: &[Value]) -> Result<Value, String> {
        match self.name {
            "query" => self.query(text(&args[0])?),
            "first" => match list(&args[0])?.first() {
                Some(sample) => Ok(sample.clone()),
                None => self.failed("first() called on vector with no elements"),
            },
            "label" => Ok(label(sample(&args[1])?, text(&args[0])?)),
            "value" => Ok(Value::Float(sample(&args[0])?.value)),
            "strvalue" => Ok(label(sample(&args[0])?, "__value__")),
            _ => {
                let name = text(&args[0])?;
                let mut sorted = list(&args[1])?.clone();
                sorted.sort_by_cached_key(|item| match item {
                    Value::Sample(sample) => match label(sample, name) {
                        Value::String(text) => text.to_string(),
                        _ => String::new(),
                    },
                    _ => String::new(),
                });
                Ok(Value::List(Rc::new(sorted)))
            }
        }
    }

    fn query(&mut self, text: &str) -> Result<Value, String> {
        self.executor.spend(EXPENSIVE)?;
        let series = match (self.executor.query)(text) {
            Ok(series) => series,
            Err(problem) => return self.failed(problem),
        };
        let samples = series.into_iter().map(|(labels, value)| {
            Value::Sample(Rc::new(Sample { labels: Value::labels(&labels), value }))
        });
        Ok(Value::List(Rc::new(samples.collect())))
    }

    fn number(&self, value: &Value) -> Result<Value, String> {
        let number = match to_float(value) {
            Ok(number) => number,
            Err(problem) => return self.failed(problem),
        };
        let text = match self.name {
            "humanize" => humanize::humanize(number),
            "humanize1024" => humanize::humanize1024(number),
            "humanizeDuration" => humanize::duration(number),
            "humanizePercentage" => humanize::percentage(number),
            "humanizeTimestamp" => match humanize::timestamp(number) {
                Ok(text) => text,
                Err(problem) => return self.failed(problem),
            },
            "toTime" => {
                return match humanize::millis(number) {
                    Ok(millis) => Ok(Value::Time(millis)),
                    Err(problem) => self.failed(problem),
                };
            }
            _ => return Ok(Value::Duration((number * 1e9) as i64)),
        };
        Ok(Value::text(text))
    }

    fn pattern(&mut self, args: &[Value]) -> Result<Value, String> {
        let searched: usize = args[1..].iter().map(|arg| text(arg).map_or(0, str::len)).sum();
        let cost = text(&args[0])?.len().saturating_mul(searched) / PATTERN_BYTES_PER_STEP;
        self.executor.spend(EXPENSIVE + cost)?;
        let pattern = match Pattern::unanchored(text(&args[0])?) {
            Ok(pattern) => pattern,
            // Go compiles that one in a way that panics, and the panic is the error.
            Err(problem) if self.name == "reReplaceAll" => {
                return self.failed(format!("regexp: Compile(`{}`): {problem}", text(&args[0])?));
            }
            Err(problem) => return self.failed(problem),
        };
        if self.name == "match" {
            return Ok(Value::Bool(pattern.is_match(text(&args[1])?)));
        }
        let (replacement, subject) = (text(&args[1])?, text(&args[2])?);
        // At most one match per byte and one at the end; each writes the replacement and, for
        // each of its references, no more than what it matched.
        let longest = (subject.len() + 1) * (replacement.len() + 1) * 2;
        if longest > MAX_REPLACED_BYTES {
            return self.failed("the text and its replacement are too long");
        }
        self.executor.spend(longest / BYTES_PER_STEP / BYTES_PER_STEP)?;
        Ok(Value::text(pattern.replace_all(subject, replacement)))
    }

    /// Functions of one text.
    fn text(&self, text: &str) -> Result<Value, String> {
        Ok(Value::text(match self.name {
            "toUpper" => text.to_uppercase(),
            "toLower" => text.to_lowercase(),
            "title" => title(text),
            "stripPort" => split_host_port(text).map_or(text, |(host, _)| host).to_owned(),
            "stripDomain" => strip_domain(text),
            "graphLink" => format!("/graph?g0.expr={}&g0.tab=0", escape::query(text)),
            "tableLink" => format!("/graph?g0.expr={}&g0.tab=1", escape::query(text)),
            "urlQueryEscape" => escape::query(text),
            "parseDuration" => {
                return match parse_duration(text) {
                    Ok(duration) => Ok(Value::Float(duration.as_secs_f64())),
                    Err(_) if text.is_empty() => self.failed("empty duration string"),
                    Err(error @ DurationError::OutOfRange) => self.failed(error.to_string()),
                    Err(DurationError::Malformed(_)) => {
                        self.failed(format!("not a valid duration string: {}", quoted(text)))
                    }
                };
            }
            _ => text.to_owned(),
        }))
    }
}

fn wrong_type<T>(wanted: &str, got: &Value) -> Result<T, String> {
    Err(format!("wrong type for value; expected {wanted}; got {}", got.type_name()))
}

fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::String(text) => Ok(text),
        other => wrong_type("string", other),
    }
}

fn list(value: &Value) -> Result<&Vec<Value>, String> {
    match value {
        Value::List(list) => Ok(list),
        other => wrong_type("template.queryResult", other),
    }
}

fn sample(value: &Value) -> Result<&Sample, String> {
    match value {
        Value::Sample(sample) => Ok(sample),
        other => wrong_type("*template.sample", other),
    }
}

fn label(sample: &Sample, name: &str) -> Value {
    match &sample.labels {
        Value::Map(map) => map.entries.get(name).unwrap_or(&map.missing).clone(),
        _ => Value::text(""),
    }
}

/// Numbers, and texts that hold one.
fn to_float(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(number) => Ok(*number),
        Value::Int(number) => Ok(*number as f64),
        Value::Duration(nanos) => Ok(*nanos as f64 / 1e9),
        Value::String(text) => parse_float(text)
            .map_err(|why| format!("strconv.ParseFloat: parsing {}: {why}", quoted(text))),
        other => Err(format!("can't convert {} to float", other.type_name())),
    }
}

/// What an escape is given: nothing, and what a pointer points to, as a template prints them.
fn printable(value: &Value, cap: usize) -> Value {
    match value {
        Value::Nil | Value::Sample(_) => {
            let mut text = String::new();
            value.print(&mut text, cap);
            Value::text(text)
        }
        other => other.clone(),
    }
}

/// `fmt.Sprint`: blanks only between operands of which neither is a text.
fn sprint(args: &[Value], cap: usize) -> String {
    let mut out = String::new();
    for (at, arg) in args.iter().enumerate() {
        let text_before = at > 0 && matches!(args[at - 1], Value::String(_));
        let text_here = matches!(arg, Value::String(_));
        if at > 0 && !text_before && !text_here {
            out.push(' ');
        }
        arg.print_plain(&mut out, cap);
    }
    out
}

/// `strings.Title`: the first letter of each word in upper case.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_word = false;
    for c in text.chars() {
        if in_word {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        // What Go's `isSeparator` does not count as one: all ASCII but letters, digits and
        // underscores separates, beyond ASCII only white space.
        in_word = match c {
            _ if c.is_alphanumeric() || c == '_' => true,
            _ if c.is_ascii() => false,
            _ => !c.is_whitespace(),
        };
    }
    out
}

/// `net.SplitHostPort`: `host:port`, `[ipv6]:port`.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']')?;
        return (!inner.contains(['[', ']'])).then_some((inner, port));
    }
    (!host.contains([':', '[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

/// The first label of a host name, port kept; addresses stay whole.
fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return text.to_owned();
    }
    let first = host.split('.').next().unwrap_or(host);
    if port.is_empty() { first.to_owned() } else { format!("{first}:{port}") }
}

/// The path of a URL: what follows the host, without query and fragment.
fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("", |slash| &rest[slash..]);
    path.split(['?', '#']).next().unwrap_or("")
}
