//! Who is who, as it changes while we run: the documents of plans and tenants, and claims refused.
//!
//! A document that was read takes the place of the one before. One that was not changes nothing but
//! what is said of it: its age grows, and it is told once per reason.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::event::TargetInfo;
use super::evidence::vector;
use super::fact::Fact;
use super::fits::Compared;
use super::pinned::SETTING;
use super::view::{DocumentView, OwnersView};
use crate::base::{Labels, METRIC_NAME, Now, quoted};
use crate::containers::id_in_cgroup;
use crate::exposition::Batch;
use crate::outbox::ActionKind;
use crate::policy::{Directory, Plans, TenantRule, Tenants};

/// What a source outside says.
#[derive(Clone, PartialEq, Debug)]
pub enum Told<T> {
    /// This.
    Read(T),
    /// What it said before.
    Unchanged,
    /// Nothing that can be used; with file, line and column where it has those.
    Refused(String),
}

/// Containers that say of themselves that they back up, or move, what is their tenant's.
const BUSY: &str =
    "container_memory_working_set_bytes{container_label_prego_busy!~\"|false|no|0\",$$}";
/// Containers whose refused claims are remembered.
const MAX_REFUSED: usize = 1000;

/// Labels that name a container, as they are kept of whoever measures containers and of others.
const CLAIMED_BY: [&str; 4] = ["name", "id", "exported_name", "exported_id"];

/// What is known of owners besides the setup.
#[derive(Debug, Default)]
pub(super) struct Owners {
    documents: BTreeMap<&'static str, Document>,
    /// The catalogue as it was read last: it survives a reload.
    plans: Option<Plans>,
    /// Why a claim to a container was refused, by its name.
    refused: BTreeMap<String, String>,
    /// The same of what others tell than those who measure containers.
    foreign: BTreeMap<String, String>,
    /// As readers see it.
    view: Arc<OwnersView>,
    /// How demand lay to the plans when usage was looked at last, by service.
    pub(super) fits: Arc<BTreeMap<String, Compared>>,
}

/// How a document is.
#[derive(Debug, Default)]
struct Document {
    /// When it was last known to be what its source says, on the monotonic clock.
    confirmed: Option<Duration>,
    error: Option<String>,
    failures: u64,
}

impl Engine {
    /// The plan catalogue was asked for; by a configuration before this one, perhaps.
    pub(super) fn take_plans(&mut self, now: Now, told: Told<Plans>) {
        if !self.setup.policy.plans_expected {
            return;
        }
        let Some(plans) = self.note_document(now, "plans", told) else { return };
        let first = self.owners.plans.replace(plans.clone()).is_none();
        let count = plans.iter().count();
        let changed = std::mem::replace(&mut self.setup.policy.plans, plans.clone()) != plans;
        let doubt = self.plans_unheard_of();
        if changed || (first && doubt.is_some()) {
            self.facts.push(Fact::DocumentTaken { document: "plans", count, doubt });
        }
        self.show_owners();
    }

    /// The list of tenants was asked for; by a configuration before this one, perhaps.
    pub(super) fn take_tenants(&mut self, now: Now, told: Told<Tenants>) {
        let identity = self.setup.identity.as_ref();
        if identity.is_none_or(|identity| identity.directory == Directory::None) {
            return;
        }
        let Some(tenants) = self.note_document(now, "tenants", told) else { return };
        let Some(identity) = &mut self.setup.identity else { return };
        let before = std::mem::replace(&mut identity.directory, Directory::Read(tenants));
        let Directory::Read(tenants) = &identity.directory else { return };
        let moved = before.tenants().is_none_or(|before| !attribute_alike(before, tenants));
        if before.tenants() != Some(tenants) {
            let count = tenants.known.len().max(tenants.rules.len());
            let doubt = self.plans_unheard_of();
            self.facts.push(Fact::DocumentTaken { document: "tenants", count, doubt });
        }
        if moved {
            // Series were taken in under the labels of other owners.
            self.owners.refused.clear();
            self.owners.foreign.clear();
            self.forget_owners();
            self.targets.values_mut().for_each(|target| target.wants_epoch = true);
            self.judge_all_again();
        }
        self.show_owners();
    }

