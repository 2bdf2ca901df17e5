//! One container, in the words of Docker's API.
//!
//! Limits are those Docker *believes* in (`HostConfig`); what the kernel enforces stands in the
//! cgroup and may differ after somebody wrote there. `None` is "no limit", never zero.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;

/// Hex digits of a full container id.
const ID_LENGTH: usize = 64;

/// A container's full id: one incarnation, never used again.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    /// An id as Docker writes it; short ids are not ids.
    pub fn new(text: &str) -> Option<ContainerId> {
        is_id(text).then(|| ContainerId(Arc::from(text)))
    }

    /// The 64 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as `docker ps` shows them.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl AsRef<str> for ContainerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_id(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == ID_LENGTH && text.bytes().all(digit)
}

/// The container whose own cgroup `path` is: `/docker/<id>` with the driver cgroupfs,
/// `/system.slice/docker-<id>.scope` with systemd, `libpod-<id>.scope` with Podman. Its children
/// (a container that makes cgroups of its own) are not it.
pub fn id_in_cgroup(path: &str) -> Option<ContainerId> {
    let last = path.trim_end_matches('/').rsplit('/').next()?;
    let last = last.strip_suffix(".scope").unwrap_or(last);
    let id = last.rsplit('-').next()?;
    ContainerId::new(id)
}

/// What Docker believes a container may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Limits {
    /// `--memory`, bytes.
    pub memory_bytes: Option<u64>,
    /// `--memory-reservation`, bytes: the soft limit.
    pub memory_soft_bytes: Option<u64>,
    /// `--memory-swap`, bytes of memory and swap together; `None` is unlimited swap or no limit at
    /// all.
    pub memory_swap_bytes: Option<u64>,
    /// Microseconds of CPU per period (`--cpu-quota`, or `--cpus` × period).
    pub cpu_quota_us: Option<u64>,
    /// The period that quota counts in, microseconds; the kernel's default is 100,000.
    pub cpu_period_us: Option<u64>,
    /// `--cpu-shares`; `None` is the default of 1024.
    pub cpu_shares: Option<u64>,
}

impl Limits {
    /// The CPU limit in cores.
    pub fn cpu_cores(&self) -> Option<f64> {
        let period = self.cpu_period_us.unwrap_or(100_000).max(1);
        Some(self.cpu_quota_us? as f64 / period as f64)
    }
}

/// When Docker itself starts a container again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// In which case.
    pub restart: Restart,
    /// `on-failure:N`; 0 is without end.
    pub most: u32,
}

/// The cases of a restart policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// After an exit code other than 0.
    OnFailure,
    /// Always.
    Always,
    /// Always, unless somebody stopped it.
    UnlessStopped,
}

impl Restart {
    /// Docker's word.
    pub fn name(self) -> &'static str {
        match self {
            Restart::No => "no",
            Restart::OnFailure => "on-failure",
            Restart::Always => "always",
            Restart::UnlessStopped => "unless-stopped",
        }
    }

    /// Reads Docker's word; unknown and empty ones mean "no".
    pub fn parse(word: &str) -> Restart {
        [Restart::OnFailure, Restart::Always, Restart::UnlessStopped]
            .into_iter()
            .find(|restart| restart.name() == word)
            .unwrap_or_default()
    }
}

/// What a container is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Made, never started.
    #[default]
    Created,
    /// Its first process runs.
    Running,
    /// Frozen.
    Paused,
    /// Between two starts of its restart policy.
    Restarting,
    /// Being removed.
    Removing,
    /// Its first process has ended.
    Exited,
    /// Could not be removed.
    Dead,
}

impl Status {
    /// Docker's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Removing => "removing",
            Status::Exited => "exited",
            Status::Dead => "dead",
        }
    }

    /// Reads Docker's word; Podman says `configured`, `stopped` and `stopping`.
    pub fn parse(word: &str) -> Status {
        match word {
            "running" | "stopping" => Status::Running,
            "paused" => Status::Paused,
            "restarting" => Status::Restarting,
            "removing" => Status::Removing,
            "exited" | "stopped" => Status::Exited,
            "dead" => Status::Dead,
            _ => Status::Created,
        }
    }

    /// Whether processes exist: there is a cgroup to read.
    pub fn is_alive(self) -> bool {
        matches!(self, Status::Running | Status::Paused)
    }
}

/// What the container's own health check says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// There is no check.
    #[default]
    None,
    /// It has not succeeded yet, and may still.
    Starting,
    /// It succeeds.
    Healthy,
    /// It fails.
    Unhealthy,
}

impl Health {
    /// Docker's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Health::None => "none",
            Health::Starting => "starting",
            Health::Healthy => "healthy",
            Health::Unhealthy => "unhealthy",
        }
    }

    /// Reads Docker's word.
    pub fn parse(word: &str) -> Health {
        [Health::Starting, Health::Healthy, Health::Unhealthy]
            .into_iter()
            .find(|health| health.name() == word)
            .unwrap_or_default()
    }

    /// The value of cAdvisor's `container_health_state`: 1 healthy, 0 not, -1 without a check.
    pub fn state(self) -> f64 {
        match self {
            Health::None => -1.0,
            Health::Starting | Health::Unhealthy => 0.0,
            Health::Healthy => 1.0,
        }
    }
}

