//! The sections that belong to the program as a whole: storage, web, window, control_plane.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;

use crate::base::{format_duration, parse_duration};
use crate::endpoint::holds_credentials;
use crate::endpoint::read::{bare_url, path};
use crate::journal::StoreKind;
use crate::outbox::LEASE;
use crate::promql::Features;
use crate::recorder::RecorderConfig;
use crate::regex::Pattern;
use crate::send::WebhookConfig;
use crate::window::Caps;
use crate::yaml::{Cursor, Fields, read};

/// Less would be turned over by one bad hour.
const AUDIT_FILE_BYTES_MIN: u64 = 1 << 20;
/// A day, and what a day of 50 containers takes at most.
const RECORDER_KEEP: Duration = Duration::from_secs(24 * 3600);
const RECORDER_BYTES: u64 = 200 << 20;
/// Less does not hold the five minutes that are written at once.
const RECORDER_BYTES_MIN: u64 = 1 << 20;

/// Less is a unit that was forgotten: `64` for `64MiB`.
const WINDOW_BYTES_MIN: u64 = 1 << 20;

/// `storage`
#[derive(Clone, PartialEq, Debug, Default)]
pub struct StorageConfig {
    /// Where state lives; absent: `$STATE_DIRECTORY`, /var/lib/plimsoll, ./plimsoll-state.
    pub path: Option<PathBuf>,
    /// The same as it was written, where that is relative: it once started from the working directory.
    pub written: Option<PathBuf>,
    /// Which store; absent: redb.
    pub kind: Option<StoreKind>,
    /// A file of the audit that has reached this size is followed by the next; absent: 16 MiB.
    pub audit_file_bytes: Option<u64>,
    /// Files of the audit that are kept; absent: 8.
    pub audit_files: Option<u64>,
}

impl StorageConfig {
    pub(super) fn read(at: Cursor<'_, '_>, base: &Path) -> Option<StorageConfig> {
        let mut fields = Fields::open(at)?;
        let mut written = None;
        let path = fields.optional("path", |at| {
            written = at.node.text().map(PathBuf::from).filter(|path| path.is_relative());
            path(at, base)
        });
        let kinds = [
            (StoreKind::Redb.name(), StoreKind::Redb),
            #[cfg(feature = "sled")]
            (StoreKind::Sled.name(), StoreKind::Sled),
        ];
        let kind = fields.optional("store", |at| read::one_of(at, &kinds));
        let audit_file_bytes = fields.optional("audit_file_size", |mut at| {
            let bytes = read::bytes(at.again())?;
            if bytes < AUDIT_FILE_BYTES_MIN {
                at.error("a file of the audit needs at least 1MiB");
            }
            Some(bytes)
        });
        let audit_files = fields.optional("audit_files", |mut at| {
            let files = read::integer(at.again())?;
            if files < 2 {
                at.error("at least two files: one is written to while the other is full");
            }
            Some(files)
        });
        for key in ["tsdb", "exemplars"] {
            fields.unsupported(key, "plimsoll keeps no time series on disk");
        }
        fields.finish();
        Some(StorageConfig { path, written, kind, audit_file_bytes, audit_files })
    }
}

/// `recorder`
pub(super) fn recorder(at: Cursor<'_, '_>, base: &Path) -> Option<RecorderConfig> {
    let mut fields = Fields::open(at)?;
    let path = fields.required("path", |at| path(at, base));
    let keep = fields.or("keep", RECORDER_KEEP, read::positive_duration);
    let max_bytes = fields.or("max_bytes", RECORDER_BYTES, |mut at| {
        let bytes = read::bytes(at.again())?;
        if bytes < RECORDER_BYTES_MIN {
            at.error("a recording needs at least 1MiB");
        }
        Some(bytes)
    });
    let families = [("kept", false), ("all", true)];
    let all_families = fields.or("families", false, |at| read::one_of(at, &families));
    fields.finish();
    Some(RecorderConfig { path: path?, keep, max_bytes, all_families })
}

/// `web`
#[derive(Clone, PartialEq, Debug)]
pub struct WebConfig {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Whether `POST /-/reload` works.
    pub enable_lifecycle: bool,
    /// Under which address people reach this, for links.
    pub external_url: String,
}

impl Default for WebConfig {
    /// Loopback only: the API has no authentication of its own.
    fn default() -> WebConfig {
        let listen = SocketAddr::from(([127, 0, 0, 1], 9469));
        WebConfig { listen, enable_lifecycle: false, external_url: String::new() }
    }
}