    /// Which plans the document of tenants names that are in no catalogue. It is taken all the same:
    /// the catalogue may follow, and a tenant on a plan of no limits is better than nobody's.
    fn plans_unheard_of(&self) -> Option<String> {
        let policy = &self.setup.policy;
        if policy.plans_expected && self.owners.plans.is_none() {
            return None;
        }
        let tenants = self.setup.identity.as_ref()?.directory.tenants()?;
        let known = tenants.known.values().filter_map(|tenant| tenant.plan.as_deref());
        let named: BTreeSet<&str> =
            tenants.rules.iter().filter_map(TenantRule::plan).chain(known).collect();
        let unheard: Vec<&str> =
            named.into_iter().filter(|plan| policy.plans.get(plan).is_none()).collect();
        let told = || {
            format!("tenants are on plans that are not in the catalogue: {}", unheard.join(", "))
        };
        (!unheard.is_empty()).then(told)
    }

    /// Takes over from the setup before what only documents say.
    pub(super) fn keep_documents(&mut self, before: Directory) {
        let expected = self.setup.policy.plans_expected;
        if let Some(plans) = self.owners.plans.clone().filter(|_| expected) {
            self.setup.policy.plans = plans;
        }
        let mut kept: BTreeSet<&str> = expected.then_some("plans").into_iter().collect();
        if self.setup.policy.m2_setting_expected {
            kept.insert(SETTING);
        }
        if let Some(identity) = &mut self.setup.identity
            && identity.directory == Directory::Unread
        {
            kept.insert("tenants");
            if before != Directory::None {
                identity.directory = before;
            }
        }
        self.owners.documents.retain(|name, _| kept.contains(name));
        self.show_owners();
    }

    /// Looks at the containers a scrape has shown for the first time: whose claim to them is refused.
    pub(super) fn check_claims(&mut self, target: &TargetInfo, batch: &Batch) {
        let Some(identity) = &self.setup.identity else { return };
        if !identity.measures(&target.labels, &target.discovered) {
            return self.refuse_foreign(target, batch);
        }
        let mut seen: BTreeMap<&str, &Labels> = BTreeMap::new();
        for (_, labels) in &batch.new {
            let of_container = labels.get(METRIC_NAME).is_some_and(|n| n.starts_with("container_"));
            if let Some(name) = labels.get("name").filter(|_| of_container) {
                seen.entry(name).or_insert(labels);
            }
        }
        let mut changed = false;
        for (name, labels) in seen {
            let id = labels.get("id").and_then(id_in_cgroup);
            let docker = id.and_then(|id| self.containers.docker_labels(&id));
            let refusal = identity.refusal(labels, docker);
            if self.owners.refused.get(name) == refusal.as_ref() {
                continue;
            }
            changed = true;
            self.owners.refused.remove(name);
            if let Some(why) = refusal
                && self.owners.refused.len() < MAX_REFUSED
            {
                self.owners.refused.insert(name.to_owned(), why.clone());
                self.facts.push(Fact::ClaimRefused { container: name.to_owned(), why });
            }
        }
        if changed {
            self.show_owners();
        }
    }

    /// Forgets the refused claims to containers that neither the window nor Docker knows any more.
    pub(super) fn forget_claims(&mut self) {
        let Owners { refused, foreign, .. } = &mut self.owners;
        let before = refused.len() + foreign.len();
        if before == 0 {
            return;
        }
        let series = self.window.catalogue(None);
        let known: BTreeSet<&str> = CLAIMED_BY
            .iter()
            .flat_map(|label| series.iter().filter_map(|labels| labels.get(label)))
            .collect();
        let is_known = |name: &String| known.contains(name.as_str());
        foreign.retain(|name, _| is_known(name));
        refused.retain(|name, _| is_known(name) || self.containers.knows(name));
        if refused.len() + foreign.len() < before {
            self.show_owners();
        }
    }

    /// A target that does not measure containers tells of some.
    fn refuse_foreign(&mut self, target: &TargetInfo, batch: &Batch) {
        let Some(identity) = &self.setup.identity else { return };
        let foreign = &mut self.owners.foreign;
        let before = foreign.len();
        for (_, labels) in &batch.new {
            let name = labels.get("name").or_else(|| labels.get("id")).unwrap_or_default();
            if foreign.len() >= MAX_REFUSED || foreign.contains_key(name) {
                continue;
            }
            let Some(why) = identity.foreign_claim(&target.labels, labels) else { continue };
            foreign.insert(name.to_owned(), why.clone());
            self.facts.push(Fact::ClaimRefused { container: name.to_owned(), why });
        }
        if foreign.len() > before {
            self.show_owners();
        }
    }

