//! Docker's JSON, as far as anything here reads it. Fields that are missing are as good as empty:
//! Podman leaves some out, older daemons know fewer, and what is empty may be written `null`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::base::{Timestamp, parse_rfc3339};
use crate::containers::{
    Container, ContainerId, Happening, Health, Limits, Restart, RestartPolicy, Status, What,
};

/// `GET /version`
#[derive(Deserialize, Default, Debug)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Version {
    pub version: String,
    pub api_version: String,
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
}

/// `GET /info`
#[derive(Deserialize, Default, Debug)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Info {
    pub system_time: String,
}

/// One entry of `GET /containers/json`
#[derive(Deserialize, Default, Debug)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    id: String,
    #[serde(deserialize_with = "or_empty")]
    names: Vec<String>,
    #[serde(deserialize_with = "or_empty")]
    image: String,
    #[serde(rename = "ImageID", deserialize_with = "or_empty")]
    image_id: String,
    #[serde(deserialize_with = "or_empty")]
    created: i64,
    #[serde(deserialize_with = "or_empty")]
    state: String,
    #[serde(deserialize_with = "or_empty")]
    labels: BTreeMap<String, String>,
}

/// A value; `null` is as good as none.
fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// A container as far as an entry of the list tells of it: without limits, health and how it ended.
pub(super) fn listed(entry: &[u8]) -> Result<Container, String> {
    let read: Listed = serde_json::from_slice(entry).map_err(|error| error.to_string())?;
    let id = ContainerId::new(&read.id).ok_or_else(|| format!("`{}` is not an id", read.id))?;
    // Beside its own name a container has those that links gave it: `/other/alias`.
    let names = read.names.iter().map(|name| name.strip_prefix('/').unwrap_or(name));
    let name = names.min_by_key(|name| name.contains('/')).unwrap_or(id.short()).to_owned();
    let made = Container::new(id, &name, Timestamp(read.created.saturating_mul(1000)));
    Ok(Container {
        image: read.image,
        image_id: read.image_id,
        labels: read.labels,
        status: Status::parse(&read.state),
        is_glimpse: true,
        ..made
    })
}

