//! `fixedcount`: how many documents M2 may pin, from numbers on the command line or from a running
//! plimsoll.
//!
//! Nothing is reckoned here. The rules in `rules/m2.yml` are: for numbers on the command line they
//! are evaluated once over just these, a running plimsoll is asked for what it has recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{anyhow, bail};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::files::built_in_rules;
use super::args::{FixedCountArgs, Format};
use super::ask::ask;
use super::out::{Ink, Out};
use super::{exit, finish, runtime};
use crate::base::{Labels, METRIC_NAME, Sample, Timestamp, format_duration};
use crate::engine::{Rehearsal, Stage};
use crate::promql::{self, EvalOptions, ParseOptions, instant};
use crate::rules::{self, Group, RuleKind};

/// The alerts that say whether what is pinned is right, by the rules that raise them.
const VERDICTS: [(&str, &str); 3] = [
    ("M2PinnedMemoryOverBudget", "over the budget"),
    ("M2PinnedMemoryOverCache", "over a tenth of the cache's memory"),
    ("M2FixedCountTooSmall", "fewer than are made"),
];
/// How far back documents are counted where nobody says how long one is cached, as in the rules.
const WINDOW: Duration = Duration::from_secs(20 * 60);
/// Any time will do for numbers without one.
const NOW: Timestamp = Timestamp(0);

/// One host's memory, and what its virtual hosts pin together.
#[derive(Serialize, Debug, Default)]
struct Host {
    host: String,
    memory_bytes: Option<f64>,
    pinned_bytes: Option<f64>,
    pinned_ratio: Option<f64>,
    budget_bytes: Option<f64>,
    cache_budget_bytes: Option<f64>,
    verdicts: Vec<&'static str>,
    vhosts: Vec<Vhost>,
}

/// One virtual host.
#[derive(Serialize, Debug, Default)]
struct Vhost {
    vhost: String,
    docs: Option<f64>,
    /// How much of its window plimsoll has seen; nothing of numbers on the command line.
    counted_seconds: Option<f64>,
    window_seconds: Option<f64>,
    doc_bytes: Option<f64>,
    doc_avg_bytes: Option<f64>,
    fixed_count: Option<f64>,
    pinned_bytes: Option<f64>,
    fixed_count_max: Option<f64>,
    fixed_count_recommended: Option<f64>,
    verdicts: Vec<&'static str>,
    /// What to write into `setting.json`.
    setting: Option<Value>,
}

/// Answers a query: the figures by their labels.
type Asker<'a> = dyn FnMut(&str) -> anyhow::Result<Vec<(Labels, f64)>> + 'a;

pub fn fixedcount(args: &FixedCountArgs, out: &mut Out<'_>) -> u8 {
    let outcome = answers(args).map(|hosts| {
        match out.format {
            Format::Json => out.json(&json!({ "hosts": hosts })),
            Format::Text => {
                for host in &hosts {
                    let shown = host.shown(out);
                    out.raw(shown.as_bytes());
                }
            }
        }
        code(&hosts)
    });
    finish(outcome, out)
}

fn code(hosts: &[Host]) -> u8 {
    let mut vhosts = hosts.iter().flat_map(|host| &host.vhosts);
    match hosts.iter().any(|host| !host.verdicts.is_empty()) {
        true => exit::PROBLEMS,
        false if vhosts.any(|vhost| vhost.fixed_count_recommended.is_some()) => exit::OK,
        false => exit::FAILED,
    }
}

fn answers(args: &FixedCountArgs) -> anyhow::Result<Vec<Host>> {
    let (groups, _) = rules::load(&built_in_rules(), &ParseOptions::default());
    let groups: Vec<Group> =
        groups.into_iter().filter(|group| group.file.ends_with("m2.yml")).collect();
    match args.docs {
        Some(docs) => {
            let rehearsal = rehearse(args, docs, &groups)?;
            gather(&groups, &mut |query| rehearsed(&rehearsal, query))
        }
        None => {
            let runtime = runtime()?;
            let hosts = gather(&groups, &mut |query| {
                let form = [("query", query)];
                let (data, _) = runtime.block_on(ask(&args.url, "/api/v1/query", &form))?;
                Ok(data["result"].as_array().into_iter().flatten().filter_map(figure).collect())
            })?;
            if hosts.is_empty() {
                bail!(
                    "{}: no documents were counted: is M2 scraped, and are rules/m2.yml loaded? The \
                     alert M2BudgetInputsMissing names what is missing",
                    args.url
                );
            }
            Ok(hosts)
        }
    }
}

