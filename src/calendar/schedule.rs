//! A cron expression as people write it: five fields, weekdays from Sunday as 0 or 7.
//!
//! The crate `cron` reads Quartz's dialect: seconds first, 1 for Sunday, and day of month *and* day
//! of week. So an expression is translated before it is parsed, and what would mean something else
//! than in crontab(5) is refused. Only the parser is used. The crate's own iteration goes back in
//! time where clocks are turned back (measured), so the sets it parses are applied to civil dates
//! here, and [`Zone`] says when those are.

use std::str::FromStr;
use std::time::Duration;

use cron::TimeUnitSpec;

use super::zone::{DAY_SECONDS, Zone};
use crate::base::{Timestamp, civil_from_days};

const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
/// 29 February comes again after eight years at most (1896 to 1904).
const LONGEST_GAP_DAYS: i64 = 8 * 366;

/// Minutes at which something starts, in civil time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    source: String,
    minutes: Vec<u32>,
    hours: Vec<u32>,
    days: Vec<u32>,
    months: Vec<u32>,
    /// From 0 for Sunday.
    weekdays: Vec<u32>,
}

impl Schedule {
    /// Reads `minute hour day-of-month month day-of-week`, or `@hourly`, `@daily`, `@weekly`,
    /// `@monthly`, `@yearly`. The error is one line.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let quartz = match fields[..] {
            [nickname] if nickname.starts_with('@') => nickname.to_owned(),
            [minute, hour, day, month, weekday] => {
                if is_restricted(day) && is_restricted(weekday) {
                    let why = "day of month and day of week are both given";
                    return Err(format!("{why}: cron programs differ in what that means"));
                }
                format!("0 {minute} {hour} {day} {month} {}", weekdays(weekday)?)
            }
            _ => return Err("must be five fields: minute hour day month weekday".to_owned()),
        };
        let parsed = cron::Schedule::from_str(&quartz)
            .map_err(|_| format!("`{text}` is not a cron expression"))?;
        let schedule = Schedule {
            source: text.to_owned(),
            minutes: parsed.minutes().iter().collect(),
            hours: parsed.hours().iter().collect(),
            days: parsed.days_of_month().iter().collect(),
            months: parsed.months().iter().collect(),
            weekdays: parsed.days_of_week().iter().map(|day| day - 1).collect(),
        };
        let comes = (0..LONGEST_GAP_DAYS).any(|day| schedule.is_on(day));
        if comes { Ok(schedule) } else { Err(format!("`{text}` never comes")) }
    }

    /// The expression as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The last start at or before `at`, if there is one within `reach_days` before it.
    pub fn last_start(&self, at: Timestamp, zone: &Zone, reach_days: i64) -> Option<Timestamp> {
        let today = zone.civil_day(at);
        let days = (today - reach_days..=today).rev();
        days.filter_map(|day| self.starts_on(day, zone).filter(|start| *start <= at).max()).next()
    }

    /// The first start after `at`.
    pub fn next_start(&self, at: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let today = zone.civil_day(at);
        let days = today..=today + LONGEST_GAP_DAYS;
        days.filter_map(|day| self.starts_on(day, zone).filter(|start| *start > at).min()).next()
    }

    /// Starts of a civil day. A time that the day skips is taken as if the clocks had not been
    /// changed; of one that comes twice, the first counts, unless it is every hour anyway.
    pub(super) fn starts_on(&self, day: i64, zone: &Zone) -> impl Iterator<Item = Timestamp> {
        let is_on = self.is_on(day);
        let hourly = self.hours.len() == 24;
        let steady = zone.steady(day);
        self.times().filter(move |_| is_on).flat_map(move |time| {
            let civil = day * DAY_SECONDS + time;
            let (first, second) = match steady {
                Some(offset) => (Timestamp((civil - offset) * 1000), None),
                None => zone.instants(civil),
            };
            [Some(first), second.filter(|_| hourly)].into_iter().flatten()
        })
    }

    /// The first and the last start of a civil day, if there are any and clocks are not changed around it.
    pub(super) fn ends_of(&self, day: i64, zone: &Zone) -> Option<(Timestamp, Timestamp)> {
        let offset = zone.steady(day).filter(|_| self.is_on(day))?;
        let start = |time: i64| Timestamp((day * DAY_SECONDS + time - offset) * 1000);
        let (hour, minute) = (self.hours.last()?, self.minutes.last()?);
        Some((start(self.times().next()?), start(seconds(*hour, *minute))))
    }

    /// The longest time from one start of a day to the next.
    pub(super) fn longest_wait(&self) -> Duration {
        let waits = self.times().zip(self.times().skip(1)).map(|(one, next)| next - one);
        Duration::from_secs(waits.max().unwrap_or_default().unsigned_abs())
    }

    /// Times of a day on which something starts, in seconds, in order.
    fn times(&self) -> impl Iterator<Item = i64> {
        let of_hour = |hour: &u32| {
            let hour = *hour;
            self.minutes.iter().map(move |minute| seconds(hour, *minute))
        };
        self.hours.iter().flat_map(of_hour)
    }

    fn is_on(&self, day: i64) -> bool {
        let (_, month, date) = civil_from_days(day);
        // The epoch was a Thursday.
        let weekday = (day + 4).rem_euclid(7);
        let has = |set: &[u32], value: i64| set.iter().any(|one| i64::from(*one) == value);
        has(&self.months, month) && has(&self.days, date) && has(&self.weekdays, weekday)
    }
}

