//! Whose word counts about containers: of those who measure them.
//!
//! Anybody can write `container_memory_usage_bytes{name="acme-web"}` on a page. What is done to a
//! container rests on cAdvisor and our own collector alone; on the page of any other target the labels
//! that say who a container is are kept as `exported_name` and so on, as Prometheus keeps a page's
//! labels that its target has already. And what a tenant's own target tells is that tenant's, whichever
//! containers it names.

use std::collections::BTreeSet;

use super::tenant::{Identity, Tenancy, is_of_containers};
use crate::base::{Labels, LabelsBuilder, METRIC_NAME};

/// Labels that say who a container is.
const SAYS_WHO: [&str; 6] = ["name", "id", "service", "tenant", "plan", "role"];

/// Which targets measure containers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Measurers {
    /// Those that are not a tenant's own: nobody has said more.
    #[default]
    Unnamed,
    /// Those of these jobs.
    Jobs(BTreeSet<String>),
}

impl Identity {
    /// Whether a target measures containers; its labels, and those from before it was relabelled.
    pub fn measures(&self, target: &Labels, discovered: &Labels) -> bool {
        let job = |labels: &Labels| labels.get("job").map(str::to_owned);
        match &self.measurers {
            Measurers::Unnamed => self.own_tenant(target).is_none(),
            Measurers::Jobs(jobs) => {
                [target, discovered].into_iter().filter_map(job).any(|job| jobs.contains(&job))
            }
        }
    }

    /// As [`Identity::enrich`], for a series of a target that does not measure containers.
    pub fn enrich_other(&self, target: &Labels, labels: &Labels) -> Labels {
        let mut built = LabelsBuilder::from(labels);
        if tells_of_a_container(labels) {
            for label in SAYS_WHO.into_iter().filter(|label| target.get(label).is_none()) {
                let Some(said) = labels.get(label) else { continue };
                let exported = format!("exported_{label}");
                if built.get(&exported).is_empty() {
                    built.set(&exported, said);
                }
                built.set(label, "");
            }
            return self.of_nobody(built).build();
        }
        match self.own_tenant(target) {
            Some(_) => self.of_nobody(built).build(),
            None => self.enrich(labels, None),
        }
    }

    /// Why what such a target says of a container is refused, if so.
    pub fn foreign_claim(&self, target: &Labels, labels: &Labels) -> Option<String> {
        let part = |name| target.get(name).unwrap_or_default();
        tells_of_a_container(labels).then(|| {
            format!(
                "`{}/{}` tells of it and does not measure containers (`container_jobs`)",
                part("job"),
                part("instance")
            )
        })
    }

    /// The tenant a target belongs to, unless the whole host does.
    fn own_tenant<'a>(&self, target: &'a Labels) -> Option<&'a str> {
        let tenant = target.get("tenant").filter(|tenant| !tenant.is_empty());
        tenant.filter(|_| !matches!(self.tenancy, Tenancy::PerHost { .. }))
    }
}

fn tells_of_a_container(labels: &Labels) -> bool {
    let named = ["name", "id"].iter().any(|label| labels.get(label).is_some_and(|t| !t.is_empty()));
    named && labels.get(METRIC_NAME).is_some_and(is_of_containers)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::policy::TenantRule;
    use crate::regex::Pattern;

    fn identity(measurers: Measurers) -> Identity {
        let name = vec![("name".to_owned(), Pattern::new("acme-.*").expect("a pattern"))];
        let text = |text: &str| Some(text.to_owned());
        let rule = TenantRule::new(name, text("acme"), None, text("app")).expect("a rule");
        Identity { rules: vec![rule], measurers, known: BTreeMap::new(), ..Identity::default() }
    }

    fn target(job: &'static str, tenant: &'static str) -> Labels {
        Labels::from_pairs([("job", job), ("tenant", tenant)])
    }

    #[test]
    fn who_measures_is_said_or_is_nobody_s_own_target() {
        let none = Labels::empty();
        let unnamed = identity(Measurers::Unnamed);
        assert!(unnamed.measures(&target("any", ""), &none));
        assert!(!unnamed.measures(&target("any", "globex"), &none));
        let (tenant, plan) = ("solo".to_owned(), None);
        let alone = Identity { tenancy: Tenancy::PerHost { tenant, plan }, ..unnamed };
        assert!(alone.measures(&target("any", "solo"), &none), "all of the host is its own");
        let named = identity(Measurers::Jobs(["cadvisor".to_owned()].into()));
        assert!(named.measures(&target("cadvisor", "globex"), &none));
        assert!(named.measures(&target("renamed", ""), &target("cadvisor", "")));
        assert!(!named.measures(&target("any", ""), &none));
    }

    #[test]
    fn what_others_tell_of_containers_is_nobody_s() {
        let identity = identity(Measurers::Unnamed);
        let check = |target: &Labels, pairs: &[(&str, &str)], want: &str| {
            let series = Labels::from_pairs(pairs.iter().copied());
            assert_eq!(identity.enrich_other(target, &series).to_string(), want);
        };
        let forged = [
            (METRIC_NAME, "container_memory_usage_bytes"),
            ("id", "/docker/x"),
            ("name", "acme-web"),
            ("service", "acme/app"),
            ("tenant", "globex"),
        ];
        let own = target("apps", "globex");
        let want = "container_memory_usage_bytes{exported_id=\"/docker/x\", \
                    exported_name=\"acme-web\", exported_service=\"acme/app\", tenant=\"globex\"}";
        check(&own, &forged, want);
        assert!(identity.foreign_claim(&own, &Labels::from_pairs(forged)).is_some());
        let want = want.replace("tenant", "exported_tenant");
        check(&target("apps", ""), &forged, &want);
        let stuck = [(METRIC_NAME, "app_stuck"), ("name", "acme-web")];
        check(
            &own,
            &[("tenant", "globex"), stuck[0], stuck[1]],
            "app_stuck{name=\"acme-web\", tenant=\"globex\"}",
        );
        let mapped =
            "app_stuck{name=\"acme-web\", role=\"app\", service=\"acme/app\", tenant=\"acme\"}";
        check(&target("apps", ""), &stuck, mapped);
    }
}
