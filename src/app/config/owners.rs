//! Plans and tenants, from the configuration or from a document of their own.
//!
//! A document may be a fragment of an Ansible inventory or an answer of the Control Plane, so what
//! else it holds is none of our business. What it does say is taken whole or not at all: half a list
//! of tenants is worse than the list of an hour ago.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use crate::app::documents::{Place, Source};
use crate::base::closest;
use crate::endpoint::read::{bare_url, http_options, path};
use crate::outbox::ActionKind;
use crate::policy::{
    Fault, Plan, Plans, ROLES, Tenant, TenantRule, TenantState, Tenants, disputed, shadowed,
};
use crate::regex::Pattern;
use crate::yaml::{Cursor, Fields, Kind, Level, Node, Problems, parse, read};

/// How often a document is asked for unless the configuration says otherwise.
const REFRESH: Duration = Duration::from_secs(60);
/// More often is a unit that was forgotten, and no document is worth a day's delay.
const REFRESH_ALLOWED: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(86_400);

/// So many problems of a document are told: enough to see what kind of document it is.
const PROBLEMS_MAX: usize = 20;
/// So much is told of each, in bytes: it may repeat what stands in the document.
const PROBLEM_BYTES_MAX: usize = 1000;

/// A document that was read: what it says, and the keys that were stepped over.
pub type Read<T> = Result<(T, Vec<String>), String>;

/// `plans`, or `plan_limits` as Ansible has it.
pub(super) fn catalogue(fields: &mut Fields<'_, '_>) -> Option<Plans> {
    let has_both = fields.has("plans") && fields.has("plan_limits");
    if let Some(second) = fields.key_at("plan_limits").filter(|_| has_both) {
        let at = fields.cursor();
        let problem = at.problem(second, "`plans` and `plan_limits` are two names of one section");
        at.push(problem);
    }
    let own = fields.optional("plans", |at| plans(at, true));
    fields.optional("plan_limits", |at| plans(at, true)).or(own)
}

/// `plans_from`, `tenants_from`.
pub(super) fn source(at: Cursor<'_, '_>, base: &Path) -> Option<Source> {
    let mut fields = Fields::open(at)?;
    let file = fields.optional("file", |at| path(at, base)).map(Place::File);
    let url = fields.optional("url", |at| bare_url(at, "basic_auth"));
    if fields.has("file") == fields.has("url") {
        fields.cursor().error_hint("names no document", "write either `file` or `url`");
    }
    let http = http_options(&mut fields, base);
    let refresh =
        fields.or("refresh_interval", REFRESH, |at| read::duration_within(at, REFRESH_ALLOWED));
    fields.finish();
    let place = file.or(url.map(|url| Place::Http { url, http: Box::new(http) }))?;
    Some(Source { place, refresh })
}

/// `tenants`, in the operator's order.
pub(super) fn own_tenants(mut at: Cursor<'_, '_>, expected: Expected<'_>) -> Option<Tenants> {
    let tenants = tenants(at.again(), expected)?;
    if let Some((first, second)) = shadowed(&tenants.rules) {
        let [first, second] = [first, second].map(|index| tenants.rules[index].to_string());
        at.warning(format!(
            "{first}, so that {second} never counts: the first rule that matches does"
        ));
    }
    Some(tenants)
}

/// Reads a document of plans: `plan_limits: {NAME: {mem_limit, mem_soft, cpu_limit, order}}`.
pub fn plans_document(name: &str, text: &str) -> Read<Plans> {
    document(name, text, "plan_limits", |at| plans(at, false))
}

/// Reads a document of tenants: `tenants: [{tenant, plan, state, opt_in, busy, match, role}]`.
pub fn tenants_document(name: &str, text: &str) -> Read<Tenants> {
    document(name, text, "tenants", |mut at| {
        let tenants = tenants(at.again(), Expected::default())?;
        let Some((one, other)) = disputed(&tenants.rules) else { return Some(tenants) };
        let claims = |index: usize| tenants.rules[index].to_string();
        at.error(format!("two tenants claim one container: {} and {}", claims(one), claims(other)));
        None
    })
}

