//! The promqltest language: text to commands. The regular expressions are upstream's own
//! (`promql/promqltest/test.go`), because which part is greedy matters.

use std::sync::LazyLock;

use plimsoll::base::{Labels, parse_duration};
use plimsoll::promql::{SeriesValues, parse_series};
use regex::{Captures, Regex};

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("compiles"));
    };
}

pattern!(LOAD, r"^load(?:_(with_nhcb))?\s+(.+?)$");
pattern!(INSTANT, r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$");
pattern!(
    RANGE,
    r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$"
);
pattern!(EXPECT, r"^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?$");
pattern!(EXPECT_RANGE, r"^expect range vector\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+)$");

/// A value of a sequence.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Cell {
    /// `_`
    Omitted,
    /// A number, or the stale marker.
    Float(f64),
    /// `{{…}}`: a native histogram, which only says that it is one.
    Native,
}

/// `series values…`
#[derive(Clone, Debug)]
pub struct Sequence {
    pub labels: Labels,
    pub cells: Vec<Cell>,
}

/// Which points in time an `eval` asks for, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub enum When {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// `expect fail|warn|info …`
#[derive(Clone, Debug)]
pub struct Note {
    pub kind: String,
    /// An exact text, a pattern, or neither.
    pub msg: Option<String>,
    pub regex: Option<Regex>,
}

impl Note {
    pub fn matches(&self, text: &str) -> bool {
        self.msg.as_ref().is_none_or(|msg| msg == text)
            && self.regex.as_ref().is_none_or(|regex| regex.is_match(text))
    }
}

/// An `eval` with everything that is expected of it.
#[derive(Clone, Debug)]
pub struct Eval {
    pub line: usize,
    pub when: When,
    pub expr: String,
    pub ordered: bool,
    pub notes: Vec<Note>,
    pub scalar: Option<f64>,
    pub string: Option<String>,
    /// Start and step of an expected range vector.
    pub range_vector: Option<(i64, i64)>,
    pub series: Vec<Sequence>,
}

/// One command.
#[derive(Clone, Debug)]
pub enum Command {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
    /// What this reader does not understand. A failure, never passed over: a test that cannot be
    /// read is not a test that passes. The rest of the file still runs.
    Unreadable {
        line: usize,
        why: String,
    },
}

/// `load 5m` with its series.
#[derive(Clone, Debug, Default)]
pub struct Load {
    pub step: i64,
    /// `load_with_nhcb`: classic buckets are also stored as native histograms.
    pub nhcb: bool,
    pub series: Vec<Sequence>,
    /// Series for which `name@st` gave start timestamps.
    pub started: Vec<Labels>,
}

/// What was read, or why it cannot be.
type Read<T> = Result<T, String>;

/// Reads a file. What it does not understand becomes a command that says so.
pub fn read(text: &str) -> Vec<Command> {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .map(|line| if line.starts_with('#') { "" } else { line })
        .collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        at += 1;
        if line.is_empty() {
            continue;
        }
        let body: Vec<&str> =
            lines[at..].iter().copied().take_while(|line| !line.is_empty()).collect();
        let (command, used) = match command(at, line, &body) {
            Ok(read) => read,
            Err(why) => (Command::Unreadable { line: at, why }, body.len()),
        };
        commands.push(command);
        at += used;
    }
    commands
}

/// A command, and how many lines of its body it took.
fn command(number: usize, head: &str, body: &[&str]) -> Read<(Command, usize)> {
    if head == "clear" {
        return Ok((Command::Clear, 0));
    }
    if let Some(found) = LOAD.captures(head) {
        return Ok((Command::Load(load(&found, body)?), body.len()));
    }
    let (eval, used) = eval(number, head, body)?;
    Ok((Command::Eval(Box::new(eval)), used))
}

fn load(head: &Captures, body: &[&str]) -> Read<Load> {
    let mut load = Load { step: millis(&head[2])?, nhcb: head.get(1).is_some(), ..Load::default() };
    for line in body {
        // `metric@st 1m 2m`: which only start_timestamp() and the rate family read.
        match line.split_once("@st") {
            Some((name, rest)) if rest.starts_with([' ', '\t']) => {
                load.started.push(series(name)?.0);
            }
            _ => load.series.push(sequence(line)?),
        }
    }
    Ok(load)
}

fn eval(line: usize, head: &str, body: &[&str]) -> Read<(Eval, usize)> {
    let (kind, when, expr) = if let Some(found) = INSTANT.captures(head) {
        let at = found.get(2).map_or(Ok(0), |at| millis(at.as_str()))?;
        (found.get(1), When::Instant(at), found.get(3).expect("matched").as_str())
    } else if let Some(found) = RANGE.captures(head) {
        let (start, end, step) = (millis(&found[2])?, millis(&found[3])?, millis(&found[4])?);
        (found.get(1), When::Range { start, end, step }, found.get(5).expect("matched").as_str())
    } else {
        return Err(format!("{head:?} is no command that this runner knows"));
    };
    let kind = kind.map(|kind| kind.as_str().to_owned());
    let mut eval = Eval {
        line,
        when,
        expr: expr.to_owned(),
        ordered: kind.as_deref() == Some("ordered"),
        notes: Vec::new(),
        scalar: None,
        string: None,
        range_vector: None,
        series: Vec::new(),
    };
    if let Some(kind) = kind.filter(|kind| kind != "ordered") {
        eval.notes.push(Note { kind, msg: None, regex: None });
    }
    for (used, line) in body.iter().enumerate() {
        if expectation(&mut eval, line)? {
            continue;
        }
        if let Some(number) = float(line) {
            eval.scalar = Some(number);
            return Ok((eval, used + 1));
        }
        eval.series.push(sequence(line)?);
    }
    Ok((eval, body.len()))
}