/// The rules over nothing but these numbers.
fn rehearse(args: &FixedCountArgs, docs: u64, groups: &[Group]) -> anyhow::Result<Rehearsal> {
    if docs < 100 {
        bail!("--docs: fewer than 100 documents make no average worth multiplying");
    }
    let series = [
        ("plimsoll_m2_docs_peak", true, Some(docs)),
        ("plimsoll_m2_doc_bytes_peak", true, args.bytes),
        ("plimsoll_m2_fixed_count", true, args.fixed_count),
        ("plimsoll_m2_memory_bytes", false, args.memory),
        ("m2_sys_memory_limit_rt", false, args.rt_memory),
    ];
    let mut rehearsal = Rehearsal::new(groups.to_vec(), Duration::from_secs(60), Stage::default());
    for (name, of_vhost, value) in series {
        let Some(value) = value else { continue };
        let vhost = of_vhost.then_some(("vhost", args.vhost.as_str()));
        let labels = Labels::from_pairs([(METRIC_NAME, name)].into_iter().chain(vhost));
        let id = rehearsal.series(&labels).map_err(|refused| anyhow!("{refused}"))?;
        rehearsal.append(id, Sample { at: NOW, value: value as f64 });
    }
    let evaluated = rehearsal.evaluate(NOW);
    evaluated.map_err(|broken| anyhow!("{}: {}", broken.rule, broken.message))?;
    Ok(rehearsal)
}

fn rehearsed(rehearsal: &Rehearsal, query: &str) -> anyhow::Result<Vec<(Labels, f64)>> {
    let expr = promql::parse(query, &ParseOptions::default()).map_err(|e| anyhow!("{e}"))?;
    let found = instant(&expr, rehearsal.source(), NOW, &EvalOptions::default());
    match found.map_err(|error| anyhow!("{error}"))?.value {
        promql::Value::Vector(vector) => Ok(vector),
        _ => Ok(Vec::new()),
    }
}

/// One series of an answer of the API.
fn figure(series: &Value) -> Option<(Labels, f64)> {
    let labels = serde_json::from_value(series["metric"].clone()).ok()?;
    Some((labels, series["value"][1].as_str()?.parse().ok()?))
}