/// Reads one key of a document; the error is its first problems, a line each.
fn document<T>(
    name: &str,
    text: &str,
    key: &'static str,
    read: impl FnOnce(Cursor<'_, '_>) -> Option<T>,
) -> Read<T> {
    let mut problems = Problems::default();
    let node = parse(name, text, &mut problems);
    let value = node.as_ref().and_then(|node| {
        let mut fields = Fields::open(Cursor::root(name, node, &mut problems))?;
        fields.required(key, read)
    });
    match (value, node) {
        (Some(value), Some(node)) if !problems.has_errors() => Ok((value, other_keys(&node, key))),
        _ => Err(told(&problems)),
    }
}

/// What is wrong with a document, in a text that does not grow with it.
fn told(problems: &Problems) -> String {
    let mut errors = problems.iter().filter(|problem| problem.level == Level::Error);
    let first = errors.by_ref().take(PROBLEMS_MAX).map(|problem| {
        let mut line = problem.to_string();
        if line.len() > PROBLEM_BYTES_MAX {
            line.truncate(line.floor_char_boundary(PROBLEM_BYTES_MAX));
            line.push('…');
        }
        line
    });
    let mut lines: Vec<String> = first.collect();
    let more = errors.count();
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines.join("\n")
}

fn other_keys(node: &Node, own: &str) -> Vec<String> {
    let Kind::Map(entries) = &node.kind else { return Vec::new() };
    let keys = entries.iter().map(|(key, _)| key.text.clone());
    keys.filter(|key| key != own).collect()
}

/// A share of the processor, in cores.
fn cores(mut at: Cursor<'_, '_>) -> Option<f64> {
    let cores = read::float(at.again())?;
    if cores <= 0.0 {
        at.error(format!("`{cores}` must be above 0"));
        return None;
    }
    Some(cores)
}

/// Plans by name. `alone`: the section is ours, so a key we do not know is a mistake.
fn plans(mut at: Cursor<'_, '_>, alone: bool) -> Option<Plans> {
    let (mut order, mut are_read, mut is_ordered) = (0, true, false);
    let mut plans = at.each_entry(|key, at| {
        order += 1;
        let mut fields = Fields::open(at)?;
        let mem_limit = fields.required("mem_limit", read::bytes);
        let cpu_limit = fields.required("cpu_limit", cores);
        is_ordered |= fields.has("order");
        are_read &= mem_limit.is_some() && cpu_limit.is_some();
        // What does not read has been told; in its place stands what is not also out of range.
        let plan = Plan {
            name: key.text.clone(),
            order: fields.or("order", order, read::integer),
            mem_limit_bytes: mem_limit.unwrap_or(u64::MAX),
            mem_soft_bytes: fields.or("mem_soft", 0, read::bytes),
            cpu_limit_cores: cpu_limit.unwrap_or(1.0),
        };
        if alone {
            fields.finish();
        }
        Some(plan)
    })?;
    if plans.is_empty() {
        at.error("names no plan");
    }
    if !is_ordered {
        by_size(&mut plans);
    }
    // Limits that stand in for what does not read say nothing about which plan is bigger.
    let plans = if are_read { Plans::new(plans) } else { Err(Plans::faults(&plans)) };
    plans.map_err(|faults| blame(at, &faults)).ok()
}

/// Says each fault where its plan stands.
fn blame(mut at: Cursor<'_, '_>, faults: &[Fault]) {
    at.each_entry(|key, mut at| {
        let of_it = faults.iter().filter(|fault| fault.plan == key.text);
        of_it.for_each(|fault| at.error(&fault.why));
        Some(())
    });
}

/// Where nobody said which plan is bigger, their limits do: a file may be sorted by name.
fn by_size(plans: &mut [Plan]) {
    plans.sort_by(|a, b| {
        let memory = a.mem_limit_bytes.cmp(&b.mem_limit_bytes);
        memory.then(a.cpu_limit_cores.total_cmp(&b.cpu_limit_cores))
    });
    for (order, plan) in (1..).zip(plans) {
        plan.order = order;
    }
}

/// What other sections say that tenants must agree with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expected<'a> {
    /// The plans there are, if they are known.
    pub plans: Option<&'a Plans>,
    /// The tenant the whole host belongs to.
    pub owner: Option<&'a str>,
}

