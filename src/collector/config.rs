//! The section `collector`.

use std::path::PathBuf;
use std::time::Duration;

use super::tree::{Version, version_at};
use crate::yaml::{Cursor, Fields, read};

/// Docker labels that are always exported when a container has them: identity is made of them.
const LABELS: [&str; 6] = [
    "prego.tenant",
    "prego.plan",
    "prego.role",
    "prego.busy",
    "com.docker.compose.project",
    "com.docker.compose.service",
];

/// How this host's containers are measured.
#[derive(Clone, PartialEq, Debug)]
pub struct CollectorConfig {
    /// How often all figures are collected.
    pub interval: Duration,
    /// How often memory usage is looked at in between, for peaks.
    pub sample_interval: Duration,
    /// Where cgroups are mounted.
    pub cgroup_root: PathBuf,
    /// Where the host's `/proc` is.
    pub proc_root: PathBuf,
    /// Docker labels exported as `container_label_…`, by their exact keys.
    pub labels: Vec<String>,
    /// `docker.host`, where that may be another machine: its containers have no cgroups here then.
    pub docker_afar: Option<String>,
}

impl Default for CollectorConfig {
    /// Five seconds see every climb that lasts a minute a dozen times; one second in between costs
    /// one read per container.
    fn default() -> CollectorConfig {
        CollectorConfig {
            interval: Duration::from_secs(5),
            sample_interval: Duration::from_secs(1),
            cgroup_root: PathBuf::from("/sys/fs/cgroup"),
            proc_root: PathBuf::from("/proc"),
            labels: LABELS.map(str::to_owned).to_vec(),
            docker_afar: None,
        }
    }
}

impl CollectorConfig {
    /// Whether the cgroups are of version 2, as far as can be seen.
    pub fn is_cgroup_v2(&self) -> bool {
        version_at(&self.cgroup_root) == Version::V2
    }

    /// Reads the section.
    pub fn read(at: Cursor<'_, '_>) -> Option<CollectorConfig> {
        let default = CollectorConfig::default();
        let mut fields = Fields::open(at)?;
        let interval = fields.or("interval", default.interval, read::positive_duration);
        let sample_interval =
            fields.or("sample_interval", default.sample_interval, |at| shorter(at, interval));
        let cgroup_root = fields.or("cgroup_root", default.cgroup_root, folder);
        let proc_root = fields.or("proc_root", default.proc_root, folder);
        let mut labels = default.labels.clone();
        for label in fields.optional("labels", read::strings).unwrap_or_default() {
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        fields.finish();
        Some(CollectorConfig {
            interval,
            sample_interval,
            cgroup_root,
            proc_root,
            labels,
            ..default
        })
    }
}

fn shorter(mut at: Cursor<'_, '_>, interval: Duration) -> Option<Duration> {
    let sample_interval = read::positive_duration(at.again())?;
    if sample_interval > interval {
        at.warning("is longer than `interval`: nothing is sampled in between");
    }
    Some(sample_interval)
}

/// A folder of the host's, which may not be there yet, or not where this is checked.
fn folder(mut at: Cursor<'_, '_>) -> Option<PathBuf> {
    let path = PathBuf::from(read::string(at.again())?);
    if !path.is_absolute() {
        at.error(format!("`{}` is not an absolute path", path.display()));
        return None;
    }
    if !path.is_dir() {
        at.warning(format!("there is no folder `{}` here", path.display()));
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Problems, parse};

    fn read(text: &str) -> (Option<CollectorConfig>, String) {
        let mut problems = Problems::default();
        let node = parse("a.yml", text, &mut problems).expect(text);
        let config = CollectorConfig::read(Cursor::root("a.yml", &node, &mut problems));
        (config, problems.to_string())
    }

    #[test]
    fn every_key_has_a_default_and_is_read() {
        assert_eq!(read("{}"), (Some(CollectorConfig::default()), String::new()));
        let text = "{interval: 10s, sample_interval: 2s, cgroup_root: /proc/self, \
                    proc_root: /proc/1, labels: [team, prego.plan]}";
        let (config, problems) = read(text);
        assert_eq!(problems, "");
        let config = config.expect("reads");
        assert_eq!(config.interval, Duration::from_secs(10));
        assert_eq!(config.sample_interval, Duration::from_secs(2));
        assert_eq!(config.cgroup_root, PathBuf::from("/proc/self"));
        assert_eq!(config.proc_root, PathBuf::from("/proc/1"));
        assert_eq!(config.labels.len(), 7);
        assert_eq!(config.labels[6], "team");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (text, want) in [
            ("{interval: 0s}", "interval"),
            ("{cgroup_root: sys}", "not an absolute path"),
            ("{cgroup_rot: /x}", "did you mean `cgroup_root`?"),
            ("{proc_root: /no/where}", "warning: proc_root: there is no folder `/no/where` here"),
            ("{sample_interval: 6s}", "warning: sample_interval: is longer than `interval`"),
        ] {
            let (_, problems) = read(text);
            assert!(problems.contains(want), "{text}: {problems}");
        }
    }
}
