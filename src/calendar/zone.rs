//! A time zone: when a time on the wall is, on the one clock there is.
//!
//! An offset, a rule in POSIX's notation, or the file of an IANA zone (RFC 9636), which is a list of
//! past changes and such a rule for the future. The files are the system's: nothing here knows the
//! politics of clocks, and nothing here reads a file.

use super::tzif;
use crate::base::{Timestamp, civil_from_days, days_from_civil};

pub(super) const DAY_SECONDS: i64 = 24 * 3600;

/// A time zone.
#[derive(Clone, PartialEq, Debug)]
pub struct Zone {
    name: String,
    /// Offset of the time before the first change, seconds east of UTC.
    first: i64,
    /// When the offset changed, and to what; in order.
    changes: Vec<(i64, i64)>,
    /// What holds after the last change.
    rule: Option<Rule>,
}

/// The offsets of a year, as POSIX's `TZ` writes them.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Rule {
    standard: i64,
    summer: Option<Summer>,
}

/// Summer time: its offset, and when it begins and ends.
#[derive(Clone, PartialEq, Debug)]
struct Summer {
    offset: i64,
    begins: Change,
    ends: Change,
}

/// A day of each year and the seconds after its midnight.
#[derive(Clone, PartialEq, Debug)]
struct Change {
    day: YearDay,
    seconds: i64,
}

#[derive(Clone, PartialEq, Debug)]
enum YearDay {
    /// `Mm.w.d`: the week-th (5: the last) weekday of a month.
    Week { month: i64, week: i64, weekday: i64 },
    /// `Jn`: 1 to 365, 29 February not counted.
    Julian(i64),
    /// `n`: 0 to 365.
    Plain(i64),
}

impl Zone {
    /// Coordinated Universal Time.
    pub fn utc() -> Zone {
        Zone::fixed("UTC", 0)
    }

    /// Reads `UTC`, an offset as `+09:00`, or a rule in POSIX's notation with summer time. `None`: it is
    /// something else, perhaps the name of a zone that stands in a file ([`Zone::from_file`]).
    pub fn parse(text: &str) -> Option<Zone> {
        if matches!(text, "UTC" | "Z" | "Etc/UTC") {
            return Some(Zone::utc());
        }
        if let Some(offset) = offset(text) {
            return Some(Zone::fixed(text, offset));
        }
        let rule = Rule::parse(text).filter(|rule| !rule.is_bare_offset())?;
        let first = rule.standard;
        Some(Zone { name: text.to_owned(), first, changes: Vec::new(), rule: Some(rule) })
    }

