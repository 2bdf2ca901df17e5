//! What the Control Plane says of tenants, and whether their customers get in.

use std::collections::BTreeSet;
use std::time::Duration;

use plimsoll::engine::{Event, Told};
use plimsoll::outbox::ActionKind;
use plimsoll::policy::{Gate, Miss, Page, Probe, Tenant, TenantState, Tenants};

use super::super::check::Knock;
use super::super::mutate::Mutation;
use super::super::plan::{MINUTE, Wishes};
use super::{Coming, Run};

/// The gate of each tenant, in worlds that have doors.
pub(super) fn gate() -> Gate {
    Gate {
        name: "health".to_owned(),
        url: "http://{tenant}.example.com/health".to_owned(),
        host: None,
        status: 200,
        text: None,
        pattern: None,
        interval: 5 * MINUTE,
        interval_after_action: MINUTE,
        timeout: Duration::from_secs(5),
        failures: 2,
        tenants: Vec::new(),
        roles: Vec::new(),
    }
}

impl Run {
    /// The document of tenants is read.
    pub(super) fn tell_tenants(&mut self) {
        if self.plan.wishes.is_empty() {
            return;
        }
        let hides = |mutation| self.mutant.mutation == Some(mutation);
        let (state_hidden, consent_hidden) =
            (hides(Mutation::HideStates), hides(Mutation::HideConsent));
        let tenant = |(name, wishes): (&String, &Wishes)| {
            let (active, agreed) = wishes.at(self.now.monotonic);
            let tenant = Tenant {
                state: (!active && !state_hidden).then_some(TenantState::Suspended),
                opt_in: (!consent_hidden).then_some(agreed),
                ..Tenant::default()
            };
            (name.clone(), tenant)
        };
        let known = self.plan.wishes.iter().map(tenant).collect();
        let tenants = Tenants { rules: Vec::new(), known };
        self.handle(Event::Tenants(Told::Read(tenants)));
    }

    /// A tenant's door is tried.
    pub(super) fn knock(&mut self, probe: Probe) {
        let opens = self.host.is_open(&probe.key.tenant, self.now.monotonic);
        let answer = match opens || self.mutant.mutation == Some(Mutation::HideDoors) {
            true => Ok(Page { status: 200, body: b"pong".to_vec(), is_whole: true }),
            false => Err(Miss::Timeout),
        };
        let takes = self.rng.millis(2, 200);
        let knock = Knock { tenant: probe.key.tenant.clone(), at: self.now.monotonic, opens };
        let event = Event::Probed { key: probe.key, number: probe.number, answer };
        self.later(takes, Coming::Probed(self.process, event, knock));
    }

    /// A change may leave a door shut for a while.
    pub(super) fn may_shut(&mut self, number: usize) {
        let Some(percent) = self.plan.doors else { return };
        if self.rng.chance(percent) {
            let until = self.now.monotonic + self.rng.seconds(120, 5000);
            self.host.shut(number, until);
        }
    }
}

impl Wishes {
    /// Whether the tenant is active, and what it agrees to.
    pub fn at(&self, at: Duration) -> (bool, BTreeSet<ActionKind>) {
        let declined = |kind: &ActionKind| match kind {
            ActionKind::Restart => self.no_restart.at(at),
            ActionKind::Nudge => self.no_nudge.at(at),
            _ => false,
        };
        let agreed = ActionKind::ALL.into_iter().filter(|kind| !declined(kind)).collect();
        (!self.inactive.at(at), agreed)
    }
}
