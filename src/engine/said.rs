//! What is said of Docker's coming and going: each trouble once, however often it comes again.
//!
//! A connection that breaks and is made again is news, and so is the next. One that goes on breaking is one
//! trouble: a proxy that cuts a quiet stream every ten minutes is said once, until a connection has lasted. And
//! while Docker does not answer, another reason than the last one is said, too: who mends the first is told of
//! the second.

use std::time::Duration;

use super::fact::{Fact, Loss};

/// Longer than proxies let a quiet stream be: theirs is ten minutes, mostly.
const STEADY_AFTER: Duration = Duration::from_secs(15 * 60);
/// So many connections in a row that did not last so long are one trouble.
const BREAKS: u64 = 3;
/// Reasons that take turns are said once in this time, each.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(3600);
/// So many reasons at most in that time: one may have a text in it that is never the same.
const MOST_REASONS: usize = 16;

/// What was said last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Said {
    /// Nothing yet.
    #[default]
    Nothing,
    /// That it answers.
    Answers,
    /// That it does not.
    Lost,
    /// That its connections break, one after the other.
    Breaks,
}

/// Who speaks of it. Times are monotonic.
#[derive(Debug, Default)]
pub(super) struct Speaker {
    said: Said,
    /// Since when it answers, if it does.
    answers_since: Option<Duration>,
    /// Connections in a row that did not last.
    breaks: u64,
    /// Why it did not answer, as that was said, without numbers, and when; the last one last.
    reasons: Vec<(String, Duration)>,
}

impl Speaker {
    /// A connection was made.
    pub fn connected(&mut self, version: String, now: Duration) -> Fact {
        self.answers_since = Some(now);
        let is_news = self.said != Said::Breaks;
        if is_news {
            self.said = Said::Answers;
        }
        Fact::DockerConnected { version, is_news }
    }

    /// It is not heard.
    pub fn lost(&mut self, error: String, now: Duration) -> Fact {
        let Some(since) = self.answers_since.take() else {
            let loss = self.still_lost(&error, now);
            return Fact::DockerLost { error, loss };
        };
        if now.saturating_sub(since) >= STEADY_AFTER {
            (self.said, self.breaks) = (Said::Answers, 0);
        }
        self.breaks += 1;
        let reason = without_numbers(&error);
        let is_known = self.said == Said::Breaks && self.is_said(&reason, now);
        match self.breaks {
            breaks if breaks < BREAKS => {
                self.say(Said::Lost, reason, now);
                Fact::DockerLost { error, loss: Loss::First }
            }
            _ if is_known => Fact::DockerLost { error, loss: Loss::Again },
            breaks => {
                self.say(Said::Breaks, reason, now);
                Fact::DockerBreaks { error, breaks }
            }
        }
    }

    /// Whether a connection has lasted after those that did not, if that is news.
    pub fn settle(&mut self, now: Duration) -> Option<Fact> {
        let since = self.answers_since.filter(|_| self.said == Said::Breaks)?;
        (now.saturating_sub(since) >= STEADY_AFTER).then(|| {
            self.said = Said::Answers;
            Fact::DockerLasts { breaks: self.breaks }
        })
    }

    /// One more attempt of which nothing came.
    fn still_lost(&mut self, error: &str, now: Duration) -> Loss {
        let reason = without_numbers(error);
        if self.is_said(&reason, now) {
            return Loss::Again;
        }
        match self.say(Said::Lost, reason, now) {
            Said::Lost => Loss::Otherwise,
            _ => Loss::First,
        }
    }

    /// Whether this was said, last or not long ago, or enough else was.
    fn is_said(&self, reason: &str, now: Duration) -> bool {
        // What was said last holds for as long as nothing else is said.
        let is_last = self.reasons.last().is_some_and(|(last, _)| last == reason);
        let lately: Vec<_> = self.reasons.iter().filter(|(_, at)| is_lately(*at, now)).collect();
        is_last || lately.len() >= MOST_REASONS || lately.iter().any(|(said, _)| said == reason)
    }

    /// Something is said, for a reason; returns what was said before.
    fn say(&mut self, said: Said, reason: String, now: Duration) -> Said {
        self.reasons.retain(|(said, at)| *said != reason && is_lately(*at, now));
        self.reasons.push((reason, now));
        std::mem::replace(&mut self.said, said)
    }
}

fn is_lately(at: Duration, now: Duration) -> bool {
    now.saturating_sub(at) < SAID_AGAIN_AFTER
}