    /// The two offsets that a name with a number may mean, as `UTC+9`: the one its sign says to people,
    /// and the one it says to POSIX, which counts west of UTC. [`Zone::parse`] refuses it.
    pub fn two_readings(text: &str) -> Option<[String; 2]> {
        let rule = Rule::parse(text).filter(Rule::is_bare_offset)?;
        let minutes = rule.standard.abs() / 60;
        let is_writable = rule.standard.abs() < DAY_SECONDS && rule.standard % 60 == 0;
        let written = |sign: char| format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60);
        let signs = if rule.standard < 0 { ['+', '-'] } else { ['-', '+'] };
        is_writable.then(|| signs.map(written))
    }

    /// A zone from the bytes of its file in the zone information database.
    pub fn from_file(name: &str, bytes: &[u8]) -> Result<Zone, String> {
        let file = tzif::read(bytes).ok_or_else(|| format!("`{name}` is not a time zone file"))?;
        let rule = match file.rule {
            "" => None,
            text => Some(Rule::parse(text).ok_or_else(|| format!("`{name}`: rule `{text}`?"))?),
        };
        Ok(Zone { name: name.to_owned(), first: file.first, changes: file.changes, rule })
    }

    /// As it was written.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The offset of a whole civil day, if clocks are changed neither on it nor the day before or after.
    pub(super) fn steady(&self, day: i64) -> Option<i64> {
        let midnight = day * DAY_SECONDS;
        let offset = self.offset(midnight);
        // Offsets change at most once within two days.
        let around = [midnight - DAY_SECONDS, midnight + DAY_SECONDS, midnight + 2 * DAY_SECONDS];
        around.iter().all(|at| self.offset(*at) == offset).then_some(offset)
    }

    /// The day it is there, counted from 1970-01-01.
    pub fn civil_day(&self, at: Timestamp) -> i64 {
        let seconds = at.0.div_euclid(1000);
        (seconds + self.offset(seconds)).div_euclid(DAY_SECONDS)
    }

    /// When it is a civil time, given in seconds since 1970-01-01 as if there were no zones: once;
    /// or twice, where clocks were turned back. A time that was skipped is taken as if they had not
    /// been turned forward.
    pub(super) fn instants(&self, civil: i64) -> (Timestamp, Option<Timestamp>) {
        // Offsets change at most once within two days.
        let before = self.offset(civil - DAY_SECONDS);
        let after = self.offset(civil + DAY_SECONDS);
        let (old, new) = (civil - before, civil - after);
        let stamp = |seconds: i64| Timestamp(seconds * 1000);
        match (self.offset(old) == before, self.offset(new) == after) {
            (true, true) if old != new => (stamp(old), Some(stamp(new))),
            (false, true) => (stamp(new), None),
            _ => (stamp(old), None),
        }
    }

    /// Seconds east of UTC at a time, which is in seconds since the epoch.
    fn offset(&self, at: i64) -> i64 {
        let after = self.changes.partition_point(|(when, _)| *when <= at);
        match (&self.rule, after.checked_sub(1)) {
            (Some(rule), _) if after == self.changes.len() => rule.offset(at),
            (_, Some(index)) => self.changes[index].1,
            (_, None) => self.first,
        }
    }

    fn fixed(name: &str, offset: i64) -> Zone {
        Zone { name: name.to_owned(), first: offset, changes: Vec::new(), rule: None }
    }
}

impl Rule {
    /// Reads `EST5EDT,M3.2.0,M11.1.0` and its like.
    fn parse(text: &str) -> Option<Rule> {
        let mut dates = text.split(',');
        let rest = after_name(dates.next()?)?;
        let (west, rest) = clock(rest)?;
        let standard = -west;
        if rest.is_empty() {
            return dates.next().is_none().then_some(Rule { standard, summer: None });
        }
        let rest = after_name(rest)?;
        let offset = match clock(rest) {
            Some((west, "")) => -west,
            None if rest.is_empty() => standard + 3600,
            _ => return None,
        };
        let (begins, ends) = (Change::parse(dates.next()?)?, Change::parse(dates.next()?)?);
        let summer = Some(Summer { offset, begins, ends });
        dates.next().is_none().then_some(Rule { standard, summer })
    }

    /// Whether it is no more than a name with a number, whose sign people read the other way round.
    fn is_bare_offset(&self) -> bool {
        self.summer.is_none() && self.standard != 0
    }

    fn offset(&self, at: i64) -> i64 {
        let Some(Summer { offset, begins, ends }) = &self.summer else { return self.standard };
        let (year, ..) = civil_from_days((at + self.standard).div_euclid(DAY_SECONDS));
        let (begin, end) = (begins.civil(year) - self.standard, ends.civil(year) - offset);
        // South of the equator summer goes over the end of the year.
        let is_summer = match begin < end {
            true => (begin..end).contains(&at),
            false => !(end..begin).contains(&at),
        };
        if is_summer { *offset } else { self.standard }
    }
}

