//! A stretch of time that comes again and again.

use std::time::Duration;

use super::{Schedule, Zone};
use crate::base::Timestamp;

/// Windows that touch are one; more than this many are called endless.
const CHAINED: usize = 400;
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
        let mut start = self.schedule.last_start(at, &self.zone, reach)?;
        if at >= start + self.duration {
            return None;
        }
        for _ in 0..CHAINED {
            let next = self.schedule.next_start(start, &self.zone);
            match next.filter(|next| *next <= start + self.duration) {
                Some(next) => start = next,
                None => return Some(Some(start + self.duration)),
            }
        }
        Some(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{format_rfc3339, parse_rfc3339};

    /// Whether it is open, and until when, in the form `closed`, `endless` or a time.
    fn check(cron: &str, hours: u64, zone: &str, cases: &[(&str, &str)]) {
        let window = Window {
            schedule: Schedule::parse(cron).expect(cron),
            duration: Duration::from_secs(hours * 3600),
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
