//! Asks at a tenant's door: one GET, one deadline, the beginning of the body.
//!
//! What is asked comes from [`crate::policy::Gates`], and what the answer means is judged there. No
//! redirect is followed: a login that sends its visitors elsewhere is not the page that was expected,
//! and credentials would follow. Every question runs on a connection of its own kind within its own
//! time, so a site that hangs delays no other. Nothing here decides, and no secret is ever shown.

use std::collections::BTreeMap;

use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue};

use crate::endpoint::{HttpOptions, Pool, explain};
use crate::policy::{Miss, Page, Probe};

/// As much of a page as is looked at. A login page is a tenth of it.
const MAX_BYTES: usize = 256 << 10;

/// The ways to the doors, by the gate's name.
#[derive(Debug, Default)]
pub struct Prober {
    ways: BTreeMap<String, (Pool, HttpOptions)>,
}

impl Prober {
    /// With these credentials and certificates for each gate.
    pub fn new(options: &BTreeMap<String, HttpOptions>) -> Prober {
        let way = |(name, options): (&String, &HttpOptions)| {
            (name.clone(), (Pool::default(), options.clone()))
        };
        Prober { ways: options.iter().map(way).collect() }
    }

    /// Asks, and waits for the answer as long as the gate says.
    pub async fn ask(&self, probe: &Probe) -> Result<Page, Miss> {
        let Some((pool, options)) = self.ways.get(&probe.key.gate) else {
            return Err(Miss::Unaskable("the gate is no longer configured".to_owned()));
        };
        let asked = get(pool, options, probe);
        tokio::time::timeout(probe.timeout, asked).await.unwrap_or(Err(Miss::Timeout))
    }
}

async fn get(pool: &Pool, options: &HttpOptions, probe: &Probe) -> Result<Page, Miss> {
    let unaskable = |why: String| Miss::Unaskable(why);
    let url = Url::parse(&probe.url).map_err(|error| unaskable(format!("its address: {error}")))?;
    let client = pool.client(&url, None, options).await.map_err(unaskable)?;
    let mut request = client.http.get(client.url).header(ACCEPT, "*/*");
    if let Some(auth) = options.auth.header().await.map_err(unaskable)? {
        request = request.header(AUTHORIZATION, auth);
    }
    if let Some(host) = probe.host.as_ref().or(client.host.as_ref()) {
        let host = HeaderValue::from_str(host);
        request = request.header(HOST, host.map_err(|_| unaskable("its `host`".to_owned()))?);
    }
    let unreachable = |error| Miss::Unreachable(explain(error));
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        let room = MAX_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok(Page { status, body, is_whole: false });
        }
    }
    Ok(Page { status, body, is_whole: true })
}
