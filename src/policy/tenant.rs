//! Whose container is it? Adds `host`, `tenant`, `plan`, `role` and `service` to a series.
//!
//! A *service* is what lives on when a container is recreated: history, cool-downs and `for` hang on
//! it. The mapping comes from configuration. A container's own `prego.*` labels are written by
//! whoever starts the container, so they count only if the operator says that they may be trusted.

use std::collections::BTreeMap;
use std::fmt;

use super::directory::{Directory, Owner};
use super::measure::Measurers;
use super::register::Tenant;
use crate::base::{Labels, LabelsBuilder, METRIC_NAME};
use crate::regex::Pattern;

/// Labels, the Docker labels they come from, and how cAdvisor exports those.
const TRUSTED: [(&str, &str, &str); 3] = [
    ("tenant", "prego.tenant", "container_label_prego_tenant"),
    ("plan", "prego.plan", "container_label_prego_plan"),
    ("role", "prego.role", "container_label_prego_role"),
];
const COMPOSE_PROJECT: (&str, &str) =
    ("com.docker.compose.project", "container_label_com_docker_compose_project");
const COMPOSE_SERVICE: (&str, &str) =
    ("com.docker.compose.service", "container_label_com_docker_compose_service");

/// What makes a pattern more than a name.
const PATTERN_SIGNS: [char; 14] =
    ['\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$'];

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
        let (_, pattern) = &matchers[0];
        if let Some(tenant) = tenant.as_ref().filter(|tenant| !pattern.has_groups_of(tenant)) {
            let source = pattern.source();
            return Err(format!("`{tenant}` names a group that the pattern `{source}` lacks"));
        }
        Ok(TenantRule { matchers, tenant, plan, role })
    }

    /// The plan it gives.
    pub fn plan(&self) -> Option<&str> {
        self.plan.as_deref()
    }

    /// The tenant as it is written.
    pub(super) fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// Whether the patterns are those of another rule.
    pub(super) fn matches_alike(&self, other: &TenantRule) -> bool {
        let same = |(a, b): (&(String, Pattern), &(String, Pattern))| {
            a.0 == b.0 && a.1.source() == b.1.source()
        };
        self.matchers.len() == other.matchers.len()
            && self.matchers.iter().zip(&other.matchers).all(same)
    }

    /// Its label names, each with its pattern as it is written.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.matchers.iter().map(|(name, pattern)| (name.as_str(), pattern.source()))
    }

    /// The only labels it matches, if its patterns are plain names.
    pub(super) fn only_labels(&self) -> Option<LabelsBuilder> {
        let plain = |text: &str| !text.is_empty() && !text.contains(PATTERN_SIGNS);
        let names = self.matchers.iter().all(|(_, pattern)| plain(pattern.source()));
        names.then(|| LabelsBuilder::from(&Labels::from_pairs(self.pairs())))
    }

    pub(super) fn matches(&self, labels: &LabelsBuilder) -> bool {
        self.matchers.iter().all(|(name, pattern)| pattern.is_match(labels.get(name)))
    }

    /// The tenant that a container with these labels belongs to.
    pub(super) fn tenant_of(&self, labels: &LabelsBuilder) -> Option<String> {
        let tenant = self.tenant.as_ref()?;
        let (name, pattern) = &self.matchers[0];
        if tenant.contains('$') {
            return pattern.expand(labels.get(name), tenant);
        }
        Some(tenant.clone())
    }
}

/// The role of a container that many tenants share.
pub(super) const SHARED_ROLE: &str = "shared_app";
/// The role of what a tenant has in a shared container: a site.
const SITE_ROLE: &str = "site";

/// The roles that have a meaning of their own.
pub const ROLES: [&str; 8] = ["app", "worker", "db", "redis", "m2", "edge", SHARED_ROLE, SITE_ROLE];

/// To whom the containers of this host belong.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Tenancy {
    /// Each container to a tenant of its own, as the mapping says.
    #[default]
    PerContainer,
    /// All of them, and the host, to one tenant.
    PerHost {
        /// Which one.
        tenant: String,
        /// Its plan, if that is known.
        plan: Option<String>,
    },
    /// Each of them to all tenants at once: tenants have sites in it.
    Shared,
}

impl Tenancy {
    /// The tenant the whole host belongs to.
    pub fn owner(&self) -> Option<&str> {
        match self {
            Tenancy::PerHost { tenant, .. } => Some(tenant),
            Tenancy::PerContainer | Tenancy::Shared => None,
        }
    }

