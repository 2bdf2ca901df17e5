//! What cannot be read, and what of it the log was told.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

/// So many failures are kept of one look at folders, and named in one line of the log.
const NAMED_AT_ONCE: usize = 16;
/// So many are remembered; what fails beyond them is counted and not named.
const REMEMBERED: usize = 1000;

/// A file or folder that cannot be read, or a container that is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failure {
    pub what: String,
    /// The rest of the sentence.
    pub why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, self.why)
    }
}

/// Failures of one look.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Failures {
    pub count: usize,
    /// The first of them.
    pub named: Vec<Failure>,
}

impl Failures {
    pub fn note(&mut self, what: &str, why: String) {
        self.count += 1;
        if self.named.len() < NAMED_AT_ONCE {
            self.named.push(Failure { what: what.to_owned(), why });
        }
    }
}

/// What the log was told since it was told that all is well.
#[derive(Debug, Default)]
pub(super) struct Told {
    named: BTreeSet<String>,
}

impl Told {
    /// What is to be told: who failed and was not named yet, and how many more than are named.
    pub fn news<'a>(
        &mut self,
        failures: impl Iterator<Item = Cow<'a, Failure>>,
    ) -> (Vec<String>, usize) {
        let (mut told, mut more) = (Vec::new(), 0);
        for failure in failures {
            if self.named.len() >= REMEMBERED || self.named.contains(&failure.what) {
                continue;
            }
            self.named.insert(failure.what.clone());
            match told.len() < NAMED_AT_ONCE {
                true => told.push(failure.to_string()),
                false => more += 1,
            }
        }
        (told, more)
    }

    /// Whether it is to be told that all is well again.
    pub fn heals(&mut self) -> bool {
        !std::mem::take(&mut self.named).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_named_once_until_all_is_well() {
        let failure = |what: usize, why: &str| Failure { what: what.to_string(), why: why.into() };
        let mut told = Told::default();
        let news = |told: &mut Told, failing: &[usize], why: &str| {
            told.news(failing.iter().map(|n| Cow::Owned(failure(*n, why))))
        };
        assert_eq!(news(&mut told, &[1], "is bad"), (vec!["1 is bad".to_owned()], 0));
        assert_eq!(news(&mut told, &[1], "is worse"), (vec![], 0), "it is the same file");
        assert_eq!(news(&mut told, &[2], "is bad"), (vec!["2 is bad".to_owned()], 0), "as many");
        assert_eq!(news(&mut told, &[1, 2], "is bad"), (vec![], 0));
        assert!(told.heals() && !told.heals());
        assert_eq!(news(&mut told, &[1], "is bad").0.len(), 1);
        let many: Vec<usize> = (0..5000).collect();
        let (named, more) = news(&mut told, &many, "is bad");
        assert_eq!((named.len(), named.len() + more), (NAMED_AT_ONCE, REMEMBERED - 1));
        assert_eq!(news(&mut told, &many, "is bad"), (vec![], 0));
        let mut failures = Failures::default();
        many.iter().for_each(|n| failures.note(&n.to_string(), String::new()));
        assert_eq!((failures.count, failures.named.len()), (5000, NAMED_AT_ONCE));
    }
}
