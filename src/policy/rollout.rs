//! A bad image that is rolled out slowly: services that were given it fall ill one after the other.
//!
//! All at once they would be a host incident; with hours between them each looks like a tenant's own
//! trouble, is restarted, and at last offered a bigger plan. So it is remembered which services fell
//! ill soon after they were given an image. From the third on the image is the suspect: a person is
//! told, once as soon as that may be, and nobody who runs it is asked to pay for that. Durable, one row
//! an image; bounded.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{DAY, HOUR, Mode};
use super::rows;
use crate::base::{Change, Timestamp};
use crate::outbox::ActionMode;

/// Rows of this module in the table.
const PREFIX: &str = "rollout/";
/// A service that falls ill so long after it was given an image may be ill of it. Ours.
const ILL_WITHIN: Duration = HOUR.saturating_mul(6);
/// Services that fall ill so far apart are not ill of one thing. Ours.
const TOGETHER: Duration = DAY;
/// So many make the image the suspect, as so many tenants make a host incident.
const SERVICES: usize = 3;
/// Images and services that are remembered.
const IMAGES_MAX: usize = 200;
const SERVICES_MAX: usize = 50;

/// What is known of images that were rolled out lately.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Rollouts {
    images: BTreeMap<String, Rollout>,
}

/// Of one image.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Rollout {
    /// Services that fell ill of it, and when they did last.
    ill: BTreeMap<String, Timestamp>,
    /// When it became the suspect.
    suspect_since: Option<Timestamp>,
    /// How a person was told of that, if so; rows older than this field are of what was told.
    #[serde(default = "in_earnest")]
    told: Option<ActionMode>,
}

fn in_earnest() -> Option<ActionMode> {
    Some(ActionMode::Request)
}

impl Rollouts {
    /// What its rows tell, and which could not be read. Other rows are skipped.
    pub fn recover(rows: impl IntoIterator<Item = Change>) -> (Rollouts, Vec<String>) {
        let (images, problems) = rows::read(PREFIX, rows);
        (Rollouts { images: images.into_iter().collect() }, problems)
    }

    /// A service fell ill that was given this image at `since`. Returns the row, if it matters, and
    /// who has fallen ill, if that makes the image the suspect now.
    pub fn fell_ill(
        &mut self,
        (image, since): (&str, Timestamp),
        service: &str,
        at: Timestamp,
    ) -> (Option<Change>, Option<Vec<String>>) {
        let known = self.images.contains_key(image);
        if at.since(since) > ILL_WITHIN || (!known && self.images.len() >= IMAGES_MAX) {
            return (None, None);
        }
        let rollout = self.images.entry(image.to_owned()).or_default();
        // Of a suspect those who made it one are told of, however late.
        if rollout.suspect_since.is_none() {
            rollout.ill.retain(|_, fell_ill| at.since(*fell_ill) < TOGETHER);
        }
        if rollout.ill.len() < SERVICES_MAX {
            rollout.ill.insert(service.to_owned(), at);
        }
        let news = rollout.ill.len() >= SERVICES && rollout.suspect_since.is_none();
        if news {
            (rollout.suspect_since, rollout.told) = (Some(at), None);
        }
        let services = news.then(|| rollout.ill.keys().cloned().collect());
        (Some(row(image, Some(rollout))), services)
    }

    /// Suspects of which nobody was told so far as this mode allows, and who has fallen ill.
    pub fn untold(&self, mode: Mode) -> Vec<(String, Vec<String>)> {
        let is_owed =
            |rollout: &Rollout| rollout.suspect_since.is_some() && Mode::of(rollout.told) < mode;
        let owed = self.images.iter().filter(|(_, rollout)| is_owed(rollout));
        owed.map(|(image, rollout)| (image.clone(), rollout.ill.keys().cloned().collect()))
            .collect()
    }

