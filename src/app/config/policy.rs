//! The sections that say who is who and what may be done: host, mode, plans, tenants, m2, actions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::{actions, calendar, gates, owners};
use crate::app::documents::{Place, Source, Sources};
use crate::app::switches::SwitchFiles;
use crate::endpoint::HttpOptions;
use crate::endpoint::read::path;
use crate::policy::{
    Directory, FIXED_COUNT_MAX, Identity, M2Counting, Measurers, Plans, PolicyConfig as Policy,
    STAGES, Tenancy, Tenants, Vhost,
};
use crate::scrape::config::ScrapeConfig;
use crate::yaml::{Cursor, Fields, read};

/// Names M2 may give its virtual host, unless `m2.vhost_label` says otherwise.
const VHOST_LABELS: [&str; 2] = ["vhost", "host"];

/// The job of our own collector's target.
pub const COLLECTOR_JOB: &str = "collector";

/// Twice the shortest cache time that means something, and what is kept of all samples at most.
const M2_WINDOW: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(86_400);

/// `setting.json` is read again this often, whether it changed or not.
const SETTING_REFRESH: Duration = Duration::from_secs(60);

/// Everything judgement needs, as it was written.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PolicyConfig {
    /// `host`; absent: the name of the machine.
    pub host: Option<String>,
    /// `tenants`; absent: series are not enriched for their sake.
    pub tenants: Option<Tenants>,
    /// `plans_from`: where the catalogue is read from.
    pub plans_from: Option<Source>,
    /// `tenants_from`: where tenants are read from.
    pub tenants_from: Option<Source>,
    /// `m2.setting_file`: where M2 keeps its settings.
    pub m2_setting_from: Option<Source>,
    /// Whether `identity` is written.
    pub divided: bool,
    /// `container_jobs`; empty: as [`Measurers`] are found.
    pub container_jobs: Vec<String>,
    /// `trust_labels`
    pub trust_labels: bool,
    /// `m2.vhost_label`
    pub vhost_labels: Vec<String>,
    /// Credentials and certificates of `gates`, by name.
    pub gate_options: BTreeMap<String, HttpOptions>,
    /// `actions.kill_switch_file`, `actions.busy_file`
    pub switches: SwitchFiles,
    /// `actions.executor: docker`: restarts are carried out here.
    pub executes: bool,
    /// Modes, plans, limits, M2's virtual hosts.
    pub policy: Policy,
}

impl PolicyConfig {
    /// Takes its sections from the top of the file.
    pub(super) fn read(fields: &mut Fields<'_, '_>, base: &Path) -> PolicyConfig {
        let mut policy = Policy::default();
        if let Some(mode) = fields.optional("mode", actions::mode) {
            policy.mode = mode;
        }
        let plans_from = fields.optional("plans_from", |at| owners::source(at, base));
        let tenants_from = fields.optional("tenants_from", |at| owners::source(at, base));
        policy.plans_expected = plans_from.is_some();
        if let Some(plans) = owners::catalogue(fields) {
            policy.plans = plans;
        }
        let mut switches = SwitchFiles::default();
        let executes =
            fields.optional("actions", |at| actions::read(at, base, (&mut policy, &mut switches)));
        let mut gate_options = BTreeMap::new();
        if let Some((read, options)) = fields.optional("gates", |at| gates::read(at, base)) {
            (policy.gates, gate_options) = (read, options);
        }
        let said = fields.optional("identity", |at| tenancy(at, known_plans(&policy)));
        let divided = said.is_some();
        policy.tenancy = said.unwrap_or_default();
        let mut vhost_labels = VHOST_LABELS.map(str::to_owned).to_vec();
        let m2_setting_from =
            fields.optional("m2", |at| m2(at, base, &mut policy, &mut vhost_labels)).flatten();
        let expected =
            owners::Expected { plans: known_plans(&policy), owner: policy.tenancy.owner() };
        let tenants = fields.optional("tenants", |at| owners::own_tenants(at, expected));
        let trust_labels = fields.or("trust_labels", false, read::boolean);
        let stage = |at: Cursor<'_, '_>| read::one_of(at, &STAGES.map(|stage| (stage, stage)));
        let stages = fields.optional("stages", |mut at| at.each_item(stage));
        policy.stages = stages.map(|applied| applied.into_iter().collect());
        let open = trust_labels || tenants_from.is_some();
        let known = tenants.as_ref().filter(|_| !open).and_then(Tenants::names);
        let known = calendar::Known { plans: known_plans(&policy), tenants: known.as_ref() };
        if let Some(calendar) = fields.optional("calendar", |at| calendar::read(at, known)) {
            policy.calendar = calendar;
        }
        PolicyConfig {
            host: fields.optional("host", read::name),
            tenants,
            plans_from,
            tenants_from,
            m2_setting_from,
            divided,
            container_jobs: fields.or("container_jobs", Vec::new(), read::strings),
            trust_labels,
            vhost_labels,
            gate_options,
            switches,
            executes: executes.unwrap_or_default(),
            policy,
        }
    }

    /// Where what others write is read from.
    pub fn documents(&self) -> Sources {
        Sources {
            plans: self.plans_from.clone(),
            tenants: self.tenants_from.clone(),
            m2_setting: self.m2_setting_from.clone(),
        }
    }