impl Change {
    /// Reads `M3.2.0`, `J60`, `59`, with `/2` or `/2:30` behind it.
    fn parse(text: &str) -> Option<Change> {
        let (day, time) = text.split_once('/').unwrap_or((text, "2"));
        let (seconds, rest) = clock(time)?;
        let number = |text: &str| text.parse::<i64>().ok();
        let day = if let Some(weeks) = day.strip_prefix('M') {
            let mut parts = weeks.split('.').map(number);
            let mut part = |from, to| parts.next()?.filter(|n| (from..=to).contains(n));
            YearDay::Week { month: part(1, 12)?, week: part(1, 5)?, weekday: part(0, 6)? }
        } else if let Some(day) = day.strip_prefix('J') {
            YearDay::Julian(number(day).filter(|day| (1..=365).contains(day))?)
        } else {
            YearDay::Plain(number(day).filter(|day| (0..=365).contains(day))?)
        };
        rest.is_empty().then_some(Change { day, seconds })
    }

    /// When it is in a year, in civil seconds.
    fn civil(&self, year: i64) -> i64 {
        let new_year = days_from_civil(year, 1, 1);
        let day = match self.day {
            YearDay::Plain(day) => new_year + day,
            YearDay::Julian(day) => {
                let leap = days_from_civil(year, 3, 1) - new_year == 60;
                new_year + day - 1 + i64::from(leap && day >= 60)
            }
            YearDay::Week { month, week, weekday } => {
                let first = days_from_civil(year, month, 1);
                let next = days_from_civil(year + month / 12, month % 12 + 1, 1);
                // The epoch was a Thursday.
                let day = first + (weekday - (first + 4)).rem_euclid(7) + 7 * (week - 1);
                if day < next { day } else { day - 7 }
            }
        };
        day * DAY_SECONDS + self.seconds
    }
}

/// What follows the name of a zone: letters, or anything in `<>`.
fn after_name(text: &str) -> Option<&str> {
    if let Some(quoted) = text.strip_prefix('<') {
        return quoted.split_once('>').filter(|(name, _)| name.len() >= 3).map(|(_, rest)| rest);
    }
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    (end >= 3).then(|| &text[end..])
}

/// `h`, `h:mm` or `h:mm:ss`, with a sign; in seconds, and what follows.
fn clock(text: &str) -> Option<(i64, &str)> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(digits.len());
    let (own, rest) = digits.split_at(end);
    let mut seconds = 0;
    let mut unit = 3600;
    for part in own.split(':') {
        let number: i64 = part.parse().ok().filter(|n| *n < if unit == 3600 { 168 } else { 60 })?;
        seconds += number * unit;
        unit /= 60;
        if unit == 0 && part.len() > 2 {
            return None;
        }
    }
    (own.split(':').count() <= 3).then_some((sign * seconds, rest))
}

