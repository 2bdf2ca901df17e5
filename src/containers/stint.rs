//! How many kills each name has of one incarnation: a container may go by several, one after the other.
//!
//! A kill belongs to the name that its container went by when it happened, whenever it is told. What was told
//! never falls, and no kill is told under two names, whatever is learnt later about when it was.

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;

/// Names remembered per incarnation; of more the oldest are one.
const MOST_STINTS: usize = 8;

/// Kills so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Of the container's first process: it went down with it.
    pub pid1: u64,
    /// Of another one.
    pub child: u64,
}

impl Counts {
    /// Both.
    pub fn total(self) -> u64 {
        self.pid1 + self.child
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.pid1 += other.pid1;
        self.child += other.child;
    }
}

/// Kills of one time, as far as it is known whom they hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Share {
    /// All of them.
    pub total: u64,
    /// Those that no end of the first process belongs to …
    pub children: u64,
    /// … and of these the ones to which one may still belong.
    pub waiting: u64,
}

/// The time in which an incarnation goes by one name.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Stint {
    name: String,
    /// Until when; of the last one there is no end yet.
    until: Option<Timestamp>,
    /// Explained for good, and no longer remembered.
    folded: Counts,
    /// What the name has of it.
    told: Counts,
}

/// One after the other, at least one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Stints {
    before: Vec<Stint>,
    now: Stint,
}

impl Stint {
    fn new(name: &str) -> Stint {
        let (folded, told) = (Counts::default(), Counts::default());
        Stint { name: name.to_owned(), until: None, folded, told }
    }

    /// Tells what a share makes, at most so many kills more; which those are.
    fn tell(&mut self, share: Share, most: u64) -> Counts {
        let Counts { pid1, child } = self.told;
        let total = self.folded.total() + share.total;
        let children = self.folded.child + share.children;
        let known = (children - share.waiting).min(total.saturating_sub(pid1)).max(child);
        let pid1 = (total - children).min(total.saturating_sub(known)).max(pid1);
        // Once nothing is waited for, what is no kill of the first process was a child's.
        let rest = if share.waiting == 0 { total.saturating_sub(pid1) } else { 0 };
        let more_pid1 = (pid1 - self.told.pid1).min(most);
        let more_child = (known.max(rest) - self.told.child).min(most - more_pid1);
        let more = Counts { pid1: more_pid1, child: more_child };
        self.told += more;
        more
    }
}

impl Stints {
    /// Of one that goes by this name.
    pub fn new(name: &str) -> Stints {
        Stints { before: Vec::new(), now: Stint::new(name) }
    }

    /// Kills that were told, under whatever name.
    pub fn total(&self) -> u64 {
        let told = self.before.iter().chain([&self.now]).map(|stint| stint.told.total());
        told.sum()
    }

    /// Kills that are explained for good.
    pub fn folded(&self) -> u64 {
        let folded = self.before.iter().chain([&self.now]).map(|stint| stint.folded.total());
        folded.sum()
    }

    /// What it is called now.
    pub fn name(&self) -> &str {
        &self.now.name
    }

    /// What it was called then.
    pub fn name_at(&self, at: Timestamp) -> &str {
        self.before.get(self.nth(at)).map_or(self.name(), |stint| &stint.name)
    }

    /// It is called otherwise since then.
    pub fn go_by(&mut self, name: &str, since: Timestamp) {
        let until = self.before.last().and_then(|stint| stint.until).max(Some(since));
        let past = std::mem::replace(&mut self.now, Stint::new(name));
        self.before.push(Stint { until, ..past });
        if self.before.len() > MOST_STINTS {
            let Stint { folded, told, .. } = self.before.remove(0);
            self.before[0].folded += folded;
            self.before[0].told += told;
        }
    }

    /// Its last change of name was then, and not when it was heard of.
    pub fn correct(&mut self, until: Timestamp) {
        let not_before = self.before.iter().rev().nth(1).and_then(|stint| stint.until);
        if let Some(last) = self.before.last_mut().filter(|last| Some(until) < last.until) {
            last.until = not_before.max(Some(until));
        }
    }

    /// It was called so all the time; what it counted under a makeshift name.
    pub fn rename(&mut self, name: &str) -> Counts {
        name.clone_into(&mut self.now.name);
        self.now.told
    }

    /// Whether no kill of it was ever told or explained.
    pub fn are_empty(&self) -> bool {
        let is_empty = |stint: &Stint| stint.told.total() + stint.folded.total() == 0;
        self.before.iter().chain([&self.now]).all(is_empty)
    }

    /// Kills of that time are explained for good.
    pub fn fold(&mut self, at: Timestamp, counts: Counts) {
        self.at_mut(at).folded += counts;
    }