    /// A person is told of a suspect; returns its row.
    pub fn tell(&mut self, image: &str, as_: ActionMode) -> Option<Change> {
        let rollout = self.images.get_mut(image)?;
        rollout.told = Some(as_);
        Some(row(image, Some(rollout)))
    }

    /// Whether an image is the suspect of what ails those who run it.
    pub fn is_suspect(&self, image: &str) -> bool {
        self.images.get(image).is_some_and(|rollout| rollout.suspect_since.is_some())
    }

    /// Forgets what is over, suspects after this time; returns the rows that go with it.
    pub fn prune(&mut self, suspect_for: Duration, now: Timestamp) -> Vec<Change> {
        let over = |rollout: &Rollout| {
            let newest = rollout.ill.values().max().copied().or(rollout.suspect_since);
            let kept = if rollout.suspect_since.is_some() { suspect_for } else { TOGETHER };
            newest.is_none_or(|newest| now.since(newest) >= kept)
        };
        let mut gone = Vec::new();
        self.images.retain(|image, rollout| {
            let over = over(rollout);
            gone.extend(over.then(|| row(image, None)));
            !over
        });
        gone
    }

    /// Moves every time when the wall clock steps; returns the rows.
    pub fn rebase(&mut self, by_ms: i64) -> Vec<Change> {
        let shift = |at: &mut Timestamp| at.0 = at.0.saturating_add(by_ms);
        for rollout in self.images.values_mut() {
            rollout.ill.values_mut().for_each(shift);
            rollout.suspect_since.iter_mut().for_each(shift);
        }
        self.images.iter().map(|(image, rollout)| row(image, Some(rollout))).collect()
    }
}

