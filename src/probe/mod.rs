//! Asks at a tenant's door: one GET, one deadline, the beginning of the body.
//!
//! What is asked comes from [`crate::policy::Gates`], and what the answer means is judged there. No
//! redirect is followed: a login that sends its visitors elsewhere is not the page that was expected,
//! and credentials would follow. Every question runs on a connection of its own kind within its own
//! time, so a site that hangs delays no other. Nothing here decides, and no secret is ever shown.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, HOST, HeaderValue};

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
    // The client takes the header away of what it has unpacked itself.
    let is_packed = response.headers().get(CONTENT_ENCODING).is_some_and(|how| how == "gzip");
    let (mut body, mut is_whole) = (Vec::new(), true);
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        let room = MAX_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            is_whole = false;
            break;
        }
    }
    let page = Page { status, body, is_whole };
    Ok(if is_packed { unpacked(&page) } else { page })
}

/// A page that came compressed though nobody asked for it: visitors' browsers show it. Of one that is
/// broken what can be read.
fn unpacked(page: &Page) -> Page {
    let mut body = Vec::new();
    let mut packed = GzDecoder::new(&page.body[..]).take(MAX_BYTES as u64);
    let is_whole = packed.read_to_end(&mut body).is_ok() && body.len() < MAX_BYTES;
    Page { body, is_whole: is_whole && page.is_whole, ..*page }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(text.as_bytes()).expect("packs");
        packer.finish().expect("packs")
    }

    /// What a probe gets of a door that sends these bytes as gzip.
    async fn asked(body: Vec<u8>) -> Page {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("a probe");
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let _ = socket.write_all(&[head.as_bytes(), &body].concat()).await;
        });
        let gate = "login".to_owned();
        let prober = Prober::new(&BTreeMap::from([(gate.clone(), HttpOptions::default())]));
        let key = crate::policy::GateKey { gate, ..Default::default() };
        let probe = Probe {
            key,
            number: 1,
            url: format!("http://{address}/"),
            host: None,
            timeout: std::time::Duration::from_secs(5),
        };
        prober.ask(&probe).await.expect("it answers")
    }

    #[tokio::test]
    async fn what_comes_compressed_though_nobody_asked_is_read() {
        let page = asked(packed("<p> </p>")).await;
        assert_eq!((page.body.as_slice(), page.is_whole), (&b"<p> </p>"[..], true));
        let huge = asked(packed(&"x".repeat(2 * MAX_BYTES))).await;
        assert_eq!((huge.body.len(), huge.is_whole), (MAX_BYTES, false));
        let cut = asked(packed("welcome")[..8].to_vec()).await;
        assert_eq!((cut.body.len(), cut.is_whole), (0, false), "as blank as a browser shows it");
    }
}