/// `+09:00`, `-0330`, `+9`: seconds east of UTC, less than a day.
fn offset(text: &str) -> Option<i64> {
    let signed = text.starts_with(['+', '-']);
    let plain = text.get(1..)?.replace(':', "");
    if !plain.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = match plain.len() {
        1 | 2 => (plain.as_str(), "0"),
        4 => plain.split_at(2),
        _ => return None,
    };
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let part = |text: &str, below: i64| text.parse::<i64>().ok().filter(|n| *n < below);
    let seconds = part(hours, 24)? * 3600 + part(minutes, 60)? * 60;
    signed.then_some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::parse_rfc3339;

    fn berlin() -> Zone {
        Zone::from_file("Europe/Berlin", include_bytes!("testdata/berlin.tzif")).expect("a zone")
    }

    fn check(zone: &Zone, cases: &[(&str, i64)]) {
        for (at, minutes) in cases {
            let seconds = parse_rfc3339(at).expect(at).0 / 1000;
            assert_eq!(zone.offset(seconds), minutes * 60, "{} at {at}", zone.name());
        }
    }

    #[test]
    fn offsets_are_those_of_the_zone() {
        let summers = [
            ("1975-07-01T00:00:00Z", 60),
            ("1980-07-01T00:00:00Z", 120),
            ("2026-03-29T00:59:59Z", 60),
            ("2026-03-29T01:00:00Z", 120),
            ("2026-10-25T00:59:59Z", 120),
            ("2026-10-25T01:00:00Z", 60),
            ("2077-07-01T00:00:00Z", 120),
        ];
        check(&berlin(), &summers);
        let posix = Zone::parse("CET-1CEST,M3.5.0,M10.5.0/3").expect("a rule");
        check(&posix, &summers[1..]);
        let sydney = Zone::parse("AEST-10AEDT,M10.1.0,M4.1.0/3").expect("a rule");
        check(&sydney, &[("2026-01-01T00:00:00Z", 660), ("2026-07-01T00:00:00Z", 600)]);
        let leap = Zone::parse("<-03>3<-02>,J60/0,59/24").expect("a rule");
        // Summer from 1 March to the end of day 59: in a leap year that is the evening before.
        let days = [
            ("2023-03-01T02:59:59Z", -180),
            ("2023-03-01T03:00:00Z", -120),
            ("2023-03-02T02:00:00Z", -180),
            ("2024-02-29T12:00:00Z", -120),
            ("2024-03-01T02:00:00Z", -180),
            ("2024-03-01T03:00:00Z", -120),
        ];
        check(&leap, &days);
        for (text, minutes) in [("+09:00", 540), ("-0330", -210), ("+5", 300), ("UTC", 0)] {
            check(&Zone::parse(text).expect(text), &[("2026-07-01T00:00:00Z", minutes)]);
        }
    }

    #[test]
    fn a_zone_and_its_rule_agree_hour_by_hour() {
        let rule = Zone::parse("CET-1CEST,M3.5.0,M10.5.0/3").expect("a rule");
        let berlin = berlin();
        let start = days_from_civil(1999, 1, 1) * DAY_SECONDS;
        for hour in 0..24 * 366 * 60 {
            let at = start + hour * 3600;
            assert_eq!(berlin.offset(at), rule.offset(at), "{}", Timestamp(at * 1000));
        }
    }

    /// POSIX counts west of UTC, people count east: nine hours from Seoul would be eighteen.
    #[test]
    fn a_name_with_a_number_is_refused_with_the_two_offsets_it_may_mean() {
        for (text, want) in [
            ("UTC+9", ["+09:00", "-09:00"]),
            ("GMT+9", ["+09:00", "-09:00"]),
            ("KST9", ["+09:00", "-09:00"]),
            ("KST-9", ["-09:00", "+09:00"]),
            ("NPT-5:45", ["-05:45", "+05:45"]),
            ("<+09>-9", ["-09:00", "+09:00"]),
        ] {
            assert_eq!(Zone::parse(text), None, "{text}");
            assert_eq!(Zone::two_readings(text), Some(want.map(str::to_owned)), "{text}");
        }
        for text in ["+09:00", "UTC+100", "UTC+9:00:30", "Asia/Seoul", "CET-1CEST,M3.5.0,M10.5.0/3"]
        {
            assert_eq!(Zone::two_readings(text), None, "{text}");
        }
        for text in ["UTC0", "GMT+0"] {
            check(&Zone::parse(text).expect(text), &[("2026-07-01T00:00:00Z", 0)]);
        }
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for text in ["", "9", "09:00", "+24:00", "+09:60", "+090", "Asia/Seoul", "EST5EDT", "EST"] {
            assert_eq!(Zone::parse(text), None, "{text}");
        }
        for text in ["EST5EDT,M3.2.0", "EST5EDT,M13.2.0,M11.1.0", "EST5EDT,M3.2.0,M11.1.0,x"] {
            assert_eq!(Zone::parse(text), None, "{text}");
        }
        // Of four bytes, and the second ends within a character; signs and digits that are none.
        for text in ["+0９", "Roßl", "++5", "+-5", "+０９", "é9:00"] {
            assert_eq!(Zone::parse(text), None, "{text}");
        }
        let whole = include_bytes!("testdata/berlin.tzif");
        for end in 0..whole.len() - 1 {
            assert!(Zone::from_file("x", &whole[..end]).is_err(), "cut at {end}");
        }
    }
}