    /// The host's class, as rules and evidence call it.
    pub fn node_class(&self) -> &'static str {
        match self.owner() {
            Some(_) => "dedicated",
            None => "shared",
        }
    }
}

/// As in a sentence: `{name="acme-1"}` is `acme`'s.
impl fmt::Display for TenantRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matchers = self.matchers.iter();
        let shown: Vec<String> =
            matchers.map(|(name, pattern)| format!("{name}={:?}", pattern.source())).collect();
        let owner = self.tenant.as_deref().unwrap_or("nobody");
        write!(f, "{{{}}} is `{owner}`'s", shown.join(", "))
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
    /// To whom containers belong.
    pub tenancy: Tenancy,
    /// What configuration says of tenants, by name.
    pub known: BTreeMap<String, Tenant>,
    /// The document of tenants.
    pub directory: Directory,
    /// Which targets measure containers.
    pub measurers: Measurers,
}

impl Identity {
    /// The labels with what is known about their owner. What the mapping says replaces what the
    /// series brought; what the series brought (by relabelling) replaces what the container claims.
    ///
    /// `docker` are the container's labels by Docker's own word, if it is known: cAdvisor writes
    /// `prego.plan` and `prego-plan` as one label, and which it shows changes from scrape to scrape.
    pub fn enrich(&self, labels: &Labels, docker: Option<&BTreeMap<String, String>>) -> Labels {
        let mut built = LabelsBuilder::from(labels);
        if built.get("host").is_empty() {
            built.set("host", &self.host);
        }
        if self.trust_labels {
            for (name, key, source) in TRUSTED {
                let said = match docker {
                    Some(docker) => docker.get(key).map_or("", String::as_str),
                    None => labels.get(source).unwrap_or_default(),
                };
                set_if_absent(&mut built, name, said);
            }
        }
        self.set_owner(&mut built);
        self.settle_owner(&mut built);
        let service = self.service_of(&built, docker);
        set_if_absent(&mut built, "service", &service);
        built.build()
    }

    /// The labels with what is known of the tenant they name, whom the mapping does not say.
    pub(super) fn of_nobody(&self, mut built: LabelsBuilder) -> LabelsBuilder {
        set_if_absent(&mut built, "host", &self.host);
        if let Some(plan) = self.tenant(built.get("tenant")).plan {
            built.set("plan", &plan);
        }
        self.settle_owner(&mut built);
        built
    }

    /// What neither the mapping nor the series may say otherwise: whose the host is, and that a
    /// shared container is nobody's.
    fn settle_owner(&self, built: &mut LabelsBuilder) {
        match &self.tenancy {
            Tenancy::PerHost { tenant, plan } if built.get("host") == self.host => {
                built.set("tenant", tenant);
                if let Some(plan) = plan.clone().or_else(|| self.tenant(tenant).plan) {
                    built.set("plan", &plan);
                }
            }
            Tenancy::Shared if is_container(built) => {
                built.set("tenant", "").set("plan", "");
                set_if_absent(built, "role", SHARED_ROLE);
            }
            Tenancy::Shared if !built.get("tenant").is_empty() => {
                set_if_absent(built, "role", SITE_ROLE);
            }
            _ => {}
        }
    }

    /// Sets what the mapping says, and the plan the tenant is known to have.
    fn set_owner(&self, built: &mut LabelsBuilder) {
        let mut own_plan = None;
        match self.owner(built) {
            Owner::Nobody => {}
            Owner::Disputed(..) => {
                built.set("tenant", "");
            }
            Owner::Rule(rule) => {
                let tenant = rule.tenant_of(built);
                own_plan = rule.plan.as_ref();
                for (name, value) in
                    [("tenant", tenant.as_ref()), ("plan", own_plan), ("role", rule.role.as_ref())]
                {
                    if let Some(value) = value {
                        built.set(name, value);
                    }
                }
            }
        }
        let tenant = built.get("tenant");
        if let Some(plan) = self.tenant(tenant).plan.filter(|_| own_plan.is_none()) {
            built.set("plan", &plan);
        }
    }

