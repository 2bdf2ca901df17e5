//! A stretch of time that comes again and again.

use std::time::Duration;

use super::zone::DAY_SECONDS;
use super::{Schedule, Zone};
use crate::base::Timestamp;

/// Windows that touch are one; over more days than these they are called endless. Longer than a year, after
/// which a schedule comes again.
const CHAINED_DAYS: i64 = 400;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A window that opens on a schedule and stays open for a time.
#[derive(Clone, PartialEq, Debug)]
pub struct Window {
    /// When it opens.
    pub schedule: Schedule,
    /// How long it is open.
    pub duration: Duration,
    /// Whose clock on the wall it goes by.
    pub zone: Zone,
}

/// A window that is open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Open {
    /// Its name.
    pub name: String,
    /// When it ends; `None` if the next one always opens before.
    pub until: Option<Timestamp>,
}

impl Window {
    /// The longest duration of a window: what lasts longer is no exception any more.
    pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

    /// Whether it is open at `at`, and until when. It opens at its start and is closed at its end.
    pub fn is_open(&self, at: Timestamp) -> Option<Option<Timestamp>> {
        let reach = self.duration.as_secs().div_ceil(DAY.as_secs()) as i64 + 1;
        let start = self.schedule.last_start(at, &self.zone, reach)?;
        (at < start + self.duration).then(|| self.end(start))
    }

    /// When what opens at `start` ends; `None` if the next one always opens before.
    fn end(&self, start: Timestamp) -> Option<Timestamp> {
        let mut end = start + self.duration;
        let is_dense = self.schedule.longest_wait() <= self.duration;
        let today = self.zone.civil_day(start);
        for day in today..today + CHAINED_DAYS {
            let (midnight, _) = self.zone.instants(day * DAY_SECONDS);
            if end < midnight {
                return Some(end);
            }
            // From the first start of the day to the last there is nothing to look at.
            let ends = self.schedule.ends_of(day, &self.zone).filter(|_| is_dense && day > today);
            if let Some((_, last)) = ends.filter(|(first, _)| *first <= end) {
                end = last + self.duration;
                continue;
            }
            let mut starts: Vec<Timestamp> = self.schedule.starts_on(day, &self.zone).collect();
            starts.sort_unstable();
            for next in starts.into_iter().filter(|next| *next > start) {
                if next > end {
                    return Some(end);
                }
                end = next + self.duration;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{format_rfc3339, parse_rfc3339};

    /// As [`check_minutes`], in hours.
    fn check(cron: &str, hours: u64, zone: &str, cases: &[(&str, &str)]) {
        check_minutes((cron, hours * 60), zone, cases);
    }

    /// Whether it is open, and until when, in the form `closed`, `endless` or a time.
    fn check_minutes((cron, minutes): (&str, u64), zone: &str, cases: &[(&str, &str)]) {
        let window = Window {
            schedule: Schedule::parse(cron).expect(cron),
            duration: Duration::from_secs(minutes * 60),
            zone: Zone::parse(zone).expect(zone),
        };
        for (at, want) in cases {
            let got = match window.is_open(parse_rfc3339(at).expect(at)) {
                None => "closed".to_owned(),
                Some(None) => "endless".to_owned(),
                Some(Some(until)) => format_rfc3339(until)[..16].to_owned(),
            };
            assert_eq!(got, *want, "{cron} in {zone} at {at}");
        }
    }

    #[test]
    fn a_window_is_open_from_its_start_to_before_its_end() {
        let nights = [
            ("2026-11-22T12:59:59.999Z", "closed"),
            ("2026-11-22T13:00:00Z", "2026-11-22T21:00"),
            ("2026-11-22T20:59:59.999Z", "2026-11-22T21:00"),
            ("2026-11-22T21:00:00Z", "closed"),
        ];
        check("0 22 * * *", 8, "+09:00", &nights);
        let days = [
            ("2026-11-23T00:00:00Z", "2026-11-23T02:00"),
            ("2026-11-23T01:59:00Z", "2026-11-23T02:00"),
            ("2026-11-20T02:00:00Z", "2026-11-23T02:00"),
            ("2026-11-20T01:59:00Z", "closed"),
        ];
        check("0 2 * * FRI", 72, "UTC", &days);
        check("0 0 * * *", 24, "UTC", &[("2026-11-23T05:00:00Z", "endless")]);
        check("0 1,2 * * *", 1, "UTC", &[("2026-11-23T01:30:00Z", "2026-11-23T03:00")]);
    }

    #[test]
    fn a_window_of_many_starts_ends_where_the_last_does() {
        let half_days = [
            ("2026-11-22T00:00:00Z", "2026-11-22T12:00"),
            ("2026-11-22T11:59:59Z", "2026-11-22T12:00"),
            ("2026-11-22T12:00:00Z", "closed"),
        ];
        check_minutes(("* 0-11 * * *", 1), "UTC", &half_days);
        check_minutes(("*/2 0-11 * * *", 1), "UTC", &[("2026-11-22T00:01:00Z", "closed")]);
        let around = [("2026-11-22T23:30:00Z", "2026-11-23T02:00")];
        check_minutes(("* 0,1,23 * * *", 1), "UTC", &around);
        check_minutes(("* * * * *", 1), "UTC", &[("2026-11-22T23:30:00Z", "endless")]);
        check_minutes(("*/7 * * * *", 4), "UTC", &[("2026-11-22T00:58:00Z", "2026-11-22T01:04")]);
        check_minutes(("* * * 1-11 *", 1), "UTC", &[("2026-01-02T00:00:00Z", "2026-12-01T00:00")]);
        check_minutes(("0 0 1 1 *", 1), "UTC", &[("2026-01-01T00:00:00Z", "2026-01-01T00:01")]);
        check_minutes(("0 0 29 2 *", 1), "UTC", &[("2024-02-29T00:00:00Z", "2024-02-29T00:01")]);
    }

    #[test]
    fn windows_that_touch_are_one_on_the_day_clocks_change_as_well() {
        let new_york = "EST5EDT,M3.2.0,M11.1.0";
        let minutes = [("2026-10-31T00:00:00Z", "endless"), ("2026-03-07T00:00:00Z", "endless")];
        check_minutes(("* * * * *", 1), new_york, &minutes);
        // Two in the morning comes an hour later than an hour after one.
        let nights = [("2026-11-01T05:30:00Z", "2026-11-01T06:00")];
        check("0 0,1,2 * * *", 1, new_york, &nights);
        check("0 0,1,2 * * *", 1, new_york, &[("2026-10-31T05:30:00Z", "2026-10-31T07:00")]);
        check("0 0,1,3 * * *", 1, new_york, &[("2026-03-08T05:30:00Z", "2026-03-08T08:00")]);
    }

    #[test]
    fn a_window_lasts_as_long_on_the_day_clocks_change() {
        let new_york = "EST5EDT,M3.2.0,M11.1.0";
        let spring = [
            ("2026-03-08T07:29:00Z", "closed"),
            ("2026-03-08T07:30:00Z", "2026-03-08T08:30"),
            ("2026-03-08T08:30:00Z", "closed"),
        ];
        check("30 2 * * *", 1, new_york, &spring);
        let autumn = [
            ("2026-11-01T05:30:00Z", "2026-11-01T06:30"),
            ("2026-11-01T06:30:00Z", "closed"),
            ("2026-11-01T06:45:00Z", "closed"),
        ];
        check("30 1 * * *", 1, new_york, &autumn);
    }
}
