//! An image that makes one service after the other ill: seen when each falls ill, told once.
//!
//! What is remembered, and when it is enough, stands in [`crate::policy::Rollouts`]. Whether the
//! advice is sent, shown or only written down is for the mode of `advise`. What is held is looked at
//! again in every round, and told as soon as nothing holds it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Engine;
use super::fact::{Fact, Judged};
use crate::base::{Labels, Now};
use crate::containers::ContainerId;
use crate::outbox::{
    self, Action, ActionKind, ActionMode, Container, Data, Draft, Event, WireTime, checksum,
    trace_id,
};
use crate::policy::{Evidence, HoldReason, Incident, Mode, Proposal};

impl Engine {
    /// A service has fallen ill; was it given another image shortly before?
    pub(super) fn note_rollout(&mut self, now: Now, incident: &Incident, found: &Evidence) {
        let label = |name: &str| incident.whose.get(name);
        let image = self.image_of(found.figures.container.as_ref());
        let service = label("service").and_then(|name| self.memory.usage.get(name));
        let since = service.and_then(|service| service.image_since(label("name")));
        let Some((image, since)) = image.zip(since) else { return };
        let subject = incident.subject();
        let (row, news) = self.memory.rollouts.fell_ill((&image, since), &subject, now.wall);
        self.changes.extend(row);
        if let Some(services) = news {
            self.tell_suspect(now, &image, &services);
        }
    }

    /// The image a container runs; with its id, where Docker tells that: a tag may be given to another.
    pub(super) fn image_of(&self, container: Option<&Container>) -> Option<String> {
        let container = container?;
        let name = container.image.as_deref()?;
        let id = container.id.as_deref().and_then(ContainerId::new);
        let image_id = id.and_then(|id| self.containers.image_id(&id));
        Some(match image_id {
            Some(image_id) => format!("{name} ({image_id})"),
            None => name.to_owned(),
        })
    }

    /// Tells of suspects that were held when they became it, or told in a lower mode than there is now.
    pub(super) fn tell_untold_suspects(&mut self, now: Now) {
        if self.switches.kill {
            return;
        }
        let mode = self.setup.policy.mode_of(ActionKind::Advise);
        for (image, services) in self.memory.rollouts.untold(mode) {
            self.tell_suspect(now, &image, &services);
        }
    }

    fn tell_suspect(&mut self, now: Now, image: &str, services: &[String]) {
        let mode = self.setup.policy.mode_of(ActionKind::Advise);
        let held = match (self.switches.kill, mode) {
            (true, _) => Some(HoldReason::KillSwitch),
            (false, Mode::Observe) => Some(HoldReason::Observe),
            (false, _) => None,
        };
        let why = format!(
            "{} services fell ill after they were given it: {}",
            services.len(),
            services.join(", ")
        );
        let began = now.wall.as_millis().to_string();
        let dedup_key = checksum(&["rollout", image, &began]);
        let params = [
            ("escalation", "human"),
            ("variable", "image"),
            ("current", image),
            ("why", why.as_str()),
        ];
        let params = params.map(|(name, text)| (name.to_owned(), Value::from(text)));
        let proposal = Proposal {
            subject: format!("image {image}"),
            tenant: String::new(),
            action: Action {
                kind: ActionKind::Advise,
                mode: if mode == Mode::Act { ActionMode::Request } else { ActionMode::DryRun },
                // Told once, so it waits for its receiver as long as it is true.
                expires_at: WireTime(now.wall + self.setup.policy.limits.episodes_within),
                dedup_key,
                params: BTreeMap::from(params),
            },
        };
        let sent = held.is_none().then_some(proposal.action.mode);
        self.changes.extend(sent.and_then(|as_| self.memory.rollouts.tell(image, as_)));
        self.remember(now, (&proposal, sent));
        let id = proposal.delivery_id(now);
        let labels = Labels::from_pairs([("host", self.setup.host.as_str())]);
        let judged = Box::new(Judged {
            whose: labels.clone(),
            started_at: now.wall,
            cause: "unclear",
            evidence: outbox::Evidence::default(),
            delivery: held.is_none().then(|| id.clone()),
        });
        let action = proposal.action.kind.name();
        if let Some(reason) = held {
            let lifted_by = format!("{}; {image}: {why}", reason.lifted_by());
            self.counters.actions_held += 1;
            self.facts.push(Fact::Held { labels, action, reason, lifted_by, judged });
            return;
        }
        self.counters.actions_sent += 1;
        self.facts.push(Fact::Decided {
            labels,
            action,
            dry_run: proposal.action.mode == ActionMode::DryRun,
            subject: proposal.subject.clone(),
            why: Some(why.clone()),
            verification: None,
            judged,
        });
        let data = Data {
            host: Some(self.setup.host.clone()).filter(|host| !host.is_empty()),
            trace_id: Some(trace_id(&proposal.action.dedup_key, now.wall)),
            action: Some(proposal.action),
            reason: Some(why),
            ..Data::default()
        };
        let event = Event::new(ActionKind::Advise.event_type(), now.wall, data);
        self.push_event(now, Draft { id, event });
    }
}
