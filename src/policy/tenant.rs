//! Whose container is it? Adds `host`, `tenant`, `plan`, `role` and `service` to a series.
//!
//! A *service* is what lives on when a container is recreated: history, cool-downs and `for` hang on
//! it. The mapping comes from configuration. A container's own `prego.*` labels are written by
//! whoever starts the container, so they count only if the operator says that they may be trusted.

use crate::base::{Labels, LabelsBuilder};
use crate::regex::Pattern;

/// Docker labels `prego.<name>`, as cAdvisor exports them.
const TRUSTED: [(&str, &str); 3] = [
    ("tenant", "container_label_prego_tenant"),
    ("plan", "container_label_prego_plan"),
    ("role", "container_label_prego_role"),
];
const COMPOSE_PROJECT: &str = "container_label_com_docker_compose_project";
const COMPOSE_SERVICE: &str = "container_label_com_docker_compose_service";

/// One line of the mapping: if all labels match, these labels are set.
#[derive(Clone, PartialEq, Debug)]
pub struct TenantRule {
    matchers: Vec<(String, Pattern)>,
    tenant: Option<String>,
    plan: Option<String>,
    role: Option<String>,
}

impl TenantRule {
    /// `matchers` are label names with anchored patterns, at least one; an absent label matches as
    /// `""`. With a single one, `tenant` may hold `$1` or `${name}` for its groups.
    pub fn new(
        matchers: Vec<(String, Pattern)>,
        tenant: Option<String>,
        plan: Option<String>,
        role: Option<String>,
    ) -> Result<TenantRule, String> {
        if matchers.is_empty() {
            return Err("`match` names no label, so it would match everything".to_owned());
        }
        if tenant.is_none() && plan.is_none() && role.is_none() {
            return Err("it sets neither tenant nor plan nor role".to_owned());
        }
        if matchers.len() > 1 && tenant.as_ref().is_some_and(|tenant| tenant.contains('$')) {
            return Err("`$` in `tenant` needs exactly one label in `match`".to_owned());
        }
        Ok(TenantRule { matchers, tenant, plan, role })
    }

    fn matches(&self, labels: &LabelsBuilder) -> bool {
        self.matchers.iter().all(|(name, pattern)| pattern.is_match(labels.get(name)))
    }

    fn tenant_of(&self, labels: &LabelsBuilder) -> Option<String> {
        let tenant = self.tenant.as_ref()?;
        let (name, pattern) = &self.matchers[0];
        if tenant.contains('$') {
            return pattern.expand(labels.get(name), tenant);
        }
        Some(tenant.clone())
    }
}

/// How series are attributed.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Identity {
    /// The Docker host's name; `""` adds no label.
    pub host: String,
    /// The mapping; the first rule that matches counts.
    pub rules: Vec<TenantRule>,
    /// Whether containers may say themselves who they are.
    pub trust_labels: bool,
    /// Labels under which M2 names its virtual host, the best first.
    pub vhost_labels: Vec<String>,
}

impl Identity {
    /// The labels with what is known about their owner. What the mapping says replaces what the
    /// series brought; what the series brought (by relabelling) replaces what the container claims.
    pub fn enrich(&self, labels: &Labels) -> Labels {
        let mut built = LabelsBuilder::from(labels);
        self.name_vhost(labels, &mut built);
        if built.get("host").is_empty() {
            built.set("host", &self.host);
        }
        if self.trust_labels {
            for (name, source) in TRUSTED {
                set_if_absent(&mut built, name, labels.get(source).unwrap_or_default());
            }
        }
        if let Some(rule) = self.rules.iter().find(|rule| rule.matches(&built)) {
            let tenant = rule.tenant_of(&built);
            for (name, value) in [("tenant", &tenant), ("plan", &rule.plan), ("role", &rule.role)] {
                if let Some(value) = value {
                    built.set(name, value);
                }
            }
        }
        let service = service_of(&built);
        set_if_absent(&mut built, "service", &service);
        built.build()
    }

    /// M2 may name its virtual host `host`, which is the Docker host's label here.
    fn name_vhost(&self, labels: &Labels, built: &mut LabelsBuilder) {
        if !labels.metric_name().starts_with("m2_") {
            return;
        }
        let found = self.vhost_labels.iter().find_map(|name| Some((name, labels.get(name)?)));
        // Our own host's name was put there as a target label, not by M2.
        if let Some((name, vhost)) = found.filter(|(_, vhost)| *vhost != self.host) {
            built.remove(name).set("vhost", vhost);
        }
    }
}