    /// Whether any kill is explained for good.
    pub fn have_folded(&self) -> bool {
        self.before.iter().chain([&self.now]).any(|stint| stint.folded.total() > 0)
    }

    /// Tells what these kills make, with those explained for good: which name has how many more.
    pub fn tell(&mut self, kills: &[(Timestamp, Share)]) -> Vec<(String, Counts)> {
        let mut shares = vec![Share::default(); self.before.len() + 1];
        for (at, kills) in kills {
            let share = &mut shares[self.nth(*at)];
            share.total += kills.total;
            share.children += kills.children;
            share.waiting += kills.waiting;
        }
        let all = self.before.iter_mut().chain([&mut self.now]);
        let all: Vec<(&mut Stint, Share)> = all.zip(shares).collect();
        let total: u64 = all.iter().map(|(stint, share)| stint.folded.total() + share.total).sum();
        let told: u64 = all.iter().map(|(stint, _)| stint.told.total()).sum();
        let mut untold = total.saturating_sub(told);
        let mut news = Vec::new();
        for (stint, share) in all {
            let more = stint.tell(share, untold);
            untold -= more.total();
            if more.total() > 0 {
                news.push((stint.name.clone(), more));
            }
        }
        news
    }

    /// The wall clock has stepped.
    pub fn rebase(&mut self, shift: impl Fn(&mut Timestamp)) {
        self.before.iter_mut().filter_map(|stint| stint.until.as_mut()).for_each(shift);
    }

    fn nth(&self, at: Timestamp) -> usize {
        let is_in = |stint: &Stint| stint.until.is_some_and(|until| at <= until);
        self.before.iter().position(is_in).unwrap_or(self.before.len())
    }

    fn at_mut(&mut self, at: Timestamp) -> &mut Stint {
        let nth = self.nth(at);
        self.before.get_mut(nth).unwrap_or(&mut self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(at: i64) -> (Timestamp, Share) {
        (Timestamp(at), Share { total: 1, children: 1, waiting: 0 })
    }

    fn told(stints: &mut Stints, kills: &[(Timestamp, Share)]) -> String {
        let told = stints.tell(kills).into_iter();
        let told = told.map(|(name, Counts { pid1, child })| format!("{name} {pid1}+{child}"));
        told.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_kill_belongs_to_the_name_of_its_time() {
        let mut stints = Stints::new("web");
        assert_eq!(told(&mut stints, &[child(10)]), "web 0+1");
        stints.go_by("old", Timestamp(20));
        assert_eq!(told(&mut stints, &[child(10), child(15), child(25)]), "web 0+1, old 0+1");
        assert_eq!(stints.name(), "old");
        assert_eq!([20, 21].map(|at| stints.name_at(Timestamp(at))), ["web", "old"]);
        assert!(!stints.are_empty() && Stints::new("web").are_empty());
    }

    #[test]
    fn no_kill_is_told_under_two_names() {
        let mut stints = Stints::new("web");
        stints.go_by("old", Timestamp(20));
        assert_eq!(told(&mut stints, &[child(30)]), "old 0+1");
        // Somebody knows better when it was.
        assert_eq!(told(&mut stints, &[child(15)]), "");
        assert_eq!(told(&mut stints, &[child(15), child(16)]), "web 0+1");
    }

    #[test]
    fn what_is_not_known_yet_waits_and_what_was_told_never_falls() {
        let mut stints = Stints::new("web");
        let waiting = Share { total: 1, children: 1, waiting: 1 };
        assert_eq!(told(&mut stints, &[(Timestamp(5), waiting)]), "");
        assert_eq!(told(&mut stints, &[child(5), child(6)]), "web 0+2");
        let pid1 = Share { total: 1, children: 0, waiting: 0 };
        assert_eq!(told(&mut stints, &[(Timestamp(5), pid1)]), "");
        stints.fold(Timestamp(5), Counts { pid1: 1, child: 1 });
        assert_eq!(told(&mut stints, &[child(7)]), "web 1+0");
    }

    #[test]
    fn of_many_names_the_oldest_are_one() {
        let mut stints = Stints::new("n0");
        for nth in 1..100 {
            stints.go_by(&format!("n{nth}"), Timestamp(nth * 10));
            stints.fold(Timestamp(nth * 10), Counts { pid1: 0, child: 1 });
            assert_eq!(told(&mut stints, &[]), format!("n{} 0+1", nth - 1));
        }
        let told: u64 = stints.before.iter().map(|stint| stint.told.total()).sum();
        assert_eq!((stints.before.len(), told), (MOST_STINTS, 99));
    }
}
