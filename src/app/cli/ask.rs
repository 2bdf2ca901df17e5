//! Questions to a running plimsoll over its API, for the commands that have some.

use anyhow::{Context, anyhow};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Url};
use serde_json::Value;

use crate::endpoint::{HttpOptions, Pool, explain};
use crate::yaml::read;

/// An answer that says why there is none.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
#[error("{message}")]
pub struct Refused {
    /// Why.
    pub message: String,
    /// Line, column and width of the part of the query that it is about.
    pub position: Option<(usize, usize, usize)>,
    /// What can be done about it.
    pub hint: Option<String>,
}

impl Refused {
    fn read(body: &Value) -> Refused {
        let text = |key: &str| body[key].as_str().map(str::to_owned);
        let number = |key: &str| {
            let number = body["position"][key].as_u64().and_then(|n| usize::try_from(n).ok());
            number.filter(|number| *number > 0)
        };
        let place = number("line").zip(number("column")).zip(number("length"));
        Refused {
            message: text("error").unwrap_or_else(|| "the answer says no reason".to_owned()),
            position: place.map(|((line, column), length)| (line, column, length)),
            hint: text("hint"),
        }
    }
}

/// Asks with a form, as query texts may be long; gives the answer's `data` and its warnings.
pub async fn ask(
    base: &str,
    path: &str,
    params: &[(&str, &str)],
) -> anyhow::Result<(Value, Vec<String>)> {
    send(Method::POST, base, path, params).await
}

/// Asks for what is there; gives the answer's `data`.
pub async fn get(base: &str, path: &str) -> anyhow::Result<Value> {
    Ok(send(Method::GET, base, path, &[]).await?.0)
}

/// A path of the API below the path that a proxy may have put it under.
pub fn below(base: &str, path: &str) -> anyhow::Result<Url> {
    let mut url = Url::parse(base)
        .with_context(|| format!("--url: {} is not a URL", read::shown_url(base)))?;
    let path = format!("{}{path}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

async fn send(
    method: Method,
    base: &str,
    path: &str,
    params: &[(&str, &str)],
) -> anyhow::Result<(Value, Vec<String>)> {
    let url = below(base, path)?;
    let mut form = url.clone();
    form.query_pairs_mut().clear().extend_pairs(params);
    let pool = Pool::default();
    let client =
        pool.client(&url, None, &HttpOptions::default()).await.map_err(|why| anyhow!("{why}"))?;
    let mut asked = client.http.request(method, client.url);
    if !params.is_empty() {
        let form = form.query().unwrap_or_default().to_owned();
        asked = asked.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
    }
    let answer = asked.send().await.map_err(|error| anyhow!("{base}: {}", explain(error)))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| anyhow!("{base}: {}", explain(error)))?;
    let mut body: Value = serde_json::from_str(&text)
        .with_context(|| format!("{base}: {status}, and not an answer of plimsoll's API"))?;
    if body["status"] != "success" {
        return Err(Refused::read(&body).into());
    }
    let notes = ["warnings", "infos"].iter().filter_map(|kind| body[*kind].as_array());
    let notes = notes.flatten().filter_map(|note| note.as_str().map(str::to_owned)).collect();
    Ok((body["data"].take(), notes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_url_is_kept() {
        for (base, want) in [
            ("http://h:1", "http://h:1/api/v1/query"),
            ("http://h/", "http://h/api/v1/query"),
            ("https://h/a/b/", "https://h/a/b/api/v1/query"),
        ] {
            assert_eq!(below(base, "/api/v1/query").expect(base).as_str(), want);
        }
    }
}