/// Tenants and whose container is whose.
fn tenants(mut at: Cursor<'_, '_>, expected: Expected<'_>) -> Option<Tenants> {
    let mut known: BTreeMap<String, Tenant> = BTreeMap::new();
    let rules = at.each_item(|mut at| {
        let (rule, tenant) = entry(at.again(), expected)?;
        if let Some((name, said)) = tenant
            && let Err(field) = known.entry(name.clone()).or_default().merge(&said)
        {
            at.error(format!("`{field}` of tenant `{name}` was said differently above"));
        }
        Some(rule)
    })?;
    Some(Tenants { rules: rules.into_iter().flatten().collect(), known })
}

type Entry = (Option<TenantRule>, Option<(String, Tenant)>);

/// An entry says whose containers are, what is known of a tenant, or both.
fn entry(at: Cursor<'_, '_>, expected: Expected<'_>) -> Option<Entry> {
    let mut fields = Fields::open(at)?;
    let matches = fields.has("match");
    let matchers = fields.optional("match", matchers);
    let plan = fields.optional("plan", |at| known_plan(at, expected.plans));
    let tenant = fields.optional("tenant", read::string);
    let role = fields.optional("role", role);
    let said = Tenant {
        plan: plan.clone().filter(|_| !matches),
        state: fields.optional("state", state),
        opt_in: fields.optional("opt_in", kinds),
        busy: fields.optional("busy", read::boolean),
    };
    let strange = expected.owner.zip(tenant.as_ref()).filter(|(owner, named)| owner != named);
    if let Some((owner, named)) = strange {
        let why = format!("the host belongs to `{owner}` (`identity`), so nothing is `{named}`'s");
        fields.cursor().error(why);
    }
    let is_pattern = tenant.as_ref().is_some_and(|name| name.contains('$'));
    let is_said = said != Tenant::default();
    if is_said && (is_pattern || tenant.is_none()) {
        let what = "`state`, `opt_in` and `busy` are of one tenant";
        fields.cursor().error_hint(what, "name it in `tenant`");
    }
    if !matches && (role.is_some() || tenant.is_none()) {
        let hint = "write which containers it is about, as `match: {name: 'acme-.*'}`";
        fields.cursor().error_hint("`match` is missing", hint);
    }
    let known = tenant.clone().filter(|_| is_said || !matches).map(|name| (name, said));
    let rule = match (matches, matchers) {
        (true, Some(matchers)) => TenantRule::new(matchers, tenant, plan, role)
            .map_err(|error| fields.cursor().error(error))
            .ok(),
        _ => None,
    };
    fields.finish();
    Some((rule, known))
}

/// Of words of two or three letters one letter that differs makes another one: `api` is not `app`, and `mq`
/// not `m2`. One that is missing, or two that changed places, do not.
fn is_another_word(role: &str, known: &str) -> bool {
    let letters = |word: &str| {
        let mut letters: Vec<char> = word.to_lowercase().chars().collect();
        letters.sort_unstable();
        letters
    };
    let (role, known) = (letters(role), letters(known));
    role.len() <= 3 && role.len() == known.len() && role != known
}

/// A role; others than those with a meaning are the operator's own, unless they look like one.
fn role(mut at: Cursor<'_, '_>) -> Option<String> {
    let role = read::string(at.again())?;
    let is_known = ROLES.contains(&role.as_str());
    let close = closest(&role, ROLES).filter(|known| !is_known && !is_another_word(&role, known));
    if let Some(known) = close {
        at.warning(format!(
            "`{role}` is a role without a meaning, and is never restarted; did you mean `{known}`?"
        ));
    }
    Some(role)
}

fn matchers(mut at: Cursor<'_, '_>) -> Option<Vec<(String, Pattern)>> {
    let matchers = at.each_entry(|key, mut at| {
        // A matcher that does not read must not leave a rule that matches more.
        let pattern = read::string(at.again())
            .and_then(|text| Pattern::new(&text).map_err(|error| at.error(error)).ok());
        Some(pattern.map(|pattern| (key.text.clone(), pattern)))
    })?;
    matchers.into_iter().collect()
}

/// The name of a plan that is written under `plans`, if that is all there is.
pub(super) fn known_plan(mut at: Cursor<'_, '_>, plans: Option<&Plans>) -> Option<String> {
    let plan = read::string(at.again())?;
    if let Some(plans) = plans.filter(|plans| plans.get(&plan).is_none()) {
        let hint = match closest(&plan, plans.iter().map(|plan| plan.name.as_str())) {
            Some(known) => format!("did you mean `{known}`?"),
            None => "write it under `plans`".to_owned(),
        };
        at.error_hint(format!("`{plan}` is not a plan"), hint);
    }
    Some(plan)
}