/// Everything there is to say, host by host.
fn gather(groups: &[Group], query: &mut Asker<'_>) -> anyhow::Result<Vec<Host>> {
    let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
    let mut found: BTreeMap<Labels, Vhost> = BTreeMap::new();
    for (labels, docs) in query("max by (host, vhost) (m2:docs:peak)")? {
        found.entry(labels).or_default().docs = Some(docs);
    }
    for (labels, seconds) in query("max by (host, vhost) (plimsoll_m2_counted_seconds)")? {
        found.entry(labels).or_default().counted_seconds = Some(seconds);
    }
    for (labels, vhost) in found {
        let name = host_of(&labels);
        let host =
            hosts.entry(name.clone()).or_insert_with(|| Host { host: name, ..Host::default() });
        host.vhosts.push(Vhost { vhost: vhost_of(&labels), ..vhost });
    }
    type HostField = fn(&mut Host) -> &mut Option<f64>;
    let of_host: [(&str, HostField); 5] = [
        ("m2:memory_bytes", |host| &mut host.memory_bytes),
        ("sum by (host) (m2:pinned_bytes)", |host| &mut host.pinned_bytes),
        ("m2:pinned_ratio", |host| &mut host.pinned_ratio),
        ("m2:pinned_budget_bytes", |host| &mut host.budget_bytes),
        ("m2:rt_budget_bytes", |host| &mut host.cache_budget_bytes),
    ];
    for (text, field) in of_host {
        for (labels, value) in query(text)? {
            if let Some(host) = hosts.get_mut(&host_of(&labels)) {
                *field(host) = Some(value);
            }
        }
    }
    type VhostField = fn(&mut Vhost) -> &mut Option<f64>;
    let of_vhost: [(&str, VhostField); 7] = [
        ("max by (host, vhost) (plimsoll_m2_window_seconds)", |vhost| &mut vhost.window_seconds),
        ("max by (host, vhost) (m2:doc_bytes:peak)", |vhost| &mut vhost.doc_bytes),
        ("max by (host, vhost) (m2:doc_avg_bytes:20m)", |vhost| &mut vhost.doc_avg_bytes),
        ("max by (host, vhost) (plimsoll_m2_fixed_count)", |vhost| &mut vhost.fixed_count),
        ("sum by (host, vhost) (m2:pinned_bytes)", |vhost| &mut vhost.pinned_bytes),
        ("floor(m2:fixed_count_max)", |vhost| &mut vhost.fixed_count_max),
        ("m2:fixed_count_recommended", |vhost| &mut vhost.fixed_count_recommended),
    ];
    for (text, field) in of_vhost {
        for (labels, value) in query(text)? {
            if let Some(vhost) = vhost_mut(&mut hosts, &labels) {
                *field(vhost) = Some(value);
            }
        }
    }
    judge(groups, query, &mut hosts)?;
    for vhost in hosts.values_mut().flat_map(|host| &mut host.vhosts) {
        vhost.setting = vhost.fixed_count_recommended.map(fragment);
    }
    Ok(hosts.into_values().collect())
}

/// Asks what the alerts ask.
fn judge(
    groups: &[Group],
    query: &mut Asker<'_>,
    hosts: &mut BTreeMap<String, Host>,
) -> anyhow::Result<()> {
    let all = || groups.iter().flat_map(|group| &group.rules);
    for (alert, verdict) in VERDICTS {
        let is_it =
            |rule: &&rules::Rule| matches!(rule.kind, RuleKind::Alert(_)) && rule.name() == alert;
        let Some(rule) = all().find(is_it) else { continue };
        let found: BTreeSet<Labels> =
            query(&rule.expr.to_string())?.into_iter().map(|(labels, _)| labels).collect();
        for labels in found {
            let verdicts = match labels.get("vhost") {
                Some(_) => vhost_mut(hosts, &labels).map(|vhost| &mut vhost.verdicts),
                None => hosts.get_mut(&host_of(&labels)).map(|host| &mut host.verdicts),
            };
            verdicts.into_iter().for_each(|verdicts| verdicts.push(verdict));
        }
    }
    Ok(())
}

fn host_of(labels: &Labels) -> String {
    labels.get("host").unwrap_or_default().to_owned()
}

fn vhost_of(labels: &Labels) -> String {
    labels.get("vhost").unwrap_or_default().to_owned()
}

fn vhost_mut<'h>(hosts: &'h mut BTreeMap<String, Host>, labels: &Labels) -> Option<&'h mut Vhost> {
    let name = vhost_of(labels);
    hosts.get_mut(&host_of(labels))?.vhosts.iter_mut().find(|vhost| vhost.vhost == name)
}

/// The fragment of `setting.json` that pins so many.
fn fragment(count: f64) -> Value {
    json!({"functions": {"network": {"cache": {"meta": {"fixedCount": count as u64}}}}})
}