/// A time of day, in seconds.
fn seconds(hour: u32, minute: u32) -> i64 {
    i64::from(hour) * 3600 + i64::from(minute) * 60
}

fn is_restricted(field: &str) -> bool {
    !matches!(field, "*" | "?")
}

/// The field for the day of the week as a list of names, which mean the same everywhere.
fn weekdays(field: &str) -> Result<String, String> {
    if !is_restricted(field) {
        return Ok("*".to_owned());
    }
    let mut names: Vec<&str> = Vec::new();
    for item in field.split(',') {
        let bad = || format!("`{item}` is not a day of the week");
        let (range, step) = item.split_once('/').map_or((item, "1"), |parts| parts);
        let step: usize =
            step.parse().ok().filter(|step| (1..=7).contains(step)).ok_or_else(bad)?;
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (0, 6),
            Some((from, to)) => (weekday(from).ok_or_else(bad)?, weekday(to).ok_or_else(bad)?),
            None => {
                let day = weekday(range).ok_or_else(bad)?;
                (day, if item.contains('/') { 6 } else { day })
            }
        };
        // A range may go round the end of the week: FRI-MON.
        let to = if to < from { to + 7 } else { to };
        names.extend((from..=to).step_by(step).map(|day| WEEKDAYS[day % 7]));
    }
    names.sort_unstable();
    names.dedup();
    Ok(names.join(","))
}

/// 0 or 7 for Sunday, or a name of three letters.
fn weekday(word: &str) -> Option<usize> {
    let named = WEEKDAYS.iter().position(|name| name.eq_ignore_ascii_case(word));
    named.or_else(|| word.parse().ok().filter(|number| *number <= 7))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{format_rfc3339, parse_rfc3339};

    fn at(text: &str) -> Timestamp {
        parse_rfc3339(text).expect(text)
    }

    /// The next starts, without seconds.
    fn check(cron: &str, zone: &str, after: &str, want: &[&str]) {
        let schedule = Schedule::parse(cron).expect(cron);
        let zone = Zone::parse(zone).expect(zone);
        let mut now = at(after);
        for want in want {
            now = schedule.next_start(now, &zone).expect(cron);
            assert_eq!(&format_rfc3339(now)[..16], *want, "{cron} after {after}");
            assert_eq!(schedule.last_start(now, &zone, 1), Some(now), "{cron}");
        }
    }

    #[test]
    fn cron_means_what_crontab_means() {
        let sunday = "2026-11-22T10:00:00Z";
        check("*/20 * * * *", "UTC", sunday, &["2026-11-22T10:20", "2026-11-22T10:40"]);
        check("0 9 * * 1", "UTC", sunday, &["2026-11-23T09:00", "2026-11-30T09:00"]);
        check("0 9 * * 0", "UTC", sunday, &["2026-11-29T09:00"]);
        check("0 9 * * 7", "UTC", sunday, &["2026-11-29T09:00"]);
        check("0 9 * * 1-5", "UTC", "2026-11-27T10:00:00Z", &["2026-11-30T09:00"]);
        check("0 9 * * sat-mon", "UTC", "2026-11-23T10:00:00Z", &["2026-11-28T09:00"]);
        check("0 9 * * 5-7/2", "UTC", sunday, &["2026-11-27T09:00", "2026-11-29T09:00"]);
        check("30 2 1 * *", "+09:00", sunday, &["2026-11-30T17:30"]);
        check("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", &["2104-02-29T00:00"]);
        check("@weekly", "UTC", sunday, &["2026-11-29T00:00"]);
    }

    #[test]
    fn clocks_that_change_neither_repeat_nor_lose_a_start() {
        let new_york = "EST5EDT,M3.2.0,M11.1.0";
        // 02:30 does not exist on 8 March: an hour later by the new clock, a day after the last.
        let spring = ["2026-03-07T07:30", "2026-03-08T07:30", "2026-03-09T06:30"];
        check("30 2 * * *", new_york, "2026-03-07T00:00:00Z", &spring);
        // 01:30 comes twice on 1 November: the first counts.
        let autumn = ["2026-10-31T05:30", "2026-11-01T05:30", "2026-11-02T06:30"];
        check("30 1 * * *", new_york, "2026-10-31T00:00:00Z", &autumn);
        // What starts every hour starts every hour.
        let hours = ["2026-11-01T05:00", "2026-11-01T06:00", "2026-11-01T07:00"];
        check("0 * * * *", new_york, "2026-11-01T04:30:00Z", &hours);
    }

    #[test]
    fn what_means_different_things_elsewhere_is_refused() {
        for (text, want) in [
            ("* * * *", "five fields"),
            ("0 0 9 * * 1", "five fields"),
            ("", "five fields"),
            ("0 9 13 * FRI", "both given"),
            ("0 9 * * 8", "not a day of the week"),
            ("0 9 * * MONDAY", "not a day of the week"),
            ("60 9 * * *", "not a cron expression"),
            ("0 0 31 2 *", "never comes"),
            ("@noon", "not a cron expression"),
        ] {
            let error = Schedule::parse(text).expect_err(text);
            assert!(error.contains(want) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