fn row(image: &str, rollout: Option<&Rollout>) -> Change {
    rows::row(PREFIX, image, rollout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Table;

    fn at(hours: i64) -> Timestamp {
        Timestamp(1_795_312_800_000 + hours * 3_600_000)
    }

    /// Services that were given an image, and fell ill so many hours later: who made it the suspect.
    fn told(deploys: &[(&str, i64, i64)]) -> Option<Vec<String>> {
        let mut rollouts = Rollouts::default();
        let mut told = None;
        for (service, deployed, after) in deploys {
            let image = ("app:2", at(*deployed));
            told = told.or(rollouts.fell_ill(image, service, at(deployed + after)).1);
        }
        told
    }

    #[test]
    fn the_third_that_falls_ill_after_it_was_given_an_image_makes_that_the_suspect() {
        let three = [("a", 0, 1), ("b", 4, 2), ("c", 9, 6)];
        assert_eq!(told(&three), Some(["a", "b", "c"].map(str::to_owned).to_vec()));
        assert_eq!(told(&three[..2]), None);
        assert_eq!(told(&[("a", 0, 1), ("b", 4, 2), ("c", 9, 7)]), None, "hours after its deploy");
        assert_eq!(told(&[("a", 0, 1), ("a", 4, 1), ("a", 8, 1)]), None, "one service is one");
        assert_eq!(told(&[("a", 0, 1), ("b", 4, 2), ("c", 24, 2)]), None, "too far apart");
    }

    #[test]
    fn it_is_told_once_survives_a_restart_and_is_forgotten() {
        let mut rollouts = Rollouts::default();
        let mut ill = |service, hours| rollouts.fell_ill(("app:2", at(0)), service, at(hours));
        let (rows, news): (Vec<_>, Vec<_>) =
            [ill("a", 1), ill("b", 2), ill("c", 3), ill("d", 4)].into_iter().unzip();
        assert_eq!(news.iter().filter(|news| news.is_some()).count(), 1);
        let bad = Change {
            table: Table::Guards,
            key: "rollout/x".to_owned(),
            value: Some(b"?".to_vec()),
        };
        let newest = rows.into_iter().flatten().next_back();
        let (mut read, problems) = Rollouts::recover(newest.into_iter().chain([bad]));
        assert_eq!((read.is_suspect("app:2"), read.is_suspect("app:1")), (true, false));
        assert_eq!(problems.len(), 1);
        assert_eq!(read.rebase(3_600_000).len(), 1);
        assert!(read.prune(DAY * 7, at(4 + 7 * 24)).is_empty(), "the step made nothing older");
        let [gone] = &read.prune(DAY * 7, at(5 + 7 * 24))[..] else { panic!("one row") };
        assert_eq!((gone.key.as_str(), &gone.value), ("rollout/app:2", &None));
        assert!(!read.is_suspect("app:2"));
    }

    #[test]
    fn whoever_made_it_the_suspect_is_told_of_however_late() {
        let mut rollouts = Rollouts::default();
        for (service, deployed, hours) in [("a", 0, 1), ("b", 0, 2), ("c", 0, 3), ("d", 48, 49)] {
            rollouts.fell_ill(("app:2", at(deployed)), service, at(hours));
        }
        let owed = rollouts.untold(Mode::Act);
        assert_eq!(owed.first().map(|(_, who)| who.join(" ")), Some("a b c d".to_owned()));
    }

    #[test]
    fn a_suspect_is_owed_to_a_person_until_it_was_told_as_far_as_may_be() {
        let mut rollouts = Rollouts::default();
        let mut newest = None;
        for (service, hours) in [("a", 1), ("b", 2), ("c", 3)] {
            assert!(rollouts.untold(Mode::Act).is_empty(), "no suspect yet");
            newest = rollouts.fell_ill(("app:2", at(0)), service, at(hours)).0;
        }
        let owed = [("app:2".to_owned(), ["a", "b", "c"].map(str::to_owned).to_vec())];
        assert_eq!(rollouts.untold(Mode::Act), owed);
        assert!(rollouts.untold(Mode::Observe).is_empty(), "nobody is told anything");
        let shown = rollouts.tell("app:2", ActionMode::DryRun);
        assert!(rollouts.untold(Mode::Notify).is_empty());
        assert_eq!(rollouts.untold(Mode::Act), owed);
        for (row, mode, is_owed) in [
            (&newest, Mode::Notify, true),
            (&shown, Mode::Notify, false),
            (&shown, Mode::Act, true),
        ] {
            let (read, _) = Rollouts::recover(row.clone());
            assert_eq!(!read.untold(mode).is_empty(), is_owed, "after a restart");
        }
        assert_eq!(rollouts.tell("app:1", ActionMode::Request), None);
    }

    #[test]
    fn a_row_of_before_the_field_is_of_what_was_told_if_it_is_of_a_suspect() {
        let mut rollouts = Rollouts::default();
        let mut ill = |service, hours| rollouts.fell_ill(("app:2", at(0)), service, at(hours)).0;
        let rows = [ill("a", 1), ill("b", 2), ill("c", 3)];
        let old = rows.into_iter().flatten().map(|row| {
            let text = String::from_utf8(row.value.expect("a value")).expect("JSON");
            let old = text.replace(",\"told\":null", "");
            assert_ne!(old, text);
            Change { value: Some(old.into_bytes()), ..row }
        });
        let [_, healthy, suspect] = &old.collect::<Vec<_>>()[..] else { panic!("three rows") };
        let read = |row: &Change| Rollouts::recover([row.clone()]).0;
        assert!(read(suspect).untold(Mode::Act).is_empty());
        let mut later = read(healthy);
        let _ = later.fell_ill(("app:2", at(0)), "c", at(3));
        assert_eq!(later.untold(Mode::Act).len(), 1, "it became one afterwards");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut rollouts = Rollouts::default();
        for n in 0..1000 {
            let _ = rollouts.fell_ill((&format!("app:{n}"), at(0)), "a", at(1));
            let _ = rollouts.fell_ill(("app:1", at(0)), &format!("s{n}"), at(1));
        }
        assert_eq!(rollouts.images.len(), IMAGES_MAX);
        assert_eq!(rollouts.images["app:1"].ill.len(), SERVICES_MAX);
    }
}
