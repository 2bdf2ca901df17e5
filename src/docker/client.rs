//! The few questions asked, each with a deadline and a bound on its answer.

use std::time::Duration;

use reqwest::{Response, Url};

use super::config::DockerConfig;
use super::entries::{Entries, Entry};
use super::failure::{Failure, late, no_docker, refused, too_long};
use super::{MOST_BYTES, json};
use crate::base::{Timestamp, parse_rfc3339};
use crate::containers::{Container, ContainerId};
use crate::endpoint::{Pool, explain};

/// The newest API whose documentation was read; older ones have had every field since 1.25.
const NEWEST: (u32, u32) = (1, 51);

/// A daemon that answered once.
pub(super) struct Client {
    config: DockerConfig,
    pool: Pool,
    /// `v1.41`, as the daemon and we both speak it.
    api: String,
    /// The daemon's version.
    pub version: String,
}

/// One of a list.
pub(super) struct Listed {
    /// Which.
    pub id: ContainerId,
    /// As far as the list tells of it; nothing if that does not read or is too long.
    pub container: Option<Container>,
}

/// What the daemon says of one container.
pub(super) enum Inspected {
    /// It is like this.
    Found(Box<Container>),
    /// There is none.
    Gone,
    /// Nothing that can be read: a layer or a file of it is broken. The daemon answers all the same.
    Unreadable(String),
    /// It has said nothing yet.
    Late(String),
}

impl Client {
    /// Asks the daemon which versions it speaks.
    pub async fn connect(config: &DockerConfig) -> Result<Client, Failure> {
        let mut client = Client {
            config: config.clone(),
            pool: Pool::default(),
            api: String::new(),
            version: String::new(),
        };
        let body = client.get("version").await?;
        let version: json::Version =
            serde_json::from_slice(&body).map_err(|error| no_docker("version", error))?;
        client.api = negotiate(&version)?;
        client.version = version.version;
        Ok(client)
    }

    /// Whether it still answers, within this time.
    pub async fn ping(&self, within: Duration) -> Result<(), Failure> {
        let answer = tokio::time::timeout(within, self.get("version")).await;
        answer.map_err(|_| late("version", within))?.map(drop)
    }

    /// The daemon's clock, where it may be asked (a socket proxy may forbid it).
    pub async fn time(&self) -> Option<Timestamp> {
        let body = self.get("info").await.ok()?;
        let info: json::Info = serde_json::from_slice(&body).ok()?;
        parse_rfc3339(&info.system_time)
    }

    /// Every container, running or not, as far as a list tells of it.
    pub async fn list(&self) -> Result<Vec<Listed>, Failure> {
        self.listed("containers/json?all=1").await
    }

    /// A list, taken apart as it comes: what is odd of it, or too long, hides no other.
    async fn listed(&self, path: &str) -> Result<Vec<Listed>, Failure> {
        let whole = async {
            let mut response = self.send(path).await?;
            let status = response.status().as_u16();
            if status != 200 {
                let body = body_of(response).await?.unwrap_or_default();
                return Err(Failure::from(refused(status, &body)).at(path));
            }
            let (mut entries, mut found) = (Entries::default(), Vec::new());
            while let Some(chunk) = response.chunk().await.map_err(explain)? {
                let each = |entry: Entry<'_>| found.extend(read(entry));
                entries.feed(&chunk, each).map_err(|failure| failure.at(path))?;
            }
            let is_whole = entries.are_over();
            is_whole.then_some(found).ok_or_else(|| format!("{path}: the list breaks off").into())
        };
        let timeout = self.config.timeout;
        tokio::time::timeout(timeout, whole).await.map_err(|_| late(path, timeout))?
    }

    /// What a list tells of one container, whatever the daemon is doing with it.
    pub async fn glimpse(&self, id: &ContainerId) -> Result<Option<Container>, Failure> {
        let filter = format!("containers/json?all=1&filters=%7B%22id%22%3A%5B%22{id}%22%5D%7D");
        let listed = self.listed(&filter).await?.into_iter();
        Ok(listed.filter(|listed| listed.id == *id).find_map(|listed| listed.container))
    }

