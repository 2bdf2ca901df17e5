//! Which kills were told, and which were said aloud.
//!
//! Every kill is a fact, but a container whose children are killed a thousand times a minute is one piece
//! of news: the log says the first at once, and then once a minute how many there were.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Fact;
use crate::base::Now;
use crate::containers::Counts;

/// The log says it again for one name after this long.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// What was told of one name.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    counts: Counts,
    /// Those that were said aloud.
    said: Counts,
    /// When, on the monotonic clock.
    said_at: Option<Duration>,
}

/// The kills that were told, by name.
#[derive(Debug, Default)]
pub(super) struct ToldKills(BTreeMap<String, Told>);

impl ToldKills {
    /// What was told before our start is no news.
    pub fn of(counts: BTreeMap<String, Counts>) -> ToldKills {
        let told = |(name, counts)| (name, Told { counts, said: counts, said_at: None });
        ToldKills(counts.into_iter().map(told).collect())
    }

    /// What is to be told of a name, now that its kills are so many; nothing if that was told.
    pub fn tell(&mut self, name: &str, counts: Counts, now: Now) -> Option<Vec<Fact>> {
        let told = self.0.get(name).copied().unwrap_or_default();
        if told.counts == counts {
            return None;
        }
        let is_said = told.said_at.is_none_or(|at| now.monotonic >= at + SAID_EVERY);
        let facts = [
            ("pid1", counts.pid1, told.counts.pid1, told.said.pid1),
            ("child", counts.child, told.counts.child, told.said.child),
        ]
        .into_iter()
        .filter_map(|(scope, count, told, said)| {
            let kills = count.checked_sub(told).filter(|kills| *kills > 0)?;
            let unsaid = is_said.then(|| count.saturating_sub(said));
            Some(Fact::OomKilled { name: name.to_owned(), scope, kills, unsaid })
        });
        let facts = facts.collect();
        let (said, said_at) =
            if is_said { (counts, Some(now.monotonic)) } else { (told.said, told.said_at) };
        self.0.insert(name.to_owned(), Told { counts, said, said_at });
        Some(facts)
    }

    /// Forgets the names that nobody counts any more: whoever comes back counts anew.
    pub fn retain(&mut self, is_counted: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| is_counted(name));
    }

    /// What was told of a name.
    #[cfg(test)]
    pub fn counts(&self, name: &str) -> Counts {
        self.0.get(name).map(|told| told.counts).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    #[test]
    fn a_storm_of_kills_is_said_at_once_and_then_once_a_minute_with_their_number() {
        let known = BTreeMap::from([("web".to_owned(), Counts { pid1: 2, child: 7 })]);
        let mut told = ToldKills::of(known);
        let (mut said, mut facts) = (Vec::new(), 0);
        for second in 0..150 {
            let monotonic = Duration::from_secs(second);
            let now = Now { monotonic, wall: Timestamp(0) };
            let counts = Counts { pid1: 2, child: 8 + second * 10 };
            for fact in told.tell("web", counts, now).into_iter().flatten() {
                let Fact::OomKilled { scope, kills, unsaid, .. } = fact else { panic!("{fact:?}") };
                facts += kills;
                said.extend(unsaid.map(|unsaid| (second, scope, unsaid)));
            }
            assert_eq!(told.tell("web", counts, now).map(|facts| facts.len()), None);
        }
        assert_eq!(facts, 1 + 149 * 10, "each is a fact");
        assert_eq!(said, [(0, "child", 1), (60, "child", 600), (120, "child", 600)]);
        let other = Now { monotonic: Duration::from_secs(150), wall: Timestamp(0) };
        let facts = told.tell("api", Counts { pid1: 1, child: 0 }, other);
        assert_eq!(facts.map(|facts| facts.len()), Some(1), "each name for itself");
        told.retain(|name| name == "web");
        let facts = told.tell("api", Counts { pid1: 1, child: 0 }, other);
        assert_eq!(facts.map(|facts| facts.len()), Some(1), "it was forgotten, and counts anew");
        assert_eq!(told.counts("web").child, 8 + 149 * 10);
    }
}
