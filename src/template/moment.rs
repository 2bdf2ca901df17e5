//! Methods of `time.Time`, always in UTC: `{{ (toTime $value).Format "15:04" }}`.

use super::value::Value;
use crate::base::{civil_from_days, days_from_civil};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const DAY_MILLIS: i64 = 86_400_000;

/// A time in its parts.
struct Moment {
    year: i64,
    /// From 0.
    month: usize,
    day: i64,
    /// From 0, Sunday.
    weekday: usize,
    /// From 1.
    year_day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    milli: i64,
}

impl Moment {
    fn of(millis: i64) -> Moment {
        let (days, rest) = (millis.div_euclid(DAY_MILLIS), millis.rem_euclid(DAY_MILLIS));
        let (year, month, day) = civil_from_days(days);
        Moment {
            year,
            month: usize::try_from(month - 1).unwrap_or(0),
            day,
            // The first day of all was a Thursday.
            weekday: usize::try_from((days + 4).rem_euclid(7)).unwrap_or(0),
            year_day: days - days_from_civil(year, 1, 1) + 1,
            hour: rest / 3_600_000,
            minute: rest / 60_000 % 60,
            second: rest / 1000 % 60,
            milli: rest % 1000,
        }
    }
}

/// What the method gives of a time; `None` if there is none of that name here.
pub(super) fn call(millis: i64, method: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let moment = Moment::of(millis);
    let value = match method {
        "Format" => return Some(formatted(&moment, args)),
        "UTC" | "Local" => Value::Time(millis),
        "Unix" => Value::Int(millis.div_euclid(1000)),
        "UnixMilli" => Value::Int(millis),
        "Year" => Value::Int(moment.year),
        "Month" => Value::text(MONTHS[moment.month]),
        "Day" => Value::Int(moment.day),
        "Weekday" => Value::text(WEEKDAYS[moment.weekday]),
        "YearDay" => Value::Int(moment.year_day),
        "Hour" => Value::Int(moment.hour),
        "Minute" => Value::Int(moment.minute),
        "Second" => Value::Int(moment.second),
        "Nanosecond" => Value::Int(moment.milli * 1_000_000),
        _ => return None,
    };
    let got = args.len();
    if got > 0 {
        return Some(Err(format!("wrong number of args for {method}: want 0 got {got}")));
    }
    Some(Ok(value))
}

fn formatted(moment: &Moment, args: &[Value]) -> Result<Value, String> {
    match args {
        [Value::String(layout)] => Ok(Value::text(format(moment, layout))),
        [other] => {
            let got = other.type_name();
            Err(format!("wrong type for value; expected string; got {got}"))
        }
        _ => Err(format!("wrong number of args for Format: want 1 got {}", args.len())),
    }
}

/// Part of a layout, and the text in its place.
type Part = (&'static str, fn(&Moment) -> String);

/// What a layout may name, longest first where one begins another, and what stands for it.
const PARTS: [Part; 31] = [
    ("January", |at| MONTHS[at.month].to_owned()),
    ("Jan", |at| MONTHS[at.month][..3].to_owned()),
    ("Monday", |at| WEEKDAYS[at.weekday].to_owned()),
    ("Mon", |at| WEEKDAYS[at.weekday][..3].to_owned()),
    ("MST", |_| "UTC".to_owned()),
    ("2006", |at| format!("{:04}", at.year)),
    ("-07:00:00", |_| "+00:00:00".to_owned()),
    ("-07:00", |_| "+00:00".to_owned()),
    ("-070000", |_| "+000000".to_owned()),
    ("-0700", |_| "+0000".to_owned()),
    ("-07", |_| "+00".to_owned()),
    ("Z07:00:00", |_| "Z".to_owned()),
    ("Z07:00", |_| "Z".to_owned()),
    ("Z070000", |_| "Z".to_owned()),
    ("Z0700", |_| "Z".to_owned()),
    ("Z07", |_| "Z".to_owned()),
    ("002", |at| format!("{:03}", at.year_day)),
    ("__2", |at| format!("{:3}", at.year_day)),
    ("01", |at| format!("{:02}", at.month + 1)),
    ("02", |at| format!("{:02}", at.day)),
    ("03", |at| format!("{:02}", twelve(at))),
    ("04", |at| format!("{:02}", at.minute)),
    ("05", |at| format!("{:02}", at.second)),
    ("06", |at| format!("{:02}", at.year.rem_euclid(100))),
    ("15", |at| format!("{:02}", at.hour)),
    ("_2", |at| format!("{:2}", at.day)),
    ("PM", |at| if at.hour < 12 { "AM" } else { "PM" }.to_owned()),
    ("pm", |at| if at.hour < 12 { "am" } else { "pm" }.to_owned()),
    ("1", |at| (at.month + 1).to_string()),
    ("2", |at| at.day.to_string()),
    ("3", |at| twelve(at).to_string()),
];

/// The hour of a clock with twelve.
fn twelve(at: &Moment) -> i64 {
    (at.hour + 11) % 12 + 1
}

/// `time.Time.Format`: the layout is the reference time written as wanted.
fn format(moment: &Moment, layout: &str) -> String {
    let mut out = String::new();
    let mut rest = layout;
    while let Some(next) = rest.chars().next() {
        if let Some((digits, length)) = fraction(rest) {
            out.push_str(&fraction_text(moment, &rest[..1], digits, rest.as_bytes()[1] == b'9'));
            rest = &rest[length..];
            continue;
        }
        let found = PARTS.iter().find(|(part, _)| rest.starts_with(part));
        match found {
            // `_2006` is an underscore before a year.
            Some(("_2", _)) if rest.starts_with("_2006") => {
                out.push('_');
                rest = &rest[1..];
            }
            // `January` and `June` do not begin with a month's short name.
            Some(("Jan" | "Mon", _)) if followed_by_lower(&rest[3..]) => {
                out.push_str(&rest[..3]);
                rest = &rest[3..];
            }
            Some((part, text)) => {
                out.push_str(&text(moment));
                rest = &rest[part.len()..];
            }
            None if matches!(next, '4' | '5') => {
                let number = if next == '4' { moment.minute } else { moment.second };
                out.push_str(&number.to_string());
                rest = &rest[1..];
            }
            None => {
                out.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    out
}

fn followed_by_lower(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_ascii_lowercase())
}

/// `.000` or `,999`, where no digit follows: how many digits, and the length of the whole.
fn fraction(rest: &str) -> Option<(usize, usize)> {
    let after = rest.strip_prefix(['.', ','])?;
    let digit = after.chars().next().filter(|digit| matches!(digit, '0' | '9'))?;
    let digits = after.len() - after.trim_start_matches(digit).len();
    let ends = !after[digits..].starts_with(|c: char| c.is_ascii_digit());
    ends.then_some((digits, digits + 1))
}

/// The fraction of a second; nines leave out zeros at its end.
fn fraction_text(moment: &Moment, point: &str, digits: usize, trimmed: bool) -> String {
    let nanos = format!("{:03}{}", moment.milli, "0".repeat(6));
    let text = &nanos[..digits.min(nanos.len())];
    let text = if trimmed { text.trim_end_matches('0') } else { text };
    if text.is_empty() { String::new() } else { format!("{point}{text}") }
}
