//! Questions to a running plimsoll over its API, for the commands that have some.

use anyhow::{Context, anyhow, bail};
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use crate::endpoint::{HttpOptions, Pool, explain};

/// Asks with a form, as query texts may be long; gives the answer's `data` and its warnings.
pub async fn ask(
    base: &str,
    path: &str,
    params: &[(&str, &str)],
) -> anyhow::Result<(Value, Vec<String>)> {
    let mut url = Url::parse(base).with_context(|| format!("--url: `{base}` is not a URL"))?;
    url.set_path(path);
    let mut form = url.clone();
    form.query_pairs_mut().clear().extend_pairs(params);
    let pool = Pool::default();
    let client =
        pool.client(&url, None, &HttpOptions::default()).await.map_err(|why| anyhow!("{why}"))?;
    let asked = client
        .http
        .post(client.url)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.query().unwrap_or_default().to_owned());
    let answer = asked.send().await.map_err(|error| anyhow!("{base}: {}", explain(error)))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| anyhow!("{base}: {}", explain(error)))?;
    let mut body: Value = serde_json::from_str(&text)
        .with_context(|| format!("{base}: {status}, and not an answer of plimsoll's API"))?;
    if body["status"] != "success" {
        bail!("{}", body["error"].as_str().unwrap_or("the answer says no reason"));
    }
    let notes = ["warnings", "infos"].iter().filter_map(|kind| body[*kind].as_array());
    let notes = notes.flatten().filter_map(|note| note.as_str().map(str::to_owned)).collect();
    Ok((body["data"].take(), notes))
}