    /// The tenant a container claims by its label, believed or not; `""` for none.
    pub(super) fn says_tenant<'a>(
        labels: &'a Labels,
        docker: Option<&'a BTreeMap<String, String>>,
    ) -> &'a str {
        let (_, key, source) = TRUSTED[0];
        match docker {
            Some(docker) => docker.get(key).map_or("", String::as_str),
            None => labels.get(source).unwrap_or_default(),
        }
    }

    /// Tenant and role; else compose's project and service; else the container's name. Compose's
    /// labels are written by whoever starts a container, so none can call itself another tenant's
    /// service, and use up that one's budgets or spoil what is known of its demand, even where labels
    /// are trusted: those of a tenant's own containers are, then.
    fn service_of(
        &self,
        labels: &LabelsBuilder,
        docker: Option<&BTreeMap<String, String>>,
    ) -> String {
        let (tenant, role) = (labels.get("tenant"), labels.get("role"));
        if !tenant.is_empty() && !role.is_empty() {
            return format!("{tenant}/{role}");
        }
        let compose = |(key, source): (&str, &str)| match docker {
            Some(docker) => docker.get(key).cloned().unwrap_or_default(),
            None => labels.get(source).to_owned(),
        };
        let (project, service) = (compose(COMPOSE_PROJECT), compose(COMPOSE_SERVICE));
        let alone = self.tenancy.owner().is_some();
        let is_own = || !tenant.is_empty() && project == tenant;
        let is_free = || is_own() || !self.may_be_a_tenants(&project, &service);
        let may_say = self.trust_labels || tenant.is_empty();
        if !project.is_empty() && !service.is_empty() && (alone || may_say && is_free()) {
            return format!("{project}/{service}");
        }
        labels.get("name").to_owned()
    }

    /// Whether a tenant could be called so, and have a service in that role.
    fn may_be_a_tenants(&self, tenant: &str, role: &str) -> bool {
        let rules = || {
            let read = self.directory.tenants().into_iter().flat_map(|tenants| &tenants.rules);
            self.rules.iter().chain(read)
        };
        // Whom a template names is known only of containers that it matches.
        let names = |own: &str| own == tenant || own.contains('$');
        let read = self.directory.tenants();
        let is_known = self.known.contains_key(tenant)
            || read.is_some_and(|tenants| tenants.known.contains_key(tenant))
            || rules().any(|rule| rule.tenant().is_some_and(names));
        let is_role =
            ROLES.contains(&role) || rules().any(|rule| rule.role.as_deref() == Some(role));
        is_known && is_role
    }
}

/// Whether a series is about a container; other exporters use the label `name` too.
fn is_container(labels: &LabelsBuilder) -> bool {
    let metric = labels.get(METRIC_NAME);
    !labels.get("name").is_empty() && (metric.is_empty() || is_of_containers(metric))
}