    /// One container, within this time or the deadline, whichever comes first. An error is the daemon's, not
    /// the container's.
    pub async fn inspect(&self, id: &ContainerId, within: Duration) -> Result<Inspected, Failure> {
        let path = format!("containers/{id}/json");
        let within = within.min(self.config.timeout);
        let Some(answer) = self.ask_within(within, &path).await? else {
            return Ok(Inspected::Late(late(&path, within)));
        };
        match answer {
            (404, _) => Ok(Inspected::Gone),
            (_, None) => Ok(Inspected::Unreadable(too_long(&path))),
            (200, Some(body)) => Ok(match json::container(&body) {
                Ok(container) => Inspected::Found(Box::new(container)),
                Err(why) => Inspected::Unreadable(why),
            }),
            (status @ 500.., Some(body)) => Ok(Inspected::Unreadable(refused(status, &body))),
            (status, Some(body)) => Err(refused(status, &body).into()),
        }
    }

    /// The stream of events about containers, those after `since` (nanoseconds) first.
    pub async fn events(&self, since: Option<i64>) -> Result<Response, Failure> {
        let mut path = "events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D".to_owned();
        if let Some(nanos) = since {
            let (seconds, rest) =
                (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
            path.push_str(&format!("&since={seconds}.{rest:09}"));
        }
        let timeout = self.config.timeout;
        let response = tokio::time::timeout(timeout, self.send(&path)).await;
        let response = response.map_err(|_| late(&path, timeout))??;
        match response.status().as_u16() {
            200 => Ok(response),
            status => Err(refused(status, b"").into()),
        }
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let timeout = self.config.timeout;
        let answer = self.ask_within(timeout, path).await?;
        match answer.ok_or_else(|| late(path, timeout))? {
            (_, None) => Err(Failure::too_long(too_long(path))),
            (200, Some(body)) => Ok(body),
            (status, Some(body)) => Err(Failure::from(refused(status, &body)).at(path)),
        }
    }

    /// Status and body, if that is not too long; or nothing if it takes longer.
    async fn ask_within(
        &self,
        within: Duration,
        path: &str,
    ) -> Result<Option<(u16, Option<Vec<u8>>)>, Failure> {
        let whole = async {
            let response = self.send(path).await?;
            Ok((response.status().as_u16(), body_of(response).await?))
        };
        tokio::time::timeout(within, whole).await.ok().transpose()
    }

    /// Sends a request and waits for the head of the answer.
    async fn send(&self, path: &str) -> Result<Response, Failure> {
        let url = self.url(path);
        let DockerConfig { socket, http, .. } = &self.config;
        let client = self.pool.client(&url, socket.as_ref(), http).await?;
        let mut request = client.http.get(client.url);
        if let Some(host) = &client.host {
            request = request.header("Host", host);
        }
        request.send().await.map_err(Failure::unsent)
    }

    fn url(&self, path: &str) -> Url {
        let full = match self.api.as_str() {
            "" => path.to_owned(),
            api => format!("{api}/{path}"),
        };
        self.config.url.join(&full).expect("a path of ours joins any base")
    }
}

/// The newest API both sides speak; the daemon's oldest one where it is newer than all we know,
/// because what we read has never changed.
fn negotiate(version: &json::Version) -> Result<String, String> {
    let parse = |text: &str| {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let newest = parse(&version.api_version).ok_or_else(|| {
        format!("version: `{}` is no version of Docker's API", version.api_version)
    })?;
    let oldest = parse(&version.min_api_version).unwrap_or((1, 24));
    let (major, minor) = newest.min(NEWEST).max(oldest);
    Ok(format!("v{major}.{minor}"))
}

/// The body of an answer, if it is not too long.
async fn body_of(mut response: Response) -> Result<Option<Vec<u8>>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(explain)? {
        if body.len() + chunk.len() > MOST_BYTES {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// What an entry of a list tells; one that does not say whose it is cannot be asked about either.
fn read(entry: Entry<'_>) -> Option<Listed> {
    let (text, container) = match entry {
        Entry::Whole(text) => (text, json::listed(text)),
        Entry::Cut(text) => (text, Err(format!("it has more than {MOST_BYTES} bytes"))),
    };
    match container {
        Ok(container) => Some(Listed { id: container.id.clone(), container: Some(container) }),
        Err(why) => {
            let id = json::id_of(text);
            let told = id.as_ref().map_or("unknown", |id| id.short());
            tracing::warn!(id = told, why, "an entry of Docker's list does not read");
            id.map(|id| Listed { id, container: None })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of a list as Docker 20.10 writes it: made by Compose, three mounts, two ports, a network.
    fn listed(n: usize) -> String {
        let (id, hash) = (format!("{n:064x}"), "9c".repeat(32));
        let labels: String = [
            ("config-hash", hash.as_str()),
            ("container-number", "1"),
            ("depends_on", "db:service_healthy:true,redis:service_started:false"),
            ("image", &format!("sha256:{hash}")),
            ("oneoff", "False"),
            ("project", &format!("customer-{n}-production")),
            ("project.config_files", "/srv/customers/production/docker-compose.yml"),
            ("project.working_dir", "/srv/customers/production"),
            ("service", "application"),
            ("version", "2.20.2"),
        ]
        .iter()
        .map(|(key, value)| format!(r#""com.docker.compose.{key}":"{value}","#))
        .collect();
        let mount = format!(
            r#"{{"Type":"volume","Name":"customer-{n}-production_data","Source":"/var/lib/docker/volumes/customer-{n}-production_data/_data","Destination":"/var/lib/application/data","Driver":"local","Mode":"rw","RW":true,"Propagation":""}}"#
        );
        let port = r#"{"IP":"127.0.0.1","PrivatePort":8080,"PublicPort":30123,"Type":"tcp"}"#;
        format!(
            r#"{{"Id":"{id}","Names":["/customer-{n}-production-application-1"],"Image":"registry.example.com/customers/application:2026.11.29","ImageID":"sha256:{hash}","Command":"/usr/local/bin/docker-entrypoint.sh application serve","Created":1795000000,"Ports":[{port},{port}],"Labels":{{{labels}"org.opencontainers.image.created":"2026-11-29T08:00:00Z","org.opencontainers.image.description":"The application of our customers, as it is built every night","org.opencontainers.image.revision":"0123456789abcdef0123456789abcdef01234567"}},"State":"running","Status":"Up 3 days (healthy)","HostConfig":{{"NetworkMode":"customer-{n}-production_default"}},"NetworkSettings":{{"Networks":{{"customer-{n}-production_default":{{"IPAMConfig":null,"Links":null,"Aliases":null,"NetworkID":"{id}","EndpointID":"{id}","Gateway":"172.18.0.1","IPAddress":"172.18.0.2","IPPrefixLen":16,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"MacAddress":"02:42:ac:12:00:02","DriverOpts":null}}}}}},"Mounts":[{mount},{mount},{mount}]}}"#
        )
    }

    #[test]
    fn a_list_of_five_thousand_containers_is_taken() {
        let body = format!("[{}]", (0..5000).map(listed).collect::<Vec<_>>().join(","));
        let (mut entries, mut found) = (Entries::default(), Vec::new());
        entries.feed(body.as_bytes(), |entry| found.extend(read(entry))).expect("it fits");
        let containers = found.into_iter().filter_map(|listed| listed.container);
        assert_eq!(containers.filter(|container| container.labels.len() == 13).count(), 5000);
    }

    #[test]
    fn the_newest_api_both_speak_is_spoken() {
        for (newest, oldest, want) in [
            ("1.41", "1.12", "v1.41"),
            ("1.60", "1.44", "v1.51"),
            ("1.70", "1.60", "v1.60"),
            ("1.41", "", "v1.41"),
        ] {
            let version = json::Version {
                api_version: newest.to_owned(),
                min_api_version: oldest.to_owned(),
                ..json::Version::default()
            };
            assert_eq!(negotiate(&version).as_deref(), Ok(want), "{newest} {oldest}");
        }
        assert!(negotiate(&json::Version::default()).is_err());
    }
}
