//! Who owns a container, by configuration, the document of tenants and the container's own word.
//!
//! Configuration is in the operator's order, so its first rule that matches counts. A document is
//! written by a machine: if two of its tenants claim one container it is nobody's until one of them
//! lets go, because a wrong owner would be restarted, or told to pay, for another's trouble.

use std::collections::BTreeMap;

use super::register::{Tenant, TenantState, Tenants};
use super::tenant::{Identity, TenantRule};
use crate::base::{HashMap, Labels, LabelsBuilder};

/// The document of tenants.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Directory {
    /// None is configured.
    #[default]
    None,
    /// One is, and was never read.
    Unread,
    /// As it was read last.
    Read(Tenants),
}

/// Whose a container is, by the mapping.
pub(super) enum Owner<'a> {
    /// No rule matches.
    Nobody,
    /// This rule says.
    Rule(&'a TenantRule),
    /// Two tenants of the document claim it.
    Disputed(String, String),
}

impl Directory {
    /// What was read.
    pub fn tenants(&self) -> Option<&Tenants> {
        match self {
            Directory::Read(tenants) => Some(tenants),
            Directory::None | Directory::Unread => None,
        }
    }
}

/// Two rules of a configuration, by their index, that match alike and name different tenants: the
/// first one counts, and the second one never does.
pub fn shadowed(rules: &[TenantRule]) -> Option<(usize, usize)> {
    (0..rules.len()).find_map(|index| {
        let rule = &rules[index];
        let hides =
            |other: &TenantRule| other.matches_alike(rule) && other.tenant() != rule.tenant();
        Some((rules[..index].iter().position(hides)?, index))
    })
}

/// Two rules of a document, by their index, that give one container to different tenants. What
/// only their patterns share is found where a container is: see [`Identity::refusal`].
pub fn disputed(rules: &[TenantRule]) -> Option<(usize, usize)> {
    let differ = |a: &TenantRule, b: &TenantRule| {
        a.tenant()
            .zip(b.tenant())
            .is_some_and(|(a, b)| a != b && !a.contains('$') && !b.contains('$'))
    };
    let candidates = Candidates::of(rules);
    (0..rules.len()).find_map(|index| {
        let rule = &rules[index];
        let named = rule.only_labels();
        let meets = |other: &TenantRule| {
            rule.matches_alike(other) || named.as_ref().is_some_and(|labels| other.matches(labels))
        };
        let others = candidates.for_rule(rule, named.is_some());
        let others = others.filter(|other| differ(rule, &rules[*other]) && meets(&rules[*other]));
        let other = others.min()?;
        Some((index.min(other), index.max(other)))
    })
}

/// Which rules can meet another, so that in a list of plain names each is not held against each.
struct Candidates<'a> {
    /// By one label with its pattern: for each rule the rarest of its own.
    by_pair: HashMap<(&'a str, &'a str), Vec<usize>>,
    /// Those with a pattern that is more than a name.
    patterns: Vec<usize>,
}

impl<'a> Candidates<'a> {
    fn of(rules: &'a [TenantRule]) -> Candidates<'a> {
        let mut count: HashMap<(&str, &str), usize> = HashMap::default();
        rules
            .iter()
            .flat_map(TenantRule::pairs)
            .for_each(|pair| *count.entry(pair).or_default() += 1);
        let mut by_pair: HashMap<(&str, &str), Vec<usize>> = HashMap::default();
        for (index, rule) in rules.iter().enumerate() {
            let rarest = rule.pairs().min_by_key(|pair| (count[pair], *pair));
            rarest.into_iter().for_each(|pair| by_pair.entry(pair).or_default().push(index));
        }
        let patterns = (0..rules.len()).filter(|index| rules[*index].only_labels().is_none());
        Candidates { by_pair, patterns: patterns.collect() }
    }

    /// Those with the same patterns; if the rule is of plain names, those it may have among its own, and all
    /// patterns.
    fn for_rule(&self, rule: &'a TenantRule, is_named: bool) -> impl Iterator<Item = usize> {
        let alike = rule.pairs().filter_map(|pair| self.by_pair.get(&pair)).flatten();
        alike.chain(self.patterns.iter().filter(move |_| is_named)).copied()
    }
}

impl Identity {
    /// Whose the container with these labels is, by the mapping.
    pub(super) fn owner(&self, labels: &LabelsBuilder) -> Owner<'_> {
        if let Some(rule) = self.rules.iter().find(|rule| rule.matches(labels)) {
            return Owner::Rule(rule);
        }
        let claims = self.directory.tenants().into_iter().flat_map(|tenants| &tenants.rules);
        let mut claims = claims.filter(|rule| rule.matches(labels));
        let Some(first) = claims.next() else { return Owner::Nobody };
        let Some(tenant) = first.tenant_of(labels) else { return Owner::Rule(first) };
        let other = claims.filter_map(|rule| rule.tenant_of(labels)).find(|other| *other != tenant);
        other.map_or(Owner::Rule(first), |other| Owner::Disputed(tenant, other))
    }