/// Whether a metric may be about containers, by its name.
pub(super) fn is_of_containers(metric: &str) -> bool {
    metric.starts_with("container_") || metric.starts_with("plimsoll_")
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
            ..Identity::default()
        }
    }

    /// What enrichment added or changed, as `name=value …`.
    fn check(trust: bool, pairs: &[(&str, &str)], want: &str) {
        let before = Labels::from_pairs(pairs.iter().copied());
        let after = identity(trust).enrich(&before, None);
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
            &[("name", "shop-web-1"), (COMPOSE_PROJECT.1, "shop"), (COMPOSE_SERVICE.1, "web")],
            "host=web-7 service=shop/web",
        );
    }

    #[test]
    fn compose_s_labels_make_nobody_a_tenant_s_service() {
        let says = |project: &'static str, service: &'static str| {
            [("name", "x"), (COMPOSE_PROJECT.1, project), (COMPOSE_SERVICE.1, service)]
        };
        check(false, &says("acme", "app"), "host=web-7 service=x");
        check(false, &says("zeta", "db"), "host=web-7 service=x");
        check(false, &says("zeta", "grafana"), "host=web-7 service=zeta/grafana");
        check(true, &says("acme", "app"), "host=web-7 service=x");
        let mut owned = says("acme", "app");
        owned[0].1 = "t-zeta-3";
        check(false, &owned, "host=web-7 plan=free role=app service=zeta/app tenant=zeta");
        let literal =
            Identity { rules: vec![rule(&[("name", "a")], "acme", "", "lab")], ..identity(false) };
        let service = |project, service| {
            let labels = literal.enrich(&Labels::from_pairs(says(project, service)), None);
            labels.get("service").map(str::to_owned)
        };
        assert_eq!(service("shop", "db").as_deref(), Some("shop/db"), "no tenant is called so");
        assert_eq!(service("acme", "lab").as_deref(), Some("x"), "a role of the mapping's own");
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
    fn docker_s_own_word_stands_above_labels_that_collide() {
        let docker = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let says = docker(&[("prego.plan", "pro"), ("prego-plan", "enterprise")]);
        for flapping in ["pro", "enterprise", "free"] {
            let labels =
                Labels::from_pairs([("name", "x"), ("container_label_prego_plan", flapping)]);
            assert_eq!(identity(true).enrich(&labels, Some(&says)).get("plan"), Some("pro"));
            assert_eq!(identity(false).enrich(&labels, Some(&says)).get("plan"), None);
        }
    }

    #[test]
    fn nobody_calls_himself_another_s_service() {
        let forged = [("name", "bar"), (COMPOSE_PROJECT.1, "shop"), (COMPOSE_SERVICE.1, "web")];
        let labels = Labels::from_pairs(forged);
        let mapped = |trust_labels| Identity {
            rules: vec![rule(&[("name", "bar")], "acme", "", "")],
            ..identity(trust_labels)
        };
        assert_eq!(mapped(false).enrich(&labels, None).get("service"), Some("bar"));
        assert_eq!(mapped(true).enrich(&labels, None).get("service"), Some("shop/web"));
        let mut trusted = identity(true);
        trusted.rules.push(rule(&[("name", "bar")], "globex", "", ""));
        for (project, want) in [("globex", "globex/app"), ("acme", "bar")] {
            let says = [("name", "bar"), (COMPOSE_PROJECT.1, project), (COMPOSE_SERVICE.1, "app")];
            let enriched = trusted.enrich(&Labels::from_pairs(says), None);
            assert_eq!(enriched.get("service"), Some(want), "of globex, calls itself {project}'s");
        }
    }

    #[test]
    fn a_count_of_restarts_makes_no_other_service() {
        let after = |count: &str| {
            let pairs = [("name", "acme-1"), ("container_label_restartcount", count)];
            let enriched = identity(true).enrich(&Labels::from_pairs(pairs), None);
            ["tenant", "plan", "role", "service"].map(|l| enriched.get(l).map(str::to_owned))
        };
        assert_eq!(after("1"), after("2"));
    }

    #[test]
    fn a_target_keeps_its_own_host() {
        check(false, &[("host", "db-1")], "");
    }

    /// As [`check`], on a host that is not divided by containers.
    fn check_host(tenancy: Tenancy, pairs: &[(&str, &str)], want: &str) {
        let labels = Labels::from_pairs(pairs.iter().copied());
        let enriched = Identity { tenancy, ..identity(true) }.enrich(&labels, None);
        let names = ["plan", "role", "service", "tenant"];
        let got: Vec<String> = names
            .iter()
            .filter_map(|name| Some(format!("{name}={}", enriched.get(name)?)))
            .collect();
        assert_eq!(got.join(" "), want, "{labels}");
    }

    #[test]
    fn a_host_of_one_tenant_is_all_its_own() {
        let check = |pairs: &[(&str, &str)], want: &str| {
            let (tenant, plan) = ("solo".to_owned(), Some("pro".to_owned()));
            check_host(Tenancy::PerHost { tenant, plan }, pairs, want);
        };
        check(&[("name", "x")], "plan=pro service=x tenant=solo");
        check(&[("name", "worker")], "plan=pro role=worker service=solo/worker tenant=solo");
        check(&[("name", "acme-1")], "plan=pro role=app service=solo/app tenant=solo");
        let forged = [
            ("name", "x"),
            ("tenant", "other"),
            ("container_label_prego_tenant", "evil"),
            ("container_label_prego_plan", "enterprise"),
        ];
        check(&forged, "plan=pro service=x tenant=solo");
        check(&[("__name__", "node_load1")], "plan=pro tenant=solo");
        let compose = [("name", "x"), (COMPOSE_PROJECT.1, "shop"), (COMPOSE_SERVICE.1, "web")];
        check(&compose, "plan=pro service=shop/web tenant=solo");
        check(&[("host", "db-1"), ("name", "x")], "service=x");
    }

    #[test]
    fn a_shared_container_is_nobody_s_and_a_site_its_tenant_s() {
        let check = |pairs: &[(&str, &str)], want: &str| check_host(Tenancy::Shared, pairs, want);
        for metric in ["container_memory_rss", "plimsoll_oom_total", ""] {
            let series = |name| [("__name__", metric), ("name", name), ("tenant", "forged")];
            check(&series("bench"), "role=shared_app service=bench");
            check(&series("acme-1"), "role=app service=acme-1");
        }
        let site = [("__name__", "site_requests_total"), ("tenant", "acme")];
        check(&site, "role=site service=acme/site tenant=acme");
        check(&[("__name__", "node_load1")], "");
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