impl WebConfig {
    pub(super) fn read(at: Cursor<'_, '_>) -> Option<WebConfig> {
        let default = WebConfig::default();
        let mut fields = Fields::open(at)?;
        let listen = fields.or("listen", default.listen, |mut at| {
            let text = read::string(at.again())?;
            match text.parse() {
                Ok(address) => Some(address),
                Err(_) => {
                    at.error_hint(
                        format!("`{text}` is not an address and port"),
                        "write for example `127.0.0.1:9469`",
                    );
                    None
                }
            }
        });
        let enable_lifecycle = fields.or("enable_lifecycle", false, read::boolean);
        let external_url = fields.or("external_url", String::new(), |mut at| {
            let text = read::url(at.again())?;
            if Url::parse(&text).is_ok_and(|url| holds_credentials(&url)) {
                at.error_hint("holds credentials", "every alert would carry them");
                return None;
            }
            Some(text)
        });
        fields.finish();
        Some(WebConfig { listen, enable_lifecycle, external_url })
    }
}

/// `promql`
pub(super) fn promql(at: Cursor<'_, '_>) -> Option<Features> {
    let mut fields = Fields::open(at)?;
    let experimental_functions = fields.or("experimental_functions", false, read::boolean);
    let delayed_name_removal = fields.or("delayed_name_removal", false, read::boolean);
    fields.finish();
    Some(Features { experimental_functions, delayed_name_removal })
}

/// `window`
#[derive(Clone, PartialEq, Debug)]
pub struct WindowConfig {
    /// How long names in `keep` are kept.
    pub retention: Duration,
    /// Names kept for queries beside those that rules read.
    pub keep: Vec<Pattern>,
    /// Hard caps.
    pub caps: Caps,
}

impl Default for WindowConfig {
    /// An hour of what is asked for, nothing beyond what rules read, and caps that a host of 500
    /// containers does not come near.
    fn default() -> WindowConfig {
        WindowConfig {
            retention: Duration::from_secs(3600),
            keep: Vec::new(),
            caps: Caps::default(),
        }
    }
}

impl WindowConfig {
    pub(super) fn read(at: Cursor<'_, '_>) -> Option<WindowConfig> {
        let default = WindowConfig::default();
        let mut fields = Fields::open(at)?;
        let retention = fields.or("retention", default.retention, read::positive_duration);
        let keep = fields.list("keep", |mut at| {
            let text = read::string(at.again())?;
            Pattern::new(&text).map_err(|error| at.error(error)).ok()
        });
        let max_series = fields.or("max_series", default.caps.max_series, |mut at| {
            let series = read::integer(at.again())?;
            if series == 0 {
                at.error("a window of no series holds nothing: no rule would ever fire");
            }
            Some(series)
        });
        let max_bytes = fields.or("max_bytes", default.caps.max_bytes as u64, |mut at| {
            let bytes = read::bytes(at.again())?;
            if bytes < WINDOW_BYTES_MIN {
                at.error("a window needs at least 1MiB");
            }
            Some(bytes)
        });
        fields.finish();
        let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        Some(WindowConfig { retention, keep, caps: Caps { max_series, max_bytes } })
    }
}

/// Five of them fit into the time after which a waiting delivery is an alert (`PlimsollOutboxStuck`).
const HEARTBEAT_EVERY: Duration = Duration::from_secs(60);
/// More often is a unit that was forgotten; a day without one is no sign of life.
const HEARTBEAT_ALLOWED: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(86_400);

/// An attempt that takes longer is given up for lost, so it must have ended by itself.
fn attempt_timeout(mut at: Cursor<'_, '_>) -> Option<Duration> {
    let timeout = read::positive_duration(at.again())?;
    if timeout >= LEASE {
        let longest = format_duration(LEASE);
        at.error_hint(
            format!("an attempt that has not ended after {longest} is given up for lost"),
            format!("write less than {longest}; the default is 15s"),
        );
        return None;
    }
    Some(timeout)
}

/// How often a sign of life is sent; `0s` for never.
fn heartbeat(mut at: Cursor<'_, '_>) -> Option<Duration> {
    let is_never = at.node.text().is_some_and(|text| parse_duration(text) == Ok(Duration::ZERO));
    if is_never {
        return Some(Duration::ZERO);
    }
    read::duration_within(at.again(), HEARTBEAT_ALLOWED)
}

/// `control_plane`, and how often it gets a sign of life.
pub(super) fn control_plane(
    at: Cursor<'_, '_>,
    base: &Path,
) -> Option<(WebhookConfig, Option<Duration>)> {
    let mut fields = Fields::open(at)?;
    let url = fields.required("url", |at| bare_url(at, "bearer_token_file"));
    let secret = fields.required("secret_file", |at| path(at, base));
    let bearer_file = fields.optional("bearer_token_file", |at| path(at, base));
    let client_certificate_file = fields.optional("client_certificate_file", |at| path(at, base));
    let ca_file = fields.optional("ca_file", |at| path(at, base));
    let timeout = fields.optional("timeout", attempt_timeout);
    let heartbeat = fields.or("heartbeat_interval", HEARTBEAT_EVERY, heartbeat);
    fields.finish();
    let default = WebhookConfig::new(url?.as_str(), &secret?);
    let config = WebhookConfig {
        bearer_file,
        client_certificate_file,
        ca_file,
        timeout: timeout.unwrap_or(default.timeout),
        ..default
    };
    Some((config, Some(heartbeat).filter(|every| !every.is_zero())))
}