/// Whether the line says what is expected, other than by values.
fn expectation(eval: &mut Eval, line: &str) -> Read<bool> {
    if let Some(found) = EXPECT.captures(line) {
        if &found[1] == "ordered" {
            eval.ordered = true;
            return Ok(true);
        }
        let text = found.get(3).map(|text| text.as_str().trim().to_owned());
        let is_regex = found.get(2).is_some_and(|kind| kind.as_str() == "regex");
        let (msg, regex) = match text {
            Some(text) if is_regex => (None, Some(pattern_of(&text)?)),
            text => (text, None),
        };
        eval.notes.push(Note { kind: found[1].to_owned(), msg, regex });
    } else if let Some(found) = EXPECT_RANGE.captures(line) {
        eval.range_vector = Some((millis(&found[1])?, millis(&found[3])?));
    } else if let Some(text) = line.strip_prefix("expect string ") {
        let text = text.trim();
        eval.string = Some(quoted(text)?.0);
    } else if let Some(text) = line.strip_prefix("expected_fail_message ") {
        let msg = Some(text.trim().to_owned());
        eval.notes.push(Note { kind: "fail".to_owned(), msg, regex: None });
    } else if let Some(text) = line.strip_prefix("expected_fail_regexp ") {
        let regex = Some(pattern_of(text.trim())?);
        eval.notes.push(Note { kind: "fail".to_owned(), msg: None, regex });
    } else if line.starts_with("expect ") {
        return Err(format!("{line:?} is no expectation that this runner knows"));
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn pattern_of(text: &str) -> Read<Regex> {
    Regex::new(text).map_err(|error| error.to_string())
}

/// A duration or a number of seconds, possibly negative.
fn millis(text: &str) -> Read<i64> {
    let (sign, text) = match text.trim().strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text.trim()),
    };
    let duration = parse_duration(text).map_err(|error| format!("{text:?}: {error}"))?;
    Ok(sign * i64::try_from(duration.as_millis()).map_err(|error| error.to_string())?)
}

fn float(text: &str) -> Option<f64> {
    if let Some(hex) = text.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok().map(|value| value as f64);
    }
    text.parse().ok()
}

/// `name{a="b"} 1 2 3`
fn sequence(line: &str) -> Read<Sequence> {
    let (labels, mut rest) = series(line)?;
    let mut cells = Vec::new();
    while !rest.is_empty() {
        let end = token_end(rest);
        push_cells(&rest[..end], &mut cells)?;
        rest = rest[end..].trim_start();
    }
    Ok(Sequence { labels, cells })
}

/// Where the first token ends: at a blank outside of `{{…}}`.
fn token_end(text: &str) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b' ' | b'\t' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// Adds what a token stands for. Native histograms are this runner's own affair: the program has none.
fn push_cells(token: &str, cells: &mut Vec<Cell>) -> Read<()> {
    if !token.starts_with("{{") {
        let values = SeriesValues::parse(token).map_err(|error| error.message)?;
        cells.extend(values.iter().map(|value| value.map_or(Cell::Omitted, Cell::Float)));
        return Ok(());
    }
    let not_closed = || format!("{token:?} is not a histogram");
    let closed = token.rfind("}}").ok_or_else(not_closed)?;
    let times = token[closed + 2..].strip_prefix('x').map_or(Ok(0), str::parse);
    let times: usize = times.map_err(|_| not_closed())?;
    cells.extend(std::iter::repeat_n(Cell::Native, times + 1));
    Ok(())
}

/// `name{a="b", "quoted.name"="c"}` and what follows.
fn series(line: &str) -> Read<(Labels, &str)> {
    let name = line.find([' ', '\t', '{']).unwrap_or(line.len());
    let braces = line[name..].trim_start();
    let end = match braces.starts_with('{') && !braces.starts_with("{{") {
        true => line.len() - braces.len() + braces_end(braces)?,
        false => name,
    };
    let labels = parse_series(&line[..end]).map_err(|error| error.message)?;
    Ok((labels, line[end..].trim_start()))
}

/// How long `{…}` is.
fn braces_end(text: &str) -> Read<usize> {
    let mut at = 0;
    while let Some(special) = text[at..].find(['}', '"', '\'', '`']) {
        at += special;
        if text[at..].starts_with('}') {
            return Ok(at + 1);
        }
        at += quoted(&text[at..])?.1;
    }
    Err(format!("the braces of {text:?} are not closed"))
}

/// A quoted Go string, and how many bytes it takes.
fn quoted(text: &str) -> Read<(String, usize)> {
    let unclosed = || format!("{text:?} is not a closed string");
    let quote = text.chars().next().filter(|c| "\"'`".contains(*c)).ok_or_else(unclosed)?;
    let mut value = Vec::new();
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        if byte == quote as u8 {
            let value = String::from_utf8(value).map_err(|error| error.to_string())?;
            return Ok((value, at + 1));
        }
        if byte != b'\\' || quote == '`' {
            value.push(byte);
            continue;
        }
        value.push(match bytes.next().ok_or_else(unclosed)?.1 {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            other @ (b'\\' | b'"' | b'\'') => other,
            other => return Err(format!("escape \\{} in {text}", other as char)),
        });
    }
    Err(unclosed())
}