/// One container as Docker describes it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Container {
    /// Which incarnation.
    pub id: ContainerId,
    /// Its name now, without Docker's leading `/`.
    pub name: String,
    /// The image as it was asked for (`Config.Image`).
    pub image: String,
    /// Which image that was then (`sha256:…`): a tag may be given to another. `""` if it is not known.
    #[serde(default)]
    pub image_id: String,
    /// Its labels, those of the image included. Whoever starts a container writes them: hints.
    pub labels: BTreeMap<String, String>,
    /// What Docker believes it may use.
    pub limits: Limits,
    /// When Docker starts it again.
    pub restart_policy: RestartPolicy,
    /// How often the restart policy has started it again.
    pub restart_count: u64,
    /// What it does.
    pub status: Status,
    /// What its health check says.
    pub health: Health,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was started last.
    pub started_at: Option<Timestamp>,
    /// When its first process ended last.
    pub finished_at: Option<Timestamp>,
    /// How that ended.
    pub exit_code: i64,
    /// Whether Docker saw the kernel kill something in it for lack of memory during its last run.
    pub oom_killed: bool,
    /// The kernel is not to kill in it (`--oom-kill-disable`, cgroup v1): what Docker calls an OOM is that it
    /// hangs.
    #[serde(default)]
    pub oom_kill_disabled: bool,
    /// The first process, in the host's numbers, while it is alive.
    pub pid: Option<u32>,
    /// Only what a list tells of it was to be had: no limits, no health, no times, no flag.
    #[serde(skip)]
    pub is_glimpse: bool,
}

impl Container {
    /// As it was known, with what a later glimpse tells.
    pub fn glimpsed(&self, glimpse: &Container) -> Container {
        let Container { name, status, .. } = glimpse.clone();
        let pid = self.pid.filter(|_| status.is_alive());
        // Started again it is another run.
        let oom_killed = self.oom_killed && (self.status.is_alive() || !status.is_alive());
        Container { name, status, pid, oom_killed, ..self.clone() }
    }

    /// A container of which only id and name are known: made at `created_at`, without limits.
    pub fn new(id: ContainerId, name: &str, created_at: Timestamp) -> Container {
        Container {
            id,
            name: name.to_owned(),
            image: String::new(),
            image_id: String::new(),
            labels: BTreeMap::new(),
            limits: Limits::default(),
            restart_policy: RestartPolicy::default(),
            restart_count: 0,
            status: Status::Created,
            health: Health::None,
            created_at,
            started_at: None,
            finished_at: None,
            exit_code: 0,
            oom_killed: false,
            oom_kill_disabled: false,
            pid: None,
            is_glimpse: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_tells_its_container() {
        let id = "ab".repeat(32);
        for (path, want) in [
            (format!("/docker/{id}"), true),
            (format!("/docker/{id}/"), true),
            (format!("/system.slice/docker-{id}.scope"), true),
            (
                format!(
                    "/user.slice/user-1000.slice/user@1000.service/app.slice/docker-{id}.scope"
                ),
                true,
            ),
            (format!("/machine.slice/libpod-{id}.scope"), true),
            (format!("/docker/{id}/init.scope"), false),
            (format!("/docker/{}", &id[..12]), false),
            (format!("/docker/{}", id.to_uppercase()), false),
            ("/docker".to_owned(), false),
            (String::new(), false),
        ] {
            let got = id_in_cgroup(&path);
            assert_eq!(got.is_some(), want, "{path}");
            assert!(got.is_none_or(|got| got.as_str() == id));
        }
    }

    #[test]
    fn words_of_docker_round_trip() {
        for restart in [Restart::No, Restart::OnFailure, Restart::Always, Restart::UnlessStopped] {
            assert_eq!(Restart::parse(restart.name()), restart);
        }
        for health in [Health::None, Health::Starting, Health::Healthy, Health::Unhealthy] {
            assert_eq!(Health::parse(health.name()), health);
        }
        use Status::{Created, Dead, Exited, Paused, Removing, Restarting, Running};
        for status in [Created, Running, Paused, Restarting, Removing, Exited, Dead] {
            assert_eq!(Status::parse(status.name()), status);
        }
    }

    #[test]
    fn cores_are_quota_over_period() {
        let limits = |quota, period| Limits {
            cpu_quota_us: quota,
            cpu_period_us: period,
            ..Limits::default()
        };
        assert_eq!(limits(None, Some(100_000)).cpu_cores(), None);
        assert_eq!(limits(Some(50_000), None).cpu_cores(), Some(0.5));
        assert_eq!(limits(Some(75_000), Some(50_000)).cpu_cores(), Some(1.5));
        assert_eq!(limits(Some(1), Some(0)).cpu_cores(), Some(1.0), "never a division by zero");
    }
}
