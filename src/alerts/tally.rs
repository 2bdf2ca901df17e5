//! What an Alertmanager has tried to deliver to its receivers, and what arrived.
//!
//! Alertmanager takes an alert from us at once and tells its receiver later. When the receiver is
//! down, what it took is lost as soon as the alert resolves: its notification log has no firing
//! entry, so it never says that there was one. Its counters give that away. Measured on 0.25, with
//! a webhook that answered 503 for 30 s, and with one that took the connection and stayed silent
//! (`group_wait` 1 s, `group_interval` 1 s, 5 s and 60 s):
//!
//! * `alertmanager_notifications_total` grows when a notification *begins*, so it shows a receiver
//!   that hangs 10 s before anything counts as failed;
//! * `alertmanager_notification_requests_total` and `…_requests_failed_total` grow together at each
//!   refused attempt; the first alone grows, by one, at the moment something is delivered;
//! * `alertmanager_notifications_failed_total` moves only when a whole notification is given up,
//!   after max(`group_interval`, 10 s): too late to decide by;
//! * attempts were 0.3 to 3.7 s apart, so what was down is heard of seconds after it is back;
//! * all start at zero with the process.
//!
//! So: something was tried and nothing arrived since the alert was accepted = it cannot deliver.
//! Counters are added up over integrations and receivers. One that is broken for good must not hold
//! back what the others tell, so any delivery counts. The price: one of several receivers that is
//! down while another delivers is not seen. To see it one would have to know which receivers an
//! alert goes to and what each of them delivered; 0.25 labels its counters by `integration` alone, and
//! newer ones by `receiver_name` only behind a feature flag, so two webhooks are one series.

use serde::{Deserialize, Serialize};

/// The counters of one instance at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Notifications begun and requests made: grows with every attempt, also with one that hangs.
    pub tried: u64,
    /// Requests that a receiver took.
    pub delivered: u64,
}

impl Tally {
    /// What was added since `earlier`. Counters that are lower than they were have started anew.
    pub fn since(self, earlier: Tally) -> Tally {
        if self.tried < earlier.tried || self.delivered < earlier.delivered {
            return self;
        }
        Tally { tried: self.tried - earlier.tried, delivered: self.delivered - earlier.delivered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_start_anew_count_from_zero() {
        let tally = |tried, delivered| Tally { tried, delivered };
        let cases = [
            (tally(5, 1), tally(9, 1), tally(4, 0)),
            (tally(5, 1), tally(9, 3), tally(4, 2)),
            (tally(5, 1), tally(5, 1), tally(0, 0)),
            (tally(5, 1), tally(2, 0), tally(2, 0)),
            (tally(5, 3), tally(6, 2), tally(6, 2)),
        ];
        for (earlier, now, want) in cases {
            assert_eq!(now.since(earlier), want, "{earlier:?} to {now:?}");
        }
    }
}
