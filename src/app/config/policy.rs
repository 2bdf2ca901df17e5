//! The sections that say who is who and what may be done: host, mode, plans, tenants, m2, actions.

use std::path::Path;

use super::{actions, calendar};
use crate::app::switches::SwitchFiles;
use crate::base::closest;
use crate::policy::{Identity, Plan, Plans, PolicyConfig as Policy, Tenancy, TenantRule, Vhost};
use crate::regex::Pattern;
use crate::yaml::{Cursor, Fields, read};

/// Names M2 may give its virtual host, unless `m2.vhost_label` says otherwise.
const VHOST_LABELS: [&str; 2] = ["vhost", "host"];

/// Everything judgement needs, as it was written.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PolicyConfig {
    /// `host`; absent: the name of the machine.
    pub host: Option<String>,
    /// `tenants`; absent: series are not enriched for their sake.
    pub tenants: Option<Vec<TenantRule>>,
    /// Whether `identity` is written.
    pub divided: bool,
    /// `trust_labels`
    pub trust_labels: bool,
    /// `m2.vhost_label`
    pub vhost_labels: Vec<String>,
    /// `actions.kill_switch_file`, `actions.busy_file`
    pub switches: SwitchFiles,
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
        if let Some(plans) = fields.optional("plans", plans) {
            policy.plans = plans;
        }
        let mut switches = SwitchFiles::default();
        fields.optional("actions", |at| actions::read(at, base, (&mut policy, &mut switches)));
        if let Some(calendar) = fields.optional("calendar", calendar::read) {
            policy.calendar = calendar;
        }
        let said = fields.optional("identity", |at| tenancy(at, &policy.plans));
        let divided = said.is_some();
        policy.tenancy = said.unwrap_or_default();
        let mut vhost_labels = VHOST_LABELS.map(str::to_owned).to_vec();
        fields.optional("m2", |at| m2(at, &mut policy, &mut vhost_labels));
        PolicyConfig {
            host: fields.optional("host", read::string),
            tenants: fields.optional("tenants", |mut at| at.each_item(|at| tenant(at, &policy))),
            divided,
            trust_labels: fields.or("trust_labels", false, read::boolean),
            vhost_labels,
            switches,
            policy,
        }
    }

    /// How series are attributed; `None` unless something asks for it, so that a plain
    /// Prometheus configuration sees the labels it would see in Prometheus.
    pub fn identity(&self, host: &str, collects: bool) -> Option<Identity> {
        let said =
            self.host.is_some() || self.tenants.is_some() || self.trust_labels || self.divided;
        (said || collects).then(|| Identity {
            host: host.to_owned(),
            rules: self.tenants.clone().unwrap_or_default(),
            trust_labels: self.trust_labels,
            tenancy: self.policy.tenancy.clone(),
        })
    }
}

fn plans(mut at: Cursor<'_, '_>) -> Option<Plans> {
    let mut order = 0;
    let plans = at.each_entry(|key, at| {
        order += 1;
        let mut fields = Fields::open(at)?;
        let mem_limit = fields.required("mem_limit", read::bytes);
        let cpu_limit = fields.required("cpu_limit", read::float);
        // What does not read has been told; in its place stands what is not also out of range.
        let plan = Plan {
            name: key.text.clone(),
            order: fields.or("order", order, read::integer),
            mem_limit_bytes: mem_limit.unwrap_or(u64::MAX),
            mem_soft_bytes: fields.or("mem_soft", 0, read::bytes),
            cpu_limit_cores: cpu_limit.unwrap_or(1.0),
        };
        fields.finish();
        Some(plan)
    })?;
    Plans::new(plans).map_err(|problems| problems.iter().for_each(|problem| at.error(problem))).ok()
}

/// `identity`: to whom the containers of this host belong.
fn tenancy(at: Cursor<'_, '_>, plans: &Plans) -> Option<Tenancy> {
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
    let tenant = fields.optional("tenant", read::string);
    let plan = fields.optional("plan", |at| known_plan(at, plans));
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

/// The name of a plan that is written under `plans`.
fn known_plan(mut at: Cursor<'_, '_>, plans: &Plans) -> Option<String> {
    let plan = read::string(at.again())?;
    if plans.get(&plan).is_none() {
        let hint = match closest(&plan, plans.iter().map(|plan| plan.name.as_str())) {
            Some(known) => format!("did you mean `{known}`?"),
            None => "write it under `plans`".to_owned(),
        };
        at.error_hint(format!("`{plan}` is not a plan"), hint);
    }
    Some(plan)
}

fn tenant(at: Cursor<'_, '_>, policy: &Policy) -> Option<TenantRule> {
    let mut fields = Fields::open(at)?;
    let matchers = fields.required("match", |mut at| {
        let matchers = at.each_entry(|key, mut at| {
            // A matcher that does not read must not leave a rule that matches more.
            let pattern = read::string(at.again())
                .and_then(|text| Pattern::new(&text).map_err(|error| at.error(error)).ok());
            Some(pattern.map(|pattern| (key.text.clone(), pattern)))
        })?;
        matchers.into_iter().collect::<Option<Vec<_>>>()
    });
    let plan = fields.optional("plan", |at| known_plan(at, &policy.plans));
    let mut text = |key| fields.optional(key, read::string);
    let (tenant, role) = (text("tenant"), text("role"));
    let owner = policy.tenancy.owner();
    if let Some((owner, named)) = owner.zip(tenant.as_ref()).filter(|(owner, named)| owner != named)
    {
        let why = format!("the host belongs to `{owner}` (`identity`), so nothing is `{named}`'s");
        fields.cursor().error(why);
    }
    let rule = TenantRule::new(matchers?, tenant, plan, role);
    let rule = rule.map_err(|error| fields.cursor().error(error)).ok();
    fields.finish();
    rule
}

fn m2(at: Cursor<'_, '_>, policy: &mut Policy, vhost_labels: &mut Vec<String>) -> Option<()> {
    let mut fields = Fields::open(at)?;
    policy.m2_memory_bytes = fields.optional("memory_bytes", read::bytes);
    if let Some(labels) = fields.optional("vhost_label", read::strings) {
        *vhost_labels = labels;
    }
    let vhosts = fields.optional("vhosts", |mut at| {
        at.each_entry(|key, at| {
            let mut fields = Fields::open(at)?;
            let vhost = Vhost {
                name: key.text.clone(),
                fixed_count: fields.optional("fixed_count", read::integer),
                ttl: fields.optional("ttl", read::duration),
                cdn_ttl: fields.optional("cdn_ttl", read::duration),
            };
            fields.finish();
            Some(vhost)
        })
    });
    policy.vhosts = vhosts.unwrap_or_default();
    fields.finish();
    Some(())
}
