//! How long to wait before Docker is asked again.

use std::time::Duration;

use super::failure::Kind;

/// How long to wait after each failure in a row; the last one from then on. Docker may be back any
/// moment, and a question on a socket costs nothing.
const AGAIN_AFTER: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
/// A list costs a question for each container. Whoever is heard for longer than is ever waited for may be asked
/// for another one at once.
const LASTED: Duration = Duration::from_secs(15);
/// Whoever answered without end does so again, and that costs the bound of an answer each time.
const TOO_LONG_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The waits, by what went wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// After each failure in a row, the last one from then on.
    pub again_after: [Duration; 4],
    /// How long a connection lasts that is good.
    pub lasted: Duration,
    /// After an answer without end, at least.
    pub too_long_again_after: Duration,
}

impl Waits {
    pub const DEFAULT: Waits = Waits {
        again_after: AGAIN_AFTER,
        lasted: LASTED,
        too_long_again_after: TOO_LONG_AGAIN_AFTER,
    };
}

/// How far a session came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Came {
    /// Nothing was heard.
    #[default]
    Nowhere,
    /// It has listed.
    ToAList,
    /// It has lasted, too.
    Far,
}

/// What went wrong in a row.
#[derive(Default, Debug)]
pub(super) struct Backoff {
    /// Attempts since it was heard.
    failures: usize,
    /// Connections that were made and did not last.
    breaks: usize,
}

impl Backoff {
    /// How long to wait after a session that came so far.
    pub fn after(&mut self, waits: &Waits, came: Came, kind: Kind) -> Duration {
        match came {
            Came::Nowhere => {}
            Came::ToAList => (self.failures, self.breaks) = (0, self.breaks + 1),
            Came::Far => (self.failures, self.breaks) = (0, 0),
        }
        // A daemon that is started anew breaks one connection: it is asked again as soon as ever.
        let step = self.failures.max(self.breaks.saturating_sub(1));
        self.failures += 1;
        let wait = waits.again_after[step.min(waits.again_after.len() - 1)];
        if kind == Kind::TooLong { wait.max(waits.too_long_again_after) } else { wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: (Came, Kind) = (Came::Nowhere, Kind::Absent);
    const BRIEF: (Came, Kind) = (Came::ToAList, Kind::Other);
    const LONG: (Came, Kind) = (Came::Far, Kind::Other);

    /// The seconds waited after each of these sessions.
    fn waits(sessions: &[(Came, Kind)]) -> Vec<u64> {
        let mut backoff = Backoff::default();
        let wait =
            |(came, kind): &(Came, Kind)| backoff.after(&Waits::DEFAULT, *came, *kind).as_secs();
        sessions.iter().map(wait).collect()
    }

    #[test]
    fn a_daemon_that_is_started_anew_is_asked_at_once_and_then_less_and_less() {
        assert_eq!(waits(&[LONG, REFUSED, REFUSED, REFUSED, REFUSED]), [1, 2, 5, 10, 10]);
        assert_eq!(waits(&[REFUSED, REFUSED, BRIEF, REFUSED]), [1, 2, 1, 2]);
    }

    #[test]
    fn a_connection_is_good_only_once_it_lasted() {
        assert_eq!(waits(&[BRIEF; 5]), [1, 2, 5, 10, 10]);
        assert_eq!(waits(&[LONG; 5]), [1; 5]);
        assert_eq!(waits(&[BRIEF, BRIEF, LONG, BRIEF]), [1, 2, 1, 1]);
        let longest = Waits::DEFAULT.again_after.into_iter().max();
        assert!(Some(Waits::DEFAULT.lasted) > longest, "it is heard for most of the time");
    }

    #[test]
    fn an_answer_without_end_is_not_fetched_again_soon() {
        let endless = |came| (came, Kind::TooLong);
        assert_eq!(waits(&[endless(Came::Nowhere), endless(Came::Far)]), [60, 60]);
        assert_eq!(waits(&[endless(Came::Nowhere), REFUSED]), [60, 2]);
    }
}