    /// How series are attributed; `None` unless something asks for it, so that a plain
    /// Prometheus configuration sees the labels it would see in Prometheus.
    pub fn identity(
        &self,
        host: &str,
        (collects, jobs): (bool, &[ScrapeConfig]),
    ) -> Option<Identity> {
        let said = self.host.is_some() || self.is_mapped() || self.divided;
        let Tenants { rules, known } = self.tenants.clone().unwrap_or_default();
        let expected = self.tenants_from.is_some();
        (said || collects).then(|| Identity {
            host: host.to_owned(),
            rules,
            known,
            trust_labels: self.trust_labels,
            tenancy: self.policy.tenancy.clone(),
            directory: if expected { Directory::Unread } else { Directory::None },
            measurers: self.measurers(collects, jobs),
        })
    }

    /// Whether anything says whose containers are.
    pub(super) fn is_mapped(&self) -> bool {
        self.tenants.is_some() || self.tenants_from.is_some() || self.trust_labels
    }

    /// Which jobs measure containers: those named, else those that are called cAdvisor; and the
    /// collector.
    pub(super) fn measurers(&self, collects: bool, jobs: &[ScrapeConfig]) -> Measurers {
        let named = || self.container_jobs.iter().cloned();
        let called = jobs.iter().map(|job| &job.job_name).filter(|name| is_cadvisor(name)).cloned();
        let own = collects.then(|| COLLECTOR_JOB.to_owned());
        let found: BTreeSet<String> = match self.container_jobs.is_empty() {
            true => called.chain(own).collect(),
            false => named().chain(own).collect(),
        };
        if found.is_empty() { Measurers::Unnamed } else { Measurers::Jobs(found) }
    }
}

/// Whether a job is called as cAdvisor is.
pub(super) fn is_cadvisor(job: &str) -> bool {
    job.to_lowercase().contains("cadvisor")
}

/// The plans there are; which ones a document will name is not known yet.
fn known_plans(policy: &Policy) -> Option<&Plans> {
    (!policy.plans_expected).then_some(&policy.plans)
}

/// `identity`: to whom the containers of this host belong.
fn tenancy(at: Cursor<'_, '_>, plans: Option<&Plans>) -> Option<Tenancy> {
    let mut fields = Fields::open(at)?;
    let mode = fields.required("mode", |mut at| {
        let text = read::string(at.again())?;
        let is_known = ["per_container", "per_host", "shared"].contains(&text.as_str());
        if !is_known {
            let hint = "write `per_container`, `per_host` or `shared`";
            at.error_hint(format!("`{text}` is not an identity mode"), hint);
        }
        is_known.then_some(text)
    });
    let tenant = fields.optional("tenant", read::name);
    let plan = fields.optional("plan", |at| owners::known_plan(at, plans));
    let has_owner = mode.as_deref() == Some("per_host");
    if has_owner && tenant.is_none() {
        fields.cursor().error("`per_host` needs the `tenant` the host belongs to");
    } else if mode.is_some() && !has_owner && (tenant.is_some() || plan.is_some()) {
        fields.cursor().error("only `per_host` takes a `tenant` and a `plan`");
    }
    fields.finish();
    match (mode?.as_str(), tenant) {
        ("per_host", tenant) => Some(Tenancy::PerHost { tenant: tenant?, plan }),
        ("shared", _) => Some(Tenancy::Shared),
        _ => Some(Tenancy::PerContainer),
    }
}

/// `m2`; returns where its `setting.json` is.
fn m2(
    at: Cursor<'_, '_>,
    base: &Path,
    policy: &mut Policy,
    vhost_labels: &mut Vec<String>,
) -> Option<Option<Source>> {
    let mut fields = Fields::open(at)?;
    policy.m2_memory_bytes = fields.optional("memory_bytes", read::bytes);
    if let Some(labels) = fields.optional("vhost_label", read::strings) {
        *vhost_labels = labels;
    }
    let vhosts = fields.optional("vhosts", |mut at| at.each_entry(|key, at| vhost(&key.text, at)));
    policy.vhosts = vhosts.unwrap_or_default();
    policy.m2_counting = counting(&mut fields);
    let setting = fields.optional("setting_file", |at| path(at, base));
    policy.m2_setting_expected = setting.is_some();
    fields.finish();
    Some(setting.map(|file| Source { place: Place::File(file), refresh: SETTING_REFRESH }))
}

/// How documents are counted.
fn counting(fields: &mut Fields<'_, '_>) -> M2Counting {
    let M2Counting { window, documents_min } = M2Counting::default();
    let at = |at: Cursor<'_, '_>| read::duration_within(at, M2_WINDOW);
    let shortest = fields.or("window_min", *window.start(), at);
    let longest = fields.or("window_max", (*window.end()).max(shortest), |mut at| {
        read::duration_within(at.again(), shortest..=*M2_WINDOW.end())
    });
    let documents_min = fields.or("documents_min", documents_min, |mut at| {
        let least = read::integer(at.again())?;
        if least == 0 {
            at.error("no document at all has no size; write 1 or more");
        }
        Some(least)
    });
    M2Counting { window: shortest..=longest, documents_min }
}

fn vhost(name: &str, at: Cursor<'_, '_>) -> Option<Vhost> {
    let mut fields = Fields::open(at)?;
    let vhost = Vhost {
        name: name.to_owned(),
        fixed_count: fields.optional("fixed_count", fixed_count),
        ttl: fields.optional("ttl", read::positive_duration),
        cdn_ttl: fields.optional("cdn_ttl", read::positive_duration),
        phantom: fields.optional("phantom", read::boolean),
        refresh: fields.optional("refresh", read::duration),
        indexing_limit: fields.optional("indexing_limit_count", read::integer),
    };
    fields.finish();
    Some(vhost)
}

fn fixed_count(mut at: Cursor<'_, '_>) -> Option<u64> {
    let count = read::integer(at.again())?;
    if count > FIXED_COUNT_MAX {
        at.error("is more than M2 takes, 1000000");
    }
    Some(count)
}