/// A reason by which it is known again: ports, times and ids do not make it another one.
fn without_numbers(error: &str) -> String {
    error.chars().filter(|c| !c.is_ascii_hexdigit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Docker, and what is said of it.
    #[derive(Default)]
    struct Talk {
        speaker: Speaker,
        now: Duration,
    }

    impl Talk {
        /// What is said aloud if it answers that many seconds later.
        fn answers(&mut self, after_s: u64) -> &'static str {
            self.after(after_s);
            match self.speaker.connected("20.10".to_owned(), self.now) {
                Fact::DockerConnected { is_news: true, .. } => "answers",
                _ => "",
            }
        }

        /// Likewise if it does not.
        fn fails(&mut self, after_s: u64, error: &str) -> String {
            self.after(after_s);
            match self.speaker.lost(error.to_owned(), self.now) {
                Fact::DockerLost { loss: Loss::First, .. } => "lost".to_owned(),
                Fact::DockerLost { loss: Loss::Otherwise, .. } => "otherwise".to_owned(),
                Fact::DockerBreaks { breaks, .. } => format!("breaks {breaks}"),
                _ => String::new(),
            }
        }

        fn after(&mut self, after_s: u64) {
            self.now += Duration::from_secs(after_s);
        }

        /// Connections that last so long, each; what is said aloud of them.
        fn flaps(&mut self, count: usize, lasts_s: u64) -> Vec<String> {
            let each = |_| [self.answers(1).to_owned(), self.fails(lasts_s, "the stream ended")];
            let told: Vec<String> = (0..count).flat_map(each).collect();
            told.into_iter().filter(|word| !word.is_empty()).collect()
        }

        fn settles(&mut self, after_s: u64) -> Option<u64> {
            self.after(after_s);
            match self.speaker.settle(self.now)? {
                Fact::DockerLasts { breaks } => Some(breaks),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_docker_that_flaps_is_said_once_and_so_is_that_it_lasts() {
        for lasts_s in [0, 5, 60, 600] {
            let mut talk = Talk::default();
            let said = ["answers", "lost", "answers", "lost", "answers", "breaks 3"];
            assert_eq!(talk.flaps(1000, lasts_s), said, "{lasts_s} s");
            assert_eq!(talk.answers(1), "");
            assert_eq!(talk.settles(STEADY_AFTER.as_secs() - 1), None);
            assert_eq!(talk.settles(1), Some(1000));
            assert_eq!(talk.settles(1), None);
            assert_eq!(talk.fails(1, "the stream ended"), "lost");
            assert_eq!(talk.answers(1), "answers");
        }
    }

    #[test]
    fn each_break_of_a_connection_that_lasted_is_news() {
        let told = Talk::default().flaps(5, STEADY_AFTER.as_secs());
        assert_eq!(told, ["answers", "lost"].repeat(5));
    }

    #[test]
    fn another_reason_is_said_once_and_the_same_no_more() {
        let mut talk = Talk::default();
        let missing = "unix:///s: No such file or directory (os error 2)";
        assert_eq!(talk.fails(0, missing), "lost");
        for _ in 0..1000 {
            assert_eq!(talk.fails(10, missing), "", "for hours");
        }
        assert_eq!(talk.fails(10, "refused (403)"), "otherwise");
        assert_eq!(talk.fails(10, "version: EOF at line 1"), "otherwise");
        assert_eq!(talk.fails(10, "version: EOF at line 27"), "");
        let of = |id: &str| format!("containers/{id}/json: no answer");
        assert_eq!(talk.fails(10, &of("0123abcd")), "otherwise");
        assert_eq!(talk.fails(10, &of("ef0981dd")), "");
    }

    #[test]
    fn a_docker_that_flaps_for_another_reason_is_said_once_more() {
        let mut talk = Talk::default();
        talk.flaps(10, 1);
        for want in ["breaks 11", "", ""] {
            assert_eq!(talk.answers(1), "");
            assert_eq!(talk.fails(1, "nonsense"), want);
        }
        assert_eq!(talk.flaps(10, 1), [""; 0], "that was said not long ago");
    }

    #[test]
    fn reasons_that_take_turns_or_are_never_the_same_are_said_a_few_times_an_hour() {
        let mut talk = Talk::default();
        let turns = |n: u64| ["x", "y"][(n % 2) as usize];
        let loud = |talk: &mut Talk, error: &str| usize::from(!talk.fails(10, error).is_empty());
        let said: usize = (0..720).map(|n| loud(&mut talk, turns(n))).sum();
        assert!((3..=5).contains(&said), "in two hours: {said}");
        let mut talk = Talk::default();
        let said: usize = (1..360).map(|n| loud(&mut talk, &"z".repeat(n))).sum();
        assert_eq!(said, MOST_REASONS, "in an hour");
    }

    #[test]
    fn a_docker_that_flapped_and_is_away_is_said_to_be_away() {
        let mut talk = Talk::default();
        talk.flaps(10, 1);
        assert_eq!(talk.fails(1, "Connection refused"), "lost");
        assert_eq!(talk.answers(1), "answers");
        assert_eq!(talk.fails(1, "the stream ended"), "breaks 11");
        assert_eq!((talk.fails(1, "Connection refused").as_str(), talk.answers(1)), ("", ""));
    }
}