impl Host {
    fn shown(&self, out: &Out<'_>) -> String {
        let mut text = String::new();
        for vhost in &self.vhosts {
            text += &vhost.shown(out);
        }
        let name = if self.host.is_empty() { "together" } else { &self.host };
        let pins =
            self.vhosts.iter().any(|vhost| vhost.fixed_count.is_some_and(|count| count > 0.0));
        let unknown = if pins { "an unknown part" } else { "nothing pinned" };
        let mut line = vec![self.pinned_bytes.map_or(unknown.to_owned(), bytes)];
        line.extend(self.memory_bytes.map(|memory| format!("of {}", bytes(memory))));
        line.extend(self.pinned_ratio.map(|ratio| format!("= {:.3} %", ratio * 100.0)));
        line.extend(self.budget_bytes.map(|budget| format!("(at most {})", bytes(budget))));
        line.extend(
            self.cache_budget_bytes
                .map(|at_most| format!("(of the cache's memory at most {})", bytes(at_most))),
        );
        text += &format!("{}: {}", Out::on_a_line(name), line.join(" "));
        if self.pinned_bytes.is_some() {
            text += &format!(": {}", verdict(&self.verdicts, "within the budget", out));
        }
        text + "\n"
    }
}

impl Vhost {
    fn shown(&self, out: &Out<'_>) -> String {
        let count = |figure: Option<f64>| figure.map_or("unknown".to_owned(), grouped);
        let mut text = format!("{}\n", Out::on_a_line(&self.vhost));
        let mut line = |name: &str, rest: &str| text += &format!("  {name:<12}  {rest}\n");
        let size = self.doc_bytes.map(|total| format!(", {} B", grouped(total)));
        let each = self.doc_avg_bytes.map(|each| format!(", {each:.1} B each"));
        // Bytes that make no average are those of too few documents.
        let is_few = self.doc_bytes.is_some() && self.doc_avg_bytes.is_none();
        let docs = self.docs.filter(|_| !is_few);
        match docs {
            Some(docs) => {
                let made = [Some(grouped(docs)), size, each];
                line("documents", &made.into_iter().flatten().collect::<String>());
            }
            None => line("documents", &self.too_few()),
        }
        if let Some(fixed) = self.fixed_count {
            let pins = self.pinned_bytes.map(|pinned| format!(": {}", bytes(pinned)));
            let verdict = match &self.verdicts[..] {
                [] => String::new(),
                found => format!(", {}", verdict(found, "", out)),
            };
            line("fixedCount", &format!("{}{}{verdict}", grouped(fixed), pins.unwrap_or_default()));
        }
        if docs.is_some() {
            line("at most", &count(self.fixed_count_max));
            line("recommended", &count(self.fixed_count_recommended));
        }
        if let Some(setting) = &self.setting {
            line("setting.json", &setting.to_string());
        }
        text
    }

    /// Why there is no count.
    fn too_few(&self) -> String {
        let told = self.window_seconds.and_then(|told| Duration::try_from_secs_f64(told).ok());
        let whole = told.unwrap_or(WINDOW);
        let seen = self.counted_seconds.map_or(whole, |seen| Duration::from_secs(seen as u64));
        match seen < whole {
            true => {
                let (seen, whole) = (format_duration(seen), format_duration(whole));
                format!("counted over {seen} of {whole}: no advice yet")
            }
            false => format!("fewer than 100 in {}: no advice", format_duration(whole)),
        }
    }
}

fn verdict(found: &[&str], good: &str, out: &Out<'_>) -> String {
    match found {
        [] => out.inked(Ink::Good, good),
        found => out.inked(Ink::Bad, &found.join(", ")),
    }
}

/// Decimal and binary, because the guide mixes them: `397.9 MB (379.4 MiB)`.
fn bytes(bytes: f64) -> String {
    let mib = f64::from(1 << 20);
    format!("{:.1} MB ({:.1} MiB)", bytes / 1e6, bytes / mib)
}

