//! Which metrics a running plimsoll sees, for the lint `never-exposed-metric`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::ask::{ask, get};
use crate::base::quoted;
use crate::promql::{ParseOptions, parse};
use crate::rules::{Exposed, patterns, takes};
use crate::window::Selector;

/// Every metric that has samples now.
const ALL: &str = "group by (__name__) ({__name__!=\"\"})";
const QUERY: &str = "/api/v1/query";

/// What rules read: names, and patterns of names.
pub struct Read {
    pub names: BTreeSet<String>,
    pub patterns: BTreeMap<String, Arc<Selector>>,
    /// What they write themselves.
    pub written: BTreeSet<String>,
}

/// Asks the instance at `base` about everything, and about each name that it does not see. What it
/// would not keep if a target had it, as no rule it runs reads it, it cannot tell about.
pub async fn exposed(base: &str, read: &Read) -> anyhow::Result<Exposed> {
    let (data, _) = ask(base, QUERY, &[("query", ALL)]).await?;
    let rows = data["result"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |row: &Value| row["metric"]["__name__"].as_str().map(str::to_owned);
    let mut exposed =
        Exposed { names: rows.iter().filter_map(name).collect(), ..Exposed::default() };
    let mut untold = BTreeSet::new();
    for name in read.names.difference(&exposed.names) {
        let selector = format!("{{__name__={}}}", quoted(name));
        let (_, notes) = ask(base, QUERY, &[("query", &selector)]).await?;
        if !notes.is_empty() {
            untold.insert(name.clone());
        }
    }
    let known = || exposed.names.iter().chain(&untold).chain(&read.written);
    let is_open = |(text, selector): (&String, &Arc<Selector>)| {
        let none = known().all(|name| !takes(selector, name));
        none.then(|| text.clone())
    };
    let open: BTreeSet<String> = read.patterns.iter().filter_map(is_open).collect();
    if !open.is_empty() {
        let kept = read_by_pattern(&get(base, "/api/v1/rules").await?);
        exposed.untold.extend(open.difference(&kept).cloned());
    }
    exposed.untold.extend(untold.iter().cloned());
    exposed.names.extend(untold);
    Ok(exposed)
}

/// The patterns by which rules that run read metrics: what they match is kept.
fn read_by_pattern(rules: &Value) -> BTreeSet<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let rules = list(&rules["groups"]).into_iter().flat_map(|group| list(&group["rules"]));
    let options = ParseOptions { experimental_functions: true };
    let exprs = rules.filter_map(|rule| parse(rule["query"].as_str()?, &options).ok());
    exprs.flat_map(|expr| patterns(&expr).into_keys()).collect()
}
