//! Which metrics a running plimsoll sees, for the lint `never-exposed-metric`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::ask::ask;

/// Every metric that has samples now.
const ALL: &str = "group by (__name__) ({__name__!=\"\"})";
const QUERY: &str = "/api/v1/query";

/// What a running instance knows about metrics.
pub struct Exposed {
    /// Those it sees, and those it cannot tell about.
    pub names: BTreeSet<String>,
    /// Those it would not keep if a target had them, as no rule it runs reads them.
    pub untold: Vec<String>,
}

/// Asks the instance at `base` about everything, and about each of `read` that it does not see.
pub async fn exposed(base: &str, read: &BTreeSet<String>) -> anyhow::Result<Exposed> {
    let (data, _) = ask(base, QUERY, &[("query", ALL)]).await?;
    let rows = data["result"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |row: &Value| row["metric"]["__name__"].as_str().map(str::to_owned);
    let mut names: BTreeSet<String> = rows.iter().filter_map(name).collect();
    let mut untold = Vec::new();
    for name in read.difference(&names.clone()) {
        let selector = format!("{{__name__={name:?}}}");
        let (_, notes) = ask(base, QUERY, &[("query", &selector)]).await?;
        if !notes.is_empty() {
            untold.push(name.clone());
        }
    }
    names.extend(untold.iter().cloned());
    Ok(Exposed { names, untold })
}
