//! `healthcheck`: one question to a running plimsoll, answered by the exit code.

use std::time::Duration;

use anyhow::{Context, anyhow};
use serde::Serialize;

use super::super::config::Config;
use super::args::{Format, HealthArgs};
use super::ask::below;
use super::out::Out;
use super::outbox::address;
use super::{exit, finish, runtime};
use crate::endpoint::{HttpOptions, Pool, explain};

/// Where plimsoll listens if nobody says otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:9469";
/// For both questions together: below the timeout that Docker's HEALTHCHECK gets (3 s).
const TIMEOUT: Duration = Duration::from_millis(2500);

#[derive(Serialize)]
struct Health {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

pub fn healthcheck(args: &HealthArgs, out: &mut Out<'_>) -> u8 {
    let asked = place(args).and_then(|url| {
        Ok(runtime()?.block_on(async { tokio::time::timeout(TIMEOUT, ask(&url)).await }))
    });
    let outcome = asked.map(|asked| {
        let late = |_| Err(format!("no answer within {} ms", TIMEOUT.as_millis()));
        let why = asked.unwrap_or_else(late).err();
        let health = Health { ready: why.is_none(), why };
        match (out.format, &health.why) {
            (Format::Json, _) => out.json(&health),
            (Format::Text, None) => out.line("ready"),
            (Format::Text, Some(why)) => out.say(&format!("not ready: {why}")),
        }
        if health.ready { exit::OK } else { exit::FAILED }
    });
    finish(outcome, out)
}

/// Whom to ask.
fn place(args: &HealthArgs) -> anyhow::Result<String> {
    Ok(match (&args.url, &args.config) {
        (Some(url), _) => url.clone(),
        (None, None) => format!("http://{DEFAULT_LISTEN}"),
        (None, Some(path)) => {
            let web = Config::web_of(path)
                .map_err(|problems| anyhow!("{}", problems.to_string().trim_end()))?;
            address(web.listen)
                .context("`web.listen` leaves its port to the system: tell with --url")?
        }
    })
}

/// First whether it lives, then whether it is ready: the first to fail is the answer.
async fn ask(base: &str) -> Result<(), String> {
    let pool = Pool::default();
    for path in ["/-/healthy", "/-/ready"] {
        let url = below(base, path).map_err(|error| format!("{error:#}"))?;
        let client = pool.client(&url, None, &HttpOptions::default()).await?;
        let answer = client.http.get(client.url).send().await;
        let status = answer.map_err(|error| format!("{path}: {}", explain(error)))?.status();
        if !status.is_success() {
            return Err(format!("{path} answers {status}"));
        }
    }
    Ok(())
}