/// Of whom an entry is that does not read: Docker begins with that.
pub(super) fn id_of(entry: &[u8]) -> Option<ContainerId> {
    let text = entry.strip_prefix(br#"{"Id":""#)?.split(|byte| *byte == b'"').next()?;
    ContainerId::new(std::str::from_utf8(text).ok()?)
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Inspected {
    id: String,
    name: String,
    image: String,
    created: String,
    restart_count: u64,
    state: State,
    #[serde(deserialize_with = "or_empty")]
    config: Config,
    #[serde(deserialize_with = "or_empty")]
    host_config: HostConfig,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    status: String,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    pid: u32,
    exit_code: i64,
    started_at: String,
    finished_at: String,
    health: Option<HealthState>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct HealthState {
    status: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    image: String,
    #[serde(deserialize_with = "or_empty")]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    memory: i64,
    memory_reservation: i64,
    memory_swap: i64,
    nano_cpus: i64,
    cpu_quota: i64,
    cpu_period: i64,
    cpu_shares: i64,
    oom_kill_disable: Option<bool>,
    restart_policy: Policy,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Policy {
    name: String,
    maximum_retry_count: u32,
}

/// The kernel's period where Docker names none, microseconds.
const DEFAULT_PERIOD_US: u64 = 100_000;

/// A container from `GET /containers/{id}/json`.
pub(super) fn container(body: &[u8]) -> Result<Container, String> {
    let read: Inspected = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let id = ContainerId::new(&read.id).ok_or_else(|| format!("`{}` is not an id", read.id))?;
    // Docker writes year 1 for "never".
    let time = |text: &str| parse_rfc3339(text).filter(|at| at.0 > 0);
    let name = read.name.strip_prefix('/').unwrap_or(&read.name);
    let made = Container::new(id, name, time(&read.created).unwrap_or(Timestamp(0)));
    let state = read.state;
    let oom_kill_disabled = read.host_config.oom_kill_disable == Some(true);
    Ok(Container {
        image: read.config.image,
        image_id: read.image,
        labels: read.config.labels,
        limits: limits(&read.host_config),
        restart_policy: RestartPolicy {
            restart: Restart::parse(&read.host_config.restart_policy.name),
            most: read.host_config.restart_policy.maximum_retry_count,
        },
        restart_count: read.restart_count,
        status: Status::parse(&state.status),
        health: state.health.map(|health| Health::parse(&health.status)).unwrap_or_default(),
        started_at: time(&state.started_at),
        finished_at: time(&state.finished_at),
        exit_code: state.exit_code,
        oom_killed: state.oom_killed && !oom_kill_disabled,
        oom_kill_disabled,
        pid: Some(state.pid).filter(|pid| *pid > 0),
        ..made
    })
}

/// 0 means "not set" everywhere, and -1 is unlimited swap.
fn limits(host: &HostConfig) -> Limits {
    let set = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let period = set(host.cpu_period);
    // `--cpus` is kept in billionths of a core, and becomes a quota of the default period.
    let cpus = set(host.nano_cpus).map(|nano| nano / (1_000_000_000 / DEFAULT_PERIOD_US));
    let quota = set(host.cpu_quota).or(cpus);
    Limits {
        memory_bytes: set(host.memory),
        memory_soft_bytes: set(host.memory_reservation),
        memory_swap_bytes: set(host.memory_swap),
        cpu_quota_us: quota,
        cpu_period_us: period.or(quota.map(|_| DEFAULT_PERIOD_US)),
        cpu_shares: set(host.cpu_shares),
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Event {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    #[serde(rename = "timeNano")]
    time_nano: i64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(deserialize_with = "or_empty")]
    attributes: BTreeMap<String, String>,
}

/// What Podman alone says of every container.
const OF_PODMAN: &str = "containerExitCode";

/// One line of `GET /events`; `None` if it is about something else.
pub fn happening(line: &[u8]) -> Result<Option<Happening>, String> {
    let event: Event = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if event.kind != "container" {
        return Ok(None);
    }
    let Some(id) = ContainerId::new(&event.actor.id) else { return Ok(None) };
    let get = |key: &str| event.actor.attributes.get(key).map_or("", String::as_str);
    let number = |key: &str| get(key).parse::<i64>().unwrap_or_default();
    // `health_status: healthy`, `exec_start: sh -c …`: the words after the colon are arguments.
    let (action, rest) = event.action.split_once(':').unwrap_or((event.action.as_str(), ""));
    let what = match action {
        "create" => What::Create,
        "start" => What::Start,
        "oom" => What::Oom,
        "die" => What::Die { exit_code: number("exitCode") },
        "kill" => What::Kill { signal: signal(get("signal")) },
        // Podman sends no signal's event for them, and says them before the end, not after it.
        "stop" | "restart" if event.actor.attributes.contains_key(OF_PODMAN) => {
            What::Kill { signal: signal("") }
        }
        "stop" => What::Stop,
        "restart" => What::Restart,
        "pause" => What::Pause,
        "unpause" => What::Unpause,
        "health_status" => What::HealthStatus(Health::parse(rest.trim())),
        "update" => What::Update,
        "rename" => {
            let old = get("oldName");
            What::Rename { from: old.strip_prefix('/').unwrap_or(old).to_owned() }
        }
        // Podman's word.
        "destroy" | "remove" => What::Destroy,
        _ => return Ok(None),
    };
    let name = get("name").to_owned();
    Ok(Some(Happening { id, name, at_nanos: event.time_nano, what }))
}

/// The line of `docker events --format '{{json .}}'` that [`happening`] reads like this.
pub fn event_line(happening: &Happening) -> String {
    let mut attributes = BTreeMap::from([("name", happening.name.clone())]);
    let action = match &happening.what {
        What::Create => "create",
        What::Start => "start",
        What::Oom => "oom",
        What::Die { exit_code } => {
            attributes.insert("exitCode", exit_code.to_string());
            "die"
        }
        What::Kill { signal } => {
            attributes.insert("signal", signal.to_string());
            "kill"
        }
        What::Stop => "stop",
        What::Restart => "restart",
        What::Pause => "pause",
        What::Unpause => "unpause",
        What::HealthStatus(Health::Healthy) => "health_status: healthy",
        What::HealthStatus(Health::Unhealthy) => "health_status: unhealthy",
        What::HealthStatus(Health::Starting) => "health_status: starting",
        What::HealthStatus(Health::None) => "health_status: none",
        What::Update => "update",
        What::Rename { from } => {
            attributes.insert("oldName", from.clone());
            "rename"
        }
        What::Destroy => "destroy",
    };
    let line = serde_json::json!({
        "Type": "container",
        "Action": action,
        "Actor": {"ID": happening.id.as_str(), "Attributes": attributes},
        "timeNano": happening.at_nanos,
    });
    line.to_string()
}

/// `9`, `SIGKILL` or `KILL`.
fn signal(text: &str) -> u8 {
    let word = text.strip_prefix("SIG").unwrap_or(text);
    let named = [("HUP", 1), ("INT", 2), ("QUIT", 3), ("KILL", 9), ("TERM", 15)];
    let by_name = named.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
    by_name.or_else(|| word.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inspected_container_is_read() {
        let body = format!(
            r#"{{"Id":"{}","Created":"2026-11-22T02:00:00.123456789Z","Name":"/acme-1","RestartCount":3,"Image":"sha256:ab",
            "State":{{"Status":"exited","Running":false,"OOMKilled":true,"Pid":0,"ExitCode":137,
              "StartedAt":"2026-11-22T02:00:01Z","FinishedAt":"2026-11-22T02:00:05.5Z"}},
            "Config":{{"Image":"app:1","Labels":{{"prego.tenant":"acme"}}}},
            "HostConfig":{{"Memory":67108864,"MemoryReservation":33554432,"MemorySwap":-1,"NanoCpus":62500000,
              "CpuShares":0,"RestartPolicy":{{"Name":"on-failure","MaximumRetryCount":5}}}}}}"#,
            "ab".repeat(32)
        );
        let read = container(body.as_bytes()).expect("reads");
        assert_eq!((read.name.as_str(), read.image.as_str()), ("acme-1", "app:1"));
        assert_eq!(read.image_id, "sha256:ab");
        assert_eq!(read.limits.memory_bytes, Some(64 << 20));
        assert_eq!(read.limits.memory_soft_bytes, Some(32 << 20));
        assert_eq!(read.limits.memory_swap_bytes, None);
        assert_eq!((read.limits.cpu_quota_us, read.limits.cpu_cores()), (Some(6250), Some(0.0625)));
        assert_eq!(
            (read.restart_policy.restart, read.restart_policy.most),
            (Restart::OnFailure, 5)
        );
        assert_eq!((read.status, read.oom_killed, read.exit_code), (Status::Exited, true, 137));
        for (disables, want) in
            [("true", (false, true)), ("false", (true, false)), ("null", (true, false))]
        {
            let disabling = format!("\"OomKillDisable\":{disables},\"CpuShares\"");
            let read =
                container(body.replace("\"CpuShares\"", &disabling).as_bytes()).expect("reads");
            assert_eq!((read.oom_killed, read.oom_kill_disabled), want, "{disables}");
        }
        assert_eq!(read.finished_at, Some(Timestamp(1_795_312_805_500)));
        assert_eq!((read.health, read.pid, read.restart_count), (Health::None, None, 3));
    }

    #[test]
    fn what_is_missing_is_empty_and_what_is_wrong_is_told() {
        let bare = format!(
            r#"{{"Id":"{}","State":{{"StartedAt":"0001-01-01T00:00:00Z"}},"Config":{{"Labels":null}}}}"#,
            "0".repeat(64)
        );
        let read = container(bare.as_bytes()).expect("reads");
        assert_eq!((read.limits, read.started_at), (Limits::default(), None));
        for bad in ["", "[]", "{}", r#"{"Id":"ab"}"#, r#"{"Id":3}"#] {
            assert!(container(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// What a line tells.
    fn check(action: &str, attributes: &str, want: Option<What>) {
        let line = format!(
            r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"{}","Attributes":{{{attributes}}}}},"timeNano":5}}"#,
            "a".repeat(64)
        );
        let got = happening(line.as_bytes()).expect(action);
        assert_eq!(got.as_ref().map(|happening| happening.what.clone()), want, "{action}");
        let again = got.as_ref().map(|told| happening(event_line(told).as_bytes()));
        assert_eq!(again.transpose().expect(action).flatten(), got, "{action}, written and read");
    }

    #[test]
    fn lines_of_the_stream_are_read() {
        check("oom", r#""name":"x""#, Some(What::Oom));
        check("die", r#""exitCode":"137","name":"x""#, Some(What::Die { exit_code: 137 }));
        check("kill", r#""signal":"15""#, Some(What::Kill { signal: 15 }));
        check("kill", r#""signal":"SIGKILL""#, Some(What::Kill { signal: 9 }));
        check("kill", r#""signal":"RTMIN+3""#, Some(What::Kill { signal: 0 }));
        check("health_status: unhealthy", "", Some(What::HealthStatus(Health::Unhealthy)));
        check("rename", r#""oldName":"/a""#, Some(What::Rename { from: "a".to_owned() }));
        check("exec_start: sh -c true", "", None);
        check("remove", r#""name":"x""#, Some(What::Destroy));
        check("resize", "", None);
        let network = br#"{"Type":"network","Action":"connect","Actor":{"ID":"x"}}"#;
        assert_eq!(happening(network), Ok(None));
        assert!(happening(b"{\"Type\":").is_err());
    }
}