/// Tenant and role; else compose's project and service; else the container's name.
fn service_of(labels: &LabelsBuilder) -> String {
    let (tenant, role) = (labels.get("tenant"), labels.get("role"));
    let (project, service) = (labels.get(COMPOSE_PROJECT), labels.get(COMPOSE_SERVICE));
    for (first, second) in [(tenant, role), (project, service)] {
        if !first.is_empty() && !second.is_empty() {
            return format!("{first}/{second}");
        }
    }
    labels.get("name").to_owned()
}

fn set_if_absent(labels: &mut LabelsBuilder, name: &str, value: &str) {
    if labels.get(name).is_empty() {
        labels.set(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(matchers: &[(&str, &str)], tenant: &str, plan: &str, role: &str) -> TenantRule {
        let matchers = matchers
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Pattern::new(text).expect("a pattern")));
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        TenantRule::new(matchers.collect(), some(tenant), some(plan), some(role)).expect("a rule")
    }

    fn identity(trust_labels: bool) -> Identity {
        Identity {
            host: "web-7".to_owned(),
            rules: vec![
                rule(&[("name", "acme-db"), ("image", "mariadb.*")], "acme", "pro", "db"),
                rule(&[("name", "acme-.*")], "acme", "pro", "app"),
                rule(&[("name", "t-([a-z]+)-[0-9]+")], "$1", "free", "app"),
                rule(&[("name", "worker")], "", "", "worker"),
            ],
            trust_labels,
            vhost_labels: vec!["vhost".to_owned(), "host".to_owned()],
        }
    }

    /// What enrichment added or changed, as `name=value …`.
    fn check(trust: bool, pairs: &[(&str, &str)], want: &str) {
        let before = Labels::from_pairs(pairs.iter().copied());
        let after = identity(trust).enrich(&before);
        let new = after.iter().filter(|(name, value)| before.get(name) != Some(value));
        let got: Vec<String> = new.map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(got.join(" "), want, "{before}");
    }

    #[test]
    fn owners_are_found() {
        check(
            false,
            &[("name", "acme-1")],
            "host=web-7 plan=pro role=app service=acme/app tenant=acme",
        );
        check(
            false,
            &[("name", "acme-db"), ("image", "mariadb:11")],
            "host=web-7 plan=pro role=db service=acme/db tenant=acme",
        );
        check(
            false,
            &[("name", "t-zeta-3")],
            "host=web-7 plan=free role=app service=zeta/app tenant=zeta",
        );
        check(false, &[("name", "my-acme-1")], "host=web-7 service=my-acme-1");
        check(false, &[("name", "worker")], "host=web-7 role=worker service=worker");
        check(false, &[], "host=web-7");
        check(
            false,
            &[("name", "shop-web-1"), (COMPOSE_PROJECT, "shop"), (COMPOSE_SERVICE, "web")],
            "host=web-7 service=shop/web",
        );
    }

    #[test]
    fn container_labels_count_only_if_trusted_and_never_over_the_mapping() {
        let claims = [
            ("name", "x"),
            ("container_label_prego_tenant", "evil"),
            ("container_label_prego_plan", "enterprise"),
            ("container_label_prego_role", "app"),
        ];
        check(false, &claims, "host=web-7 service=x");
        check(true, &claims, "host=web-7 plan=enterprise role=app service=evil/app tenant=evil");
        let mut mapped = claims;
        mapped[0].1 = "acme-1";
        check(true, &mapped, "host=web-7 plan=pro role=app service=acme/app tenant=acme");
        let relabelled = [claims[1], ("tenant", "good"), ("name", "x")];
        check(true, &relabelled, "host=web-7 service=x");
    }

    #[test]
    fn a_target_keeps_its_own_host_and_m2_its_vhost() {
        check(false, &[("host", "db-1")], "");
        check(
            false,
            &[("__name__", "m2_pagefx_complete_total"), ("host", "example.com")],
            "host=web-7 vhost=example.com",
        );
        check(false, &[("__name__", "m2_sys_uptime"), ("host", "web-7")], "");
        check(
            false,
            &[("__name__", "m2_pagefx_complete_total"), ("host", "db-1"), ("vhost", "v")],
            "",
        );
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let name = |count| vec![("name".to_owned(), Pattern::new(".*").expect("reads")); count];
        let tenant = |text: &str| Some(text.to_owned());
        for (matchers, tenant, want) in [
            (name(0), tenant("a"), "everything"),
            (name(1), None, "neither"),
            (name(2), tenant("$1"), "exactly one"),
        ] {
            let error = TenantRule::new(matchers, tenant, None, None).expect_err(want);
            assert!(error.contains(want), "{error}");
        }
    }
}
