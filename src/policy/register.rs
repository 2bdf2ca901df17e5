//! What is known of tenants besides their containers: plan, state, consent, work under way.
//!
//! It comes from configuration or from a document of the Control Plane, which is taken whole or
//! not at all. What nobody says about a tenant stands in nobody's way; but where a document is
//! expected and none has been read, nothing is known of anybody, and nothing is done.

use std::collections::{BTreeMap, BTreeSet};

use super::tenant::TenantRule;
use crate::base::Labels;
use crate::outbox::ActionKind;

/// Where a tenant stands in its life. Only for an active one is anything done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs, reason = "the words are those of the Control Plane")]
pub enum TenantState {
    Pending,
    Trial,
    Provisioning,
    Active,
    Suspended,
    Migrating,
    GracePeriod,
    PendingDeletion,
    Failed,
    Terminated,
    Deleted,
    DataPurged,
}

impl TenantState {
    /// Every state with its word: the Control Plane's, and two of ours (migrating, deleted).
    pub const ALL: [(&str, TenantState); 12] = [
        ("pending", TenantState::Pending),
        ("trial", TenantState::Trial),
        ("provisioning", TenantState::Provisioning),
        ("active", TenantState::Active),
        ("suspended", TenantState::Suspended),
        ("migrating", TenantState::Migrating),
        ("grace_period", TenantState::GracePeriod),
        ("pending_deletion", TenantState::PendingDeletion),
        ("failed", TenantState::Failed),
        ("terminated", TenantState::Terminated),
        ("deleted", TenantState::Deleted),
        ("data_purged", TenantState::DataPurged),
    ];

    /// Its word.
    pub fn name(self) -> &'static str {
        TenantState::ALL[self as usize].0
    }
}

/// What is known of one tenant; `None` is not said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tenant {
    /// The plan it pays for.
    pub plan: Option<String>,
    /// Where it stands.
    pub state: Option<TenantState>,
    /// Actions it agreed to.
    pub opt_in: Option<BTreeSet<ActionKind>>,
    /// Whether a backup or a migration is under way.
    pub busy: Option<bool>,
}

/// The tenants of one source: whose container is whose, and what is known of each.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Tenants {
    /// Containers by their labels, in order.
    pub rules: Vec<TenantRule>,
    /// Tenants by name.
    pub known: BTreeMap<String, Tenant>,
}

impl Tenants {
    /// Everyone who is named; `None` if a rule takes names from labels.
    pub fn names(&self) -> Option<BTreeSet<String>> {
        let of_rules = self.rules.iter().filter_map(TenantRule::tenant);
        let names: BTreeSet<String> =
            of_rules.chain(self.known.keys().map(String::as_str)).map(str::to_owned).collect();
        (!names.iter().any(|name| name.contains('$'))).then_some(names)
    }
}

impl Tenant {
    /// Takes over what another entry says; the word of a field that both say differently.
    pub fn merge(&mut self, other: &Tenant) -> Result<(), &'static str> {
        take(&mut self.plan, &other.plan, "plan")?;
        take(&mut self.state, &other.state, "state")?;
        take(&mut self.opt_in, &other.opt_in, "opt_in")?;
        take(&mut self.busy, &other.busy, "busy")
    }

    /// What is said here, else what `other` says.
    pub fn or(self, other: Tenant) -> Tenant {
        Tenant {
            plan: self.plan.or(other.plan),
            state: self.state.or(other.state),
            opt_in: self.opt_in.or(other.opt_in),
            busy: self.busy.or(other.busy),
        }
    }

    /// `plimsoll_tenant_*{tenant}`, so that rules can join on what is known.
    pub fn series(&self, name: &str) -> Vec<(Labels, f64)> {
        let plan = self.plan.as_deref().unwrap_or_default();
        let state = self.state.map_or("", TenantState::name);
        let is = |is: bool| f64::from(u8::from(is));
        let tenant = [("tenant", name)];
        let labels = [("tenant", name), ("plan", plan), ("state", state)];
        let mut all = vec![super::series("plimsoll_tenant_info", labels, 1.0)];
        let active = self.state.is_none_or(|state| state == TenantState::Active);
        all.push(super::series("plimsoll_tenant_active", tenant, is(active)));
        let busy = self.busy.unwrap_or_default();
        all.push(super::series("plimsoll_tenant_busy", tenant, is(busy)));
        for kind in self.opt_in.iter().flatten() {
            let labels = [("tenant", name), ("action", kind.name())];
            all.push(super::series("plimsoll_tenant_opt_in", labels, 1.0));
        }
        all
    }
}

fn take<T: Clone + PartialEq>(
    mine: &mut Option<T>,
    other: &Option<T>,
    field: &'static str,
) -> Result<(), &'static str> {
    match (&mine, other) {
        (Some(a), Some(b)) if a != b => Err(field),
        (None, Some(_)) => {
            mine.clone_from(other);
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_in_the_order_of_their_table() {
        for (index, (_, state)) in TenantState::ALL.iter().enumerate() {
            assert_eq!(*state as usize, index);
        }
    }

    #[test]
    fn entries_of_one_tenant_add_up_unless_they_differ() {
        let plan = |plan: &str| Tenant { plan: Some(plan.to_owned()), ..Tenant::default() };
        let busy = Tenant { busy: Some(true), ..Tenant::default() };
        let mut acme = plan("pro");
        assert_eq!(acme.merge(&busy), Ok(()));
        assert_eq!(acme.merge(&plan("pro")), Ok(()));
        assert_eq!(acme, Tenant { busy: Some(true), ..plan("pro") });
        assert_eq!(acme.merge(&plan("free")), Err("plan"));
        assert_eq!(busy.or(plan("free")), Tenant { busy: Some(true), ..plan("free") });
    }

    #[test]
    fn what_is_known_is_series() {
        let tenant = Tenant {
            plan: Some("pro".to_owned()),
            state: Some(TenantState::Suspended),
            opt_in: Some(BTreeSet::from([ActionKind::Nudge])),
            busy: None,
        };
        let written: Vec<String> = tenant
            .series("acme")
            .iter()
            .map(|(labels, value)| format!("{labels} {value}"))
            .collect();
        assert_eq!(
            written,
            [
                "plimsoll_tenant_info{plan=\"pro\", state=\"suspended\", tenant=\"acme\"} 1",
                "plimsoll_tenant_active{tenant=\"acme\"} 0",
                "plimsoll_tenant_busy{tenant=\"acme\"} 0",
                "plimsoll_tenant_opt_in{action=\"nudge\", tenant=\"acme\"} 1",
            ]
        );
    }
}