/// A state, in any case: some Control Planes write `Active`.
fn state(mut at: Cursor<'_, '_>) -> Option<TenantState> {
    let word = at.node.text().unwrap_or_default().to_ascii_lowercase();
    let found = TenantState::ALL.iter().find(|(name, _)| *name == word);
    if found.is_none() {
        return read::one_of(at.again(), &TenantState::ALL);
    }
    found.map(|(_, state)| *state)
}

/// `true` for all, `false` for none, or a list of actions.
pub(super) fn kinds(mut at: Cursor<'_, '_>) -> Option<BTreeSet<ActionKind>> {
    if matches!(at.node.kind, Kind::Scalar(_)) {
        let all = read::boolean(at)?;
        return Some(ActionKind::ALL.into_iter().filter(|_| all).collect());
    }
    let words = ActionKind::ALL.map(|kind| (kind.name(), kind));
    Some(at.each_item(|at| read::one_of(at, &words))?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ansible_fragment_is_a_catalogue() {
        let text = "---\nuser_plan: pro\nplan_limits:\n  free: {mem_limit: 512m, mem_soft: 256m, \
                    cpu_limit: \"0.5\", disk: 10g}\n  pro:\n    mem_limit: 2g\n    mem_soft: 1g\n    \
                    cpu_limit: 1.5\ngreeting: \"{{ user_plan }}\"\n";
        let (plans, others) = plans_document("all.yml", text).expect("reads");
        let read: Vec<_> = plans.iter().map(|p| (&*p.name, p.order, p.mem_limit_bytes)).collect();
        assert_eq!(read, [("free", 1, 512 << 20), ("pro", 2, 2 << 30)]);
        assert_eq!(plans.get("free").map(|plan| plan.cpu_limit_cores), Some(0.5));
        assert_eq!(others, ["user_plan", "greeting"]);
        let by_name = "plan_limits:\n  enterprise: {mem_limit: 8g, cpu_limit: 4}\n  free: {mem_limit: 1g, \
                       cpu_limit: 0.5}\n  pro: {mem_limit: 2g, cpu_limit: 1.5}\n";
        let (plans, _) = plans_document("all.yml", by_name).expect("reads");
        let names: Vec<_> = plans.iter().map(|plan| plan.name.as_str()).collect();
        assert_eq!(names, ["free", "pro", "enterprise"], "nobody wrote an order: by size");
        let json = r#"{"plan_limits":{"free":{"mem_limit":"1g","cpu_limit":0.5}}}"#;
        assert!(plans_document("https://cp/plans", json).is_ok());
    }

    #[test]
    fn a_faulty_catalogue_is_refused_whole() {
        let plan = |limits: &str| format!("plan_limits:\n  free: {{{limits}}}\n");
        let good = "\n  pro: {mem_limit: 2g, cpu_limit: 1}\n";
        for (text, want) in [
            (
                plan("mem_limit: -512m, cpu_limit: 1"),
                "p.yml:2:21: plan_limits.free.mem_limit: `-512m`",
            ),
            (plan("mem_limit: 1g, cpu_limit: -1"), "cpu_limit: `-1` must be above 0"),
            (plan("mem_limit: 0, cpu_limit: 1"), "mem_limit must be above 0"),
            (plan("cpu_limit: 1"), "p.yml:2:9: plan_limits.free: `mem_limit` is missing"),
            (plan("mem_limit: 1g") + good, "`cpu_limit` is missing"),
            (plan("mem_limit: 1g, cpu_limit: 1, order: 2") + good, "both have order 2"),
            (
                plan("mem_limit: 2g, cpu_limit: 1, order: 1")
                    + "\n  pro: {mem_limit: 1g, cpu_limit: 1, order: 2}\n",
                "p.yml:4:8: plan_limits.pro: plan `pro` (order 2) has a lower mem_limit",
            ),
            ("plan_limits: {}\n".to_owned(), "names no plan"),
            (
                "plans: {free: {mem_limit: 1g, cpu_limit: 1}}\n".to_owned(),
                "`plan_limits` is missing",
            ),
            ("plan_limits: {free: {mem_li".to_owned(), "p.yml:1:"),
            ("<html>502</html>".to_owned(), "p.yml:1:1: must be a map"),
            (String::new(), "p.yml:1:1: "),
        ] {
            let error = plans_document("p.yml", &text).expect_err(&text);
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn a_document_of_tenants_is_read() {
        let text = "version: 7\ntenants:\n\
                    - {tenant: acme, plan: pro, state: Active, opt_in: [nudge]}\n\
                    - {tenant: acme, match: {name: 'acme-.*'}, role: app, busy: true}\n\
                    - {tenant: beta, state: suspended, opt_in: false, match: {name: beta-1}}\n\
                    - {match: {name: '([a-z]+)-web'}, tenant: $1}\n";
        let (Tenants { rules, known }, others) = tenants_document("t.yml", text).expect("reads");
        assert_eq!((rules.len(), others), (3, vec!["version".to_owned()]));
        let acme = Tenant {
            plan: Some("pro".to_owned()),
            state: Some(TenantState::Active),
            opt_in: Some(BTreeSet::from([ActionKind::Nudge])),
            busy: Some(true),
        };
        let beta = Tenant {
            state: Some(TenantState::Suspended),
            opt_in: Some(BTreeSet::new()),
            ..Tenant::default()
        };
        let want = [("acme".to_owned(), acme), ("beta".to_owned(), beta)];
        assert_eq!(known, BTreeMap::from(want));
    }

    /// The refusal goes to the log, to readers of the API and into mails.
    #[test]
    fn of_many_problems_the_first_are_told() {
        let entries: String = (0..1000).map(|n| format!("- {{tenant: t{n}, plam: x}}\n")).collect();
        let error = tenants_document("t.yml", &format!("tenants:\n{entries}")).expect_err("faulty");
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines.len(), PROBLEMS_MAX + 1);
        assert!(lines[0].contains("did you mean `plan`?"), "{error}");
        assert_eq!(lines.last(), Some(&"and 980 more"));
        let long = "x".repeat(1 << 20);
        let error =
            tenants_document("t.yml", &format!("tenants:\n- {{tenant: a, state: {long}}}\n"));
        let error = error.expect_err("faulty");
        assert!(error.len() < 2000, "{} bytes", error.len());
    }

    #[test]
    fn a_faulty_document_of_tenants_is_refused_whole() {
        let good = "tenants:\n- {tenant: acme, match: {name: acme-1}}\n";
        for (more, want) in [
            ("- {tenant: beta, match: {name: acme-1}}", "two tenants claim one container: "),
            ("- {tenant: beta, match: {name: 'acme-.*'}}", "two tenants claim one container: "),
            ("- {tenant: beta, state: asleep}", "t.yml:3:25: tenants[1].state: `asleep`"),
            ("- {tenant: beta, opt_in: [nuge]}", "did you mean `nudge`?"),
            ("- {tenant: acme, state: active}\n- {tenant: acme, state: trial}", "said differently"),
            ("- {tenant: $1, state: trial, match: {name: '(.*)'}}", "are of one tenant"),
            ("- {plan: pro}", "`match` is missing"),
            ("- {tenant: beta, match: {}}", "would match everything"),
            (
                "- {tenant: $1, match: {name: 'a-.*'}}",
                "`$1` names a group that the pattern `a-.*` lacks",
            ),
            ("- {tenant: $2, match: {name: '(a)-.*'}}", "lacks"),
            ("- {tenant: '${x}', match: {name: '(?P<y>.*)'}}", "lacks"),
            ("- {tenant: $1, match: {name: acme-2}}", "lacks"),
            ("- {tenant: beta, match: {name: '('}}", "t.yml:3:"),
            ("- {tenant: beta, sate: trial}", "did you mean `state`?"),
            ("- {tenant: be", "t.yml:3:"),
        ] {
            let error = tenants_document("t.yml", &format!("{good}{more}\n")).expect_err(more);
            assert!(error.contains(want), "{more}: {error}");
        }
        let same = "- {tenant: acme, match: {name: 'acme-.*'}}\n";
        assert!(tenants_document("t.yml", &format!("{good}{same}")).is_ok(), "one tenant, twice");
        let empty = tenants_document("t.yml", "tenants: []").expect("nobody is here");
        assert_eq!(empty.0, Tenants::default());
    }
}