/// `38,746`.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && text != "-" {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(memory: u64, fixed_count: u64) -> FixedCountArgs {
        FixedCountArgs {
            docs: Some(38_746),
            bytes: Some(385_390_147),
            memory: Some(memory),
            fixed_count: Some(fixed_count),
            rt_memory: None,
            vhost: "example.com".to_owned(),
            url: String::new(),
        }
    }

    fn only(args: &FixedCountArgs) -> Host {
        let mut hosts = answers(args).expect("the rules evaluate");
        assert_eq!((hosts.len(), hosts[0].vhosts.len()), (1, 1));
        hosts.remove(0)
    }

    #[test]
    fn the_guides_figures() {
        for (memory, ratio, most) in
            [(16_000_000_000, 0.024866, 48_257.0), (16 << 30, 0.023159, 51_816.0)]
        {
            let host = only(&args(memory, 40_000));
            assert!((host.pinned_ratio.expect("known") - ratio).abs() < 5e-7, "{host:?}");
            assert_eq!(host.vhosts[0].fixed_count_max, Some(most));
            assert_eq!(host.vhosts[0].fixed_count_recommended, Some(40_000.0));
            assert!(host.verdicts.is_empty() && host.vhosts[0].verdicts.is_empty(), "{host:?}");
        }
        assert_eq!(only(&args(16 << 30, 51_816)).verdicts, Vec::<&str>::new());
        assert_eq!(only(&args(16 << 30, 51_817)).verdicts, ["over the budget"]);
        assert_eq!(only(&args(16 << 30, 30_000)).vhosts[0].verdicts, ["fewer than are made"]);
    }

    #[test]
    fn the_caches_own_memory_is_the_nearer_limit_where_there_is_less_of_it() {
        let host =
            only(&FixedCountArgs { rt_memory: Some(3_000_000_000), ..args(16 << 30, 40_000) });
        assert_eq!(host.verdicts, ["over a tenth of the cache's memory"]);
        assert_eq!(host.vhosts[0].fixed_count_max, Some(30_161.0));
        assert_eq!(host.vhosts[0].fixed_count_recommended, Some(30_161.0));
    }

    #[test]
    fn without_a_fixed_count_there_is_a_recommendation_and_with_few_documents_a_reason() {
        let host = only(&FixedCountArgs { fixed_count: None, ..args(16 << 30, 0) });
        assert_eq!(
            (host.vhosts[0].fixed_count_recommended, host.pinned_bytes),
            (Some(40_000.0), None)
        );
        let few = answers(&FixedCountArgs { docs: Some(99), ..args(16 << 30, 0) });
        assert!(few.expect_err("too few").to_string().contains("fewer than 100"));
    }

    #[test]
    fn a_window_that_was_not_seen_whole_says_so_instead_of_a_number() {
        let labels = Labels::from_pairs([("host", "web-7"), ("vhost", "example.com")]);
        let shown = |counted: f64| {
            let hosts = gather(&[], &mut |query| {
                let is_it = query.contains("plimsoll_m2_counted_seconds");
                Ok(is_it.then(|| (labels.clone(), counted)).into_iter().collect())
            });
            let vhost = hosts.expect("they are asked").remove(0).vhosts.remove(0);
            assert_eq!(
                (vhost.docs, vhost.fixed_count_recommended, &vhost.setting),
                (None, None, &None)
            );
            let (mut data, mut talk) = (Vec::new(), Vec::new());
            let out = Out {
                data: &mut data,
                talk: &mut talk,
                format: Format::Text,
                colours: (false, false),
            };
            vhost.shown(&out)
        };
        assert_eq!(
            shown(9.7),
            "example.com\n  documents     counted over 9s of 20m: no advice yet\n"
        );
        assert_eq!(
            shown(1200.0),
            "example.com\n  documents     fewer than 100 in 20m: no advice\n"
        );
    }

    #[test]
    fn of_too_few_documents_there_is_no_advice_though_others_pin() {
        let (groups, _) = rules::load(&built_in_rules(), &ParseOptions::default());
        let groups: Vec<Group> =
            groups.into_iter().filter(|group| group.file.ends_with("m2.yml")).collect();
        let stage = Stage::default();
        let mut rehearsal = Rehearsal::new(groups.clone(), Duration::from_secs(60), stage);
        for (name, vhost, value) in [
            ("plimsoll_m2_memory_bytes", "", 16e9),
            ("plimsoll_m2_docs_peak", "a", 38_746.0),
            ("plimsoll_m2_doc_bytes_peak", "a", 387_460_000.0),
            ("plimsoll_m2_fixed_count", "a", 40_000.0),
            ("plimsoll_m2_docs_peak", "few", 99.0),
            ("plimsoll_m2_doc_bytes_peak", "few", 990_000.0),
            ("plimsoll_m2_fixed_count", "few", 5_000.0),
            ("plimsoll_m2_counted_seconds", "none", 1200.0),
            ("plimsoll_m2_fixed_count", "none", 5_000.0),
        ] {
            let labels = Labels::from_pairs([(METRIC_NAME, name), ("vhost", vhost)]);
            let id = rehearsal.series(&labels).expect("there is room");
            rehearsal.append(id, Sample { at: NOW, value });
        }
        rehearsal.evaluate(NOW).expect("the rules evaluate");
        let hosts = gather(&groups, &mut |query| rehearsed(&rehearsal, query)).expect("asked");
        for vhost in &hosts[0].vhosts {
            let (mut data, mut talk) = (Vec::new(), Vec::new());
            let (data, talk) = (&mut data as _, &mut talk as _);
            let text =
                vhost.shown(&Out { data, talk, format: Format::Text, colours: (false, false) });
            let is_advised = vhost.fixed_count_recommended.is_some();
            let words = ["setting.json", "recommended", "at most"].map(|word| text.contains(word));
            assert_eq!(words, [is_advised; 3], "{text}");
            assert_eq!(text.contains("fewer than 100 in 20m: no advice"), !is_advised, "{text}");
            assert_eq!(is_advised, vhost.vhost == "a", "{text}");
        }
        assert_eq!(hosts[0].vhosts.len(), 3);
    }

    #[test]
    fn a_window_that_is_no_time_is_the_usual_one() {
        for told in [f64::NAN, f64::INFINITY, -1.0] {
            let counted_seconds = Some(0.0);
            let vhost = Vhost { window_seconds: Some(told), counted_seconds, ..Vhost::default() };
            assert_eq!(vhost.too_few(), "counted over 0s of 20m: no advice yet", "{told}");
        }
    }

    #[test]
    fn what_is_pinned_of_documents_that_are_not_counted_is_unknown() {
        let shown = |fixed_count| {
            let vhost = Vhost { fixed_count, ..Vhost::default() };
            let host = Host { vhosts: vec![vhost], memory_bytes: Some(1e9), ..Host::default() };
            let (mut data, mut talk) = (Vec::new(), Vec::new());
            let (data, talk) = (&mut data as _, &mut talk as _);
            host.shown(&Out { data, talk, format: Format::Text, colours: (false, false) })
        };
        let of = "of 1000.0 MB (953.7 MiB)\n";
        assert!(shown(Some(40_000.0)).ends_with(&format!("together: an unknown part {of}")));
        assert!(shown(None).ends_with(&format!("together: nothing pinned {of}")));
    }

    #[test]
    fn the_name_of_a_virtual_host_forges_no_row() {
        let forged = "a\ntogether: 0.0 MB: within the budget".to_owned();
        let vhosts = vec![Vhost { vhost: forged.clone(), ..Vhost::default() }];
        let host = Host { host: forged, vhosts, ..Host::default() };
        let (mut data, mut talk) = (Vec::new(), Vec::new());
        let (data, talk) = (&mut data as _, &mut talk as _);
        let text = host.shown(&Out { data, talk, format: Format::Text, colours: (false, false) });
        assert!(!text.lines().any(|line| line.starts_with("together")), "{text}");
    }

    #[test]
    fn the_exit_code_says_whether_there_is_advice() {
        let of =
            |memory, fixed_count| code(&answers(&args(memory, fixed_count)).expect("evaluates"));
        assert_eq!((of(16 << 30, 40_000), of(16 << 30, 51_817)), (exit::OK, exit::PROBLEMS));
        let nowhere = FixedCountArgs { fixed_count: None, ..args(0, 0) };
        let hosts = answers(&nowhere).expect("evaluates");
        assert_eq!(code(&hosts), exit::FAILED, "of no memory nothing can be said");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(397_862_990.0), "397.9 MB (379.4 MiB)");
        let shown = [0.0, 999.0, 1000.0, 385_390_147.0].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "385,390,147"]);
    }
}
