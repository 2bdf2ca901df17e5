//! `/api/v1/labels`, `label/<name>/values`, `series`.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::backend::{SeriesAnswer, SeriesRequest};
use super::error::ApiError;
use super::form;
use super::format::{self, Notes};
use super::params::Params;
use super::parsing::{self, Deadline};
use super::query_api::TRUNCATED;
use super::{QUERY_TIMEOUT, Server, Shared, status_api};
use crate::base::{excerpt, is_label_name, quoted};

pub(super) async fn labels(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = params.limit("limit")?;
    let found = find(&server, &params).await.map_err(|error| error.unnamed("match[]"))?;
    let names: BTreeSet<&str> =
        found.series.iter().flat_map(|labels| labels.iter().map(|(name, _)| name)).collect();
    listed(&server, names.into_iter().collect(), limit, &found).await
}

pub(super) async fn label_values(
    State(server): State<Shared>,
    uri: Uri,
    params: Params,
) -> Result<Response, ApiError> {
    // The name as it was sent: the router would refuse one that is no UTF-8 in its own words.
    let written = uri.path().rsplit('/').nth(1).unwrap_or_default();
    if written.is_empty() {
        return Ok(status_api::not_found().await.into_response());
    }
    let name = label_name(written)?;
    let limit = params.limit("limit")?;
    let found = find(&server, &params).await.map_err(|error| error.unnamed("match[]"))?;
    let values: BTreeSet<&str> =
        found.series.iter().filter_map(|labels| labels.get(&name)).collect();
    listed(&server, values.into_iter().collect(), limit, &found).await
}

pub(super) async fn series(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    params.readable()?;
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let limit = params.limit("limit")?;
    let found = find(&server, &params).await?;
    let mut sets: Vec<_> = found.series.iter().collect();
    sets.sort_unstable();
    listed(&server, sets, limit, &found).await
}

/// The label that part of a path names.
fn label_name(written: &str) -> Result<String, ApiError> {
    let bytes = form::unescape(written.as_bytes(), false).unwrap_or_else(|_| written.into());
    let invalid = |shown: String| ApiError::bad_data(format!("invalid label name: {shown}"));
    let name = match String::from_utf8(bytes) {
        Ok(name) => name,
        Err(error) => {
            return Err(invalid(format!("\"{}\"", error.as_bytes().escape_ascii())));
        }
    };
    if let Some(name) = unescaped(&name) {
        return Ok(name);
    }
    if is_label_name(&name) { Ok(name) } else { Err(invalid(quoted(&excerpt(&name)))) }
}

/// A name beyond the classic alphabet as Grafana writes it into a path, `U__a_2e_b` for `a.b`
/// (`model.UnescapeName`): underscores are doubled, other characters stand in hexadecimal between
/// two of them. `None`: not written so.
fn unescaped(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix("U__")?;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once('_') {
        plain.push_str(before);
        if let Some(after) = after.strip_prefix('_') {
            plain.push('_');
            rest = after;
            continue;
        }
        let (code, after) = after.split_once('_')?;
        plain.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        rest = after;
    }
    plain.push_str(rest);
    Some(plain)
}

async fn find(server: &Server, params: &Params) -> Result<SeriesAnswer, ApiError> {
    let (start, end) = (params.optional_time("start")?, params.optional_time("end")?);
    let (selectors, turn) = parsing::selectors(server, params).await?;
    if start.zip(end).is_some_and(|(start, end)| end < start) {
        return Ok(SeriesAnswer::default());
    }
    server
        .backend
        .series(SeriesRequest { selectors, start, end, timeout: QUERY_TIMEOUT, turn })
        .await
}

async fn listed<T: Serialize>(
    server: &Server,
    mut items: Vec<T>,
    limit: usize,
    found: &SeriesAnswer,
) -> Result<Response, ApiError> {
    let mut notes = Notes::warnings(found.warnings.clone());
    if items.len() > limit {
        items.truncate(limit);
        notes.warnings.push(TRUNCATED.to_owned());
    }
    let mut deadline = Deadline::after(QUERY_TIMEOUT);
    let room = server.room.take(format::json_bytes(&items), &mut deadline).await?;
    Ok(room.filled(format::success(&items, &notes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_classic_alphabet_are_escaped_in_paths() {
        let cases = [
            ("U__a_2e_b", Some("a.b")),
            ("U__a__b_20_c", Some("a_b c")),
            ("U__plain", Some("plain")),
            ("U___1f600_", Some("\u{1f600}")),
            ("U__a_zz_b", None),
            ("U__a_2e", None),
            ("U__a_110000_", None),
            ("job", None),
        ];
        for (name, want) in cases {
            assert_eq!(unescaped(name).as_deref(), want, "{name}");
        }
    }
}