    /// What is known of a tenant: by the document, else by configuration.
    pub fn tenant(&self, name: &str) -> Tenant {
        let of = |known: &BTreeMap<String, Tenant>| known.get(name).cloned().unwrap_or_default();
        let read = self.directory.tenants().map(|tenants| of(&tenants.known));
        read.unwrap_or_default().or(of(&self.known))
    }

    /// Every tenant something is known of.
    pub fn tenants(&self) -> BTreeMap<String, Tenant> {
        let read = self.directory.tenants().into_iter().flat_map(|tenants| tenants.known.keys());
        let names = self.known.keys().chain(read);
        names.map(|name| (name.clone(), self.tenant(name))).collect()
    }

    /// Why nothing is done for a tenant, if so.
    pub fn inactive(&self, tenant: &str) -> Option<String> {
        if self.directory == Directory::Unread {
            return Some("the document of tenants has not been read yet".to_owned());
        }
        let state = self.tenant(tenant).state.filter(|state| *state != TenantState::Active)?;
        Some(format!("it is `{}`", state.name()))
    }

    /// Why a claim to a container is refused: two tenants claim it, or it says of itself that it is
    /// somebody's whose it is not. `labels` are those of one of its series.
    pub fn refusal(
        &self,
        labels: &Labels,
        docker: Option<&BTreeMap<String, String>>,
    ) -> Option<String> {
        if let Owner::Disputed(one, other) = self.owner(&LabelsBuilder::from(labels)) {
            return Some(format!("tenants `{one}` and `{other}` both claim it: it is nobody's"));
        }
        let said = Identity::says_tenant(labels, docker);
        let enriched = self.enrich(labels, docker);
        let owner = enriched.get("tenant").unwrap_or_default();
        if said.is_empty() || said == owner {
            return None;
        }
        let claim = format!("its label `prego.tenant` says `{said}`");
        Some(match owner {
            "" => format!("{claim}, and labels are not trusted"),
            owner => format!("{claim}, and it is `{owner}`'s"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regex::Pattern;

    fn rule(name: &str, tenant: &str, plan: Option<&str>) -> TenantRule {
        let matcher = vec![("name".to_owned(), Pattern::new(name).expect("a pattern"))];
        let plan = plan.map(str::to_owned);
        TenantRule::new(matcher, Some(tenant.to_owned()), plan, None).expect("a rule")
    }

    fn known(name: &str, plan: &str, state: Option<TenantState>) -> (String, Tenant) {
        (name.to_owned(), Tenant { plan: Some(plan.to_owned()), state, ..Tenant::default() })
    }

    fn identity(trust_labels: bool) -> Identity {
        Identity {
            rules: vec![rule("own-.*", "operator", Some("pro"))],
            known: BTreeMap::from([
                known("acme", "free", Some(TenantState::Active)),
                known("old", "free", Some(TenantState::Terminated)),
            ]),
            directory: Directory::Read(Tenants {
                rules: vec![
                    rule("acme-.*", "acme", None),
                    rule("b-1", "beta", Some("free")),
                    rule(".*-1", "gamma", None),
                    rule("own-.*", "thief", None),
                ],
                known: BTreeMap::from([
                    known("acme", "pro", Some(TenantState::Suspended)),
                    known("beta", "pro", None),
                ]),
            }),
            trust_labels,
            ..Identity::default()
        }
    }

    proptest::proptest! {
        /// As if each rule were held against each.
        #[test]
        fn a_dispute_is_found_wherever_there_is_one(
            drawn in proptest::collection::vec((0_usize..9, 0_usize..3, 0_usize..3), 0..12),
        ) {
            let names = ["a-1", "a-2", "b-1", "a-.*", ".*-1", "(b)-.*", "", "a-1", "b-1"];
            let rules: Vec<TenantRule> = drawn
                .iter()
                .map(|(name, host, tenant)| {
                    let of = |label: &str, text: &str| {
                        (label.to_owned(), Pattern::new(text).expect("a pattern"))
                    };
                    let mut matchers = vec![of("name", names[*name])];
                    if *host > 0 {
                        matchers.insert(*host - 1, of("host", "web-7"));
                    }
                    let tenant = Some(format!("t{tenant}"));
                    TenantRule::new(matchers, tenant, None, None).expect("a rule")
                })
                .collect();
            let meets = |a: &TenantRule, b: &TenantRule| {
                a.tenant() != b.tenant()
                    && (a.matches_alike(b) || a.only_labels().is_some_and(|labels| b.matches(&labels)))
            };
            let all = (0..rules.len()).flat_map(|a| (0..rules.len()).map(move |b| (a, b)));
            let mut all = all.filter(|(a, b)| meets(&rules[*a], &rules[*b]));
            let first = all.next().map(|(a, b)| (a.min(b), a.max(b)));
            proptest::prop_assert_eq!(disputed(&rules), first);
        }
    }

    #[test]
    fn the_document_says_whose_a_container_is_and_on_which_plan() {
        for (name, want) in [
            ("acme-2", "plan=pro tenant=acme"),
            ("b-1", ""),
            ("x-1", "tenant=gamma"),
            ("own-1", "plan=pro tenant=operator"),
            ("nobody", ""),
        ] {
            let claims = [("container_label_prego_plan", "enterprise"), ("name", name)];
            for trust in [false, true] {
                let labels = identity(trust).enrich(&Labels::from_pairs(claims), None);
                let said = |label: &str| Some(format!("{label}={}", labels.get(label)?));
                let got: Vec<String> = ["plan", "tenant"].into_iter().filter_map(said).collect();
                let trusted = trust && !want.contains("plan=");
                let want =
                    if trusted { format!("plan=enterprise {want}") } else { want.to_owned() };
                assert_eq!(got.join(" "), want.trim(), "{name}, trusted: {trust}");
            }
        }
    }

    #[test]
    fn a_refused_claim_has_a_reason() {
        for (trust, name, says, want) in [
            (true, "b-1", "", "tenants `beta` and `gamma` both claim it: it is nobody's"),
            (true, "b-1", "beta", "tenants `beta` and `gamma` both claim it: it is nobody's"),
            (false, "acme-2", "evil", "its label `prego.tenant` says `evil`, and it is `acme`'s"),
            (true, "acme-2", "evil", "its label `prego.tenant` says `evil`, and it is `acme`'s"),
            (
                false,
                "x",
                "evil",
                "its label `prego.tenant` says `evil`, and labels are not trusted",
            ),
            (true, "x", "evil", ""),
            (false, "acme-2", "acme", ""),
            (false, "acme-2", "", ""),
        ] {
            let pairs = [("name", name), ("container_label_prego_tenant", says)];
            let refusal = identity(trust).refusal(&Labels::from_pairs(pairs), None);
            assert_eq!(refusal.unwrap_or_default(), want, "{name} says {says}, {trust}");
        }
        let docker = BTreeMap::from([("prego.tenant".to_owned(), "evil".to_owned())]);
        let labels = Labels::from_pairs([("name", "acme-2")]);
        assert!(identity(true).refusal(&labels, Some(&docker)).is_some(), "by Docker's word");
    }

    #[test]
    fn a_tenant_is_what_the_document_says_else_configuration() {
        let identity = identity(false);
        assert_eq!(identity.inactive("acme").as_deref(), Some("it is `suspended`"));
        assert_eq!(identity.inactive("old").as_deref(), Some("it is `terminated`"));
        assert_eq!(identity.inactive("beta"), None);
        assert_eq!(identity.inactive("never heard of"), None);
        let names: Vec<String> = identity.tenants().into_keys().collect();
        assert_eq!(names, ["acme", "beta", "old"]);
        let unread = Identity { directory: Directory::Unread, ..identity };
        let why = Some("the document of tenants has not been read yet");
        assert_eq!(unread.inactive("acme").as_deref(), why);
        let none = Identity { directory: Directory::None, ..unread };
        assert_eq!(none.inactive("acme"), None, "configuration says it is active");
    }
}
