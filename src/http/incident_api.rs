//! `GET /api/v1/plimsoll/incidents`: what happened, incident by incident, from the audit.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use super::Shared;
use super::error::{ApiError, ErrorKind};
use super::format::{self, Notes};
use super::params::Params;
use super::{QUERY_TIMEOUT, Turn};

/// How far back unless the reader says so.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// `since` (a duration, 24h) or `start` (a time), `tenant`, `limit` (the newest so many).
pub(super) async fn incidents(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let back = params.optional_duration("since")?.unwrap_or(DAY);
    let start = params.optional_time("start")?;
    let since = start.unwrap_or_else(|| server.backend.now() - back);
    let tenant = Some(params.get("tenant").to_owned()).filter(|tenant| !tenant.is_empty());
    let limit = params.limit("limit")?;
    // Megabytes of files may be read here: as few at once as queries.
    let turn = tokio::time::timeout(QUERY_TIMEOUT, server.queries.clone().acquire_owned()).await;
    let busy = |_| ApiError::new(ErrorKind::Timeout, "too many queries are under way");
    let turn = Turn::new(turn.map_err(busy)?.expect("nobody closes the semaphore"));
    let mut story = server.backend.story(since, tenant, turn).await?;
    let surplus = story.incidents.len().saturating_sub(limit);
    story.incidents.drain(..surplus);
    story.left_out += surplus as u64;
    let warnings = story.warning().into_iter().collect();
    Ok(format::success(&story, &Notes::warnings(warnings)))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::Options;
    use super::super::scripted::{ask, scripted, start};

    #[tokio::test]
    async fn a_day_is_told_unless_the_reader_says_otherwise() {
        let address = start(scripted(), Options::default()).await;
        let cases = [
            ("", "trace_7200 trace_3600 trace_60", 0),
            ("?since=90m", "trace_3600 trace_60", 0),
            ("?start=1795313800", "trace_60", 0),
            ("?tenant=beta", "trace_3600", 0),
            ("?limit=1", "trace_60", 2),
        ];
        for (query, want, left_out) in cases {
            let path = format!("/api/v1/plimsoll/incidents{query}");
            let reply = ask(address, "GET", &path, None).await;
            let body: Value = serde_json::from_str(&reply.body).expect("JSON");
            let incidents = body["data"]["incidents"].as_array().expect("a list");
            let traces: Vec<&str> =
                incidents.iter().filter_map(|incident| incident["trace_id"].as_str()).collect();
            assert_eq!(traces.join(" "), want, "{query}");
            assert_eq!(body["data"]["left_out"], left_out, "{query}");
        }
        for bad in ["?since=soon", "?start=soon", "?limit=-1"] {
            let path = format!("/api/v1/plimsoll/incidents{bad}");
            assert_eq!(ask(address, "GET", &path, None).await.status, 400, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_broken_chain_is_told() {
        let address = start(scripted(), Options::default()).await;
        for (query, lines, warning) in [
            ("", 0, None),
            (
                "?tenant=torn",
                2,
                Some(
                    "the audit's chain is broken at 2 lines: what stands there is not told; \
                     `plimsoll audit verify` says where",
                ),
            ),
        ] {
            let path = format!("/api/v1/plimsoll/incidents{query}");
            let body = ask(address, "GET", &path, None).await.body;
            let body: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(body["data"]["broken_lines"], lines);
            assert_eq!(body["warnings"][0].as_str(), warning);
        }
    }
}
