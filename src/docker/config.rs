//! The section `docker`: where the daemon listens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;

use crate::endpoint::HttpOptions;
use crate::endpoint::read::tls_config;
use crate::yaml::{Cursor, Fields, read};

/// Where Docker listens unless somebody moved it.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// A daemon that needs longer for one answer hangs.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Where `tcp://` without a port leads, as for Docker's own client: without TLS and with it.
const PORTS: [u16; 2] = [2375, 2376];

/// How the daemon is reached.
#[derive(Clone, PartialEq, Debug)]
pub struct DockerConfig {
    /// Whether it is asked at all.
    pub enabled: bool,
    /// As it was written, for people.
    pub host: String,
    /// The base of every URL.
    pub(super) url: Url,
    /// The unix socket, if it is one.
    pub(super) socket: Option<PathBuf>,
    /// Certificates, for TCP.
    pub(super) http: HttpOptions,
    /// One answer may take this long; the stream of events may be silent for ever.
    pub timeout: Duration,
}

impl Default for DockerConfig {
    /// The daemon of this host, where it listens unless somebody moved it.
    fn default() -> DockerConfig {
        DockerConfig::at_socket(Path::new(DEFAULT_SOCKET))
    }
}

impl DockerConfig {
    /// A daemon at a unix socket.
    pub fn at_socket(path: &Path) -> DockerConfig {
        DockerConfig {
            enabled: true,
            host: format!("unix://{}", path.display()),
            url: Url::parse("http://docker/").expect("a constant that parses"),
            socket: Some(path.to_owned()),
            http: HttpOptions::default(),
            timeout: TIMEOUT,
        }
    }

    /// Where the daemon is: the base of every URL, its socket if it has one, certificates for TCP.
    pub fn address(&self) -> (Url, Option<PathBuf>, HttpOptions) {
        (self.url.clone(), self.socket.clone(), self.http.clone())
    }

    /// `host`, unless only this machine can be there.
    pub fn afar(&self) -> Option<&str> {
        let is_near = self.socket.is_some() || crate::endpoint::is_loopback(&self.url);
        (!is_near).then_some(self.host.as_str())
    }

    /// Reads the section; `base` is the folder relative paths start from.
    pub fn read(at: Cursor<'_, '_>, base: &Path) -> Option<DockerConfig> {
        let mut fields = Fields::open(at)?;
        let default = DockerConfig::default();
        let tls = fields.optional("tls_config", |at| tls_config(at, base));
        let is_tls = tls.is_some();
        let mut config = fields.or("host", default, |mut at| {
            let text = read::string(at.again())?;
            match parse_host(&text, is_tls) {
                Ok(config) => Some(config),
                Err(error) => {
                    let hint = "write for example `unix:///var/run/docker.sock` or \
                                `tcp://127.0.0.1:2375`";
                    at.error_hint(error, hint);
                    None
                }
            }
        });
        if let (Some(_), Some(socket)) = (&tls, &config.socket) {
            let socket = socket.display().to_string();
            fields.cursor().warning(format!("`tls_config` has no meaning at the socket {socket}"));
        }
        config.http.tls = tls.unwrap_or_default();
        config.enabled = fields.or("enabled", true, read::boolean);
        config.timeout = fields.or("timeout", config.timeout, read::positive_duration);
        fields.finish();
        Some(config)
    }
}

/// `unix://path`, `tcp://host`, `tcp://host:port`, `http://…` or `https://…`, as `DOCKER_HOST` has them.
fn parse_host(text: &str, is_tls: bool) -> Result<DockerConfig, String> {
    let shown = read::shown_url(text);
    if let Some(path) = text.strip_prefix("unix://") {
        if !path.starts_with('/') {
            return Err(format!("{shown}: the path of a socket begins with `/`"));
        }
        return Ok(DockerConfig::at_socket(Path::new(path)));
    }
    let scheme = if is_tls { "https" } else { "http" };
    let full = match text.strip_prefix("tcp://") {
        Some(rest) => format!("{scheme}://{rest}"),
        None => text.to_owned(),
    };
    let mut url = Url::parse(&full).map_err(|error| format!("{shown} is not a host: {error}"))?;
    if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none() {
        return Err(format!("{shown} is not a host of Docker"));
    }
    // What HTTP takes for granted is written all the same: `tcp://` has no port of its own.
    let is_bare = |url: Url| url.scheme() == "tcp" && url.port().is_none();
    if Url::parse(text).is_ok_and(is_bare) {
        url.set_port(Some(PORTS[usize::from(is_tls)])).ok();
    }
    let host = crate::endpoint::redact(&url);
    Ok(DockerConfig { host, url, socket: None, ..DockerConfig::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Problems, parse};

    /// URL and socket of the section, or the problems.
    fn check(text: &str, want: &str) {
        let mut problems = Problems::default();
        let node = parse("a.yml", text, &mut problems).expect(text);
        let config = DockerConfig::read(
            Cursor::root("a.yml", &node, &mut problems),
            Path::new("/etc/plimsoll"),
        );
        let got = match (config, problems.to_string()) {
            (Some(config), problems) if problems.is_empty() => {
                let socket = config.socket.map(|path| path.display().to_string());
                format!("{} {}", config.url, socket.unwrap_or_default())
            }
            (_, problems) => problems,
        };
        assert!(got.contains(want), "{text}: {got}");
    }

    #[test]
    fn only_another_address_may_be_another_machine() {
        let afar = |host: &str| parse_host(host, false).expect(host).afar().map(str::to_owned);
        for near in [
            "unix:///run/docker.sock",
            "tcp://127.0.0.1:2375",
            "tcp://[::1]:2375",
            "http://localhost:1",
        ] {
            assert_eq!(afar(near), None, "{near}");
        }
        assert_eq!(afar("tcp://db:2375").as_deref(), Some("http://db:2375/"));
    }

    #[test]
    fn hosts_are_read_as_docker_has_them() {
        check("{}", "http://docker/ /var/run/docker.sock");
        check("host: unix:///run/user/1000/docker.sock", "/run/user/1000/docker.sock");
        check("host: tcp://127.0.0.1:2375", "http://127.0.0.1:2375/ ");
        check("host: tcp://db:2376\ntls_config: {ca_file: ca.pem}", "https://db:2376/ ");
        check("host: tcp://127.0.0.1", "http://127.0.0.1:2375/ ");
        check("host: 'tcp://[::1]'", "http://[::1]:2375/ ");
        check("host: tcp://db\ntls_config: {ca_file: ca.pem}", "https://db:2376/ ");
        check("host: tcp://db:80", "http://db/ ");
        check("host: http://db", "http://db/ ");
        check("host: unix://docker.sock", "begins with `/`");
        check("host: npipe:////./pipe/docker", "is not a host");
        check("tls_config: {ca_file: ca.pem}", "has no meaning at the socket");
        check("hosts: x", "did you mean `host`?");
    }
}