    /// Whether a tenant agreed to actions, and to which; `None` for all.
    pub(super) fn consent(&self, tenant: &str) -> Option<BTreeSet<ActionKind>> {
        let said = self.setup.identity.as_ref().and_then(|identity| identity.tenant(tenant).opt_in);
        said.or_else(|| self.setup.policy.opt_in.clone())
    }

    /// Whether the tenant must not be disturbed, by its own entry or by a label of one of its
    /// containers, if labels are trusted.
    pub(super) fn is_busy(&self, now: Now, tenant: &str) -> bool {
        let Some(identity) = &self.setup.identity else { return false };
        let labelled = || {
            let query = BUSY.replace("$$", &format!("tenant={}", quoted(tenant)));
            !vector(&query, &self.window, now.wall, &self.setup.eval).is_empty()
        };
        identity.tenant(tenant).busy.unwrap_or_default()
            || (identity.trust_labels && !tenant.is_empty() && labelled())
    }

    /// What is known of tenants and of the documents, as series.
    pub(super) fn owner_values(&self, now: Now) -> Vec<(Labels, f64)> {
        let mut values = self.owners.view.series.clone();
        for view in self.document_views(now) {
            let labels =
                |name: &str| Labels::from_pairs([(METRIC_NAME, name), ("document", view.name)]);
            let failing = f64::from(u8::from(view.error.is_some()));
            values.push((labels("plimsoll_document_failing"), failing));
            if let Some(age) = view.age {
                values.push((labels("plimsoll_document_age_seconds"), age.as_secs_f64()));
            }
        }
        values
    }

    /// The documents as readers see them.
    pub(super) fn document_views(&self, now: Now) -> Vec<DocumentView> {
        let documents = self.owners.documents.iter();
        let view = |(name, document): (&&'static str, &Document)| DocumentView {
            name,
            age: document.confirmed.map(|at| now.monotonic.saturating_sub(at)),
            error: document.error.clone(),
            failures: document.failures,
        };
        documents.map(view).collect()
    }

    /// Plans, tenants and refused claims as readers see them.
    pub(super) fn owners_view(&self) -> Arc<OwnersView> {
        Arc::clone(&self.owners.view)
    }

    /// Makes the view of owners anew, after something has changed.
    pub(super) fn show_owners(&mut self) {
        let identity = self.setup.identity.as_ref();
        let tenants = identity.map(|identity| identity.tenants()).unwrap_or_default();
        let own = |(name, why): (&String, &String)| (name.clone(), why.clone());
        self.owners.view = Arc::new(OwnersView {
            plans: self.setup.policy.plans.clone(),
            thresholds: self.setup.policy.thresholds,
            series: tenants.iter().flat_map(|(name, tenant)| tenant.series(name)).collect(),
            tenants,
            refused: self.owners.foreign.iter().chain(&self.owners.refused).map(own).collect(),
        });
        self.view_is_old = true;
    }

    /// Notes how a document is; returns what was read.
    pub(super) fn note_document<T>(
        &mut self,
        now: Now,
        name: &'static str,
        told: Told<T>,
    ) -> Option<T> {
        let document = self.owners.documents.entry(name).or_default();
        self.view_is_old = true;
        if let Told::Refused(error) = told {
            document.failures += 1;
            let first = document.error.as_ref() != Some(&error);
            document.error = Some(error.clone());
            let age = document.confirmed.map(|at| now.monotonic.saturating_sub(at));
            self.facts.push(Fact::DocumentRefused { document: name, error, first, age });
            return None;
        }
        document.confirmed = Some(now.monotonic);
        if document.error.take().is_some() {
            self.facts.push(Fact::DocumentRecovered { document: name });
        }
        match told {
            Told::Read(value) => Some(value),
            Told::Unchanged | Told::Refused(_) => None,
        }
    }
}

/// Whether two lists give every container the same owner on the same plan.
fn attribute_alike(a: &Tenants, b: &Tenants) -> bool {
    let plans = |tenants: &Tenants| -> BTreeMap<String, String> {
        let known = tenants.known.iter();
        known.filter_map(|(name, tenant)| Some((name.clone(), tenant.plan.clone()?))).collect()
    };
    a.rules == b.rules && plans(a) == plans(b)
}
