//! From a configuration to the parts that run it.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::config::{COLLECTOR_JOB, Config, StorageConfig};
use super::documents::Begun;
use super::switches::SwitchFiles;
use crate::alerts::PresenterConfig;
use crate::base::{Labels, fingerprint};
use crate::collector::{self, CollectorConfig};
use crate::docker::DockerConfig;
use crate::endpoint::{Pool, redact};
use crate::engine::{AskDocker, Pace, Setup, Switches};
use crate::executor::Daemon;
use crate::ledger::LedgerConfig;
use crate::mail::MailConfig;
use crate::outbox::OutboxConfig;
use crate::probe::Prober;
use crate::promql::EvalOptions;
use crate::recorder::RecorderConfig;
use crate::scrape::Settings;
use crate::scrape::config::ScrapeConfig;
use crate::scrape::file_sd::{Discovery, FileTargets, Refreshed};
use crate::send::Webhook;
use crate::send::alertmanager::{AlertmanagerClient, AlertmanagerConfig};
use crate::send::level::Dress;

/// Prometheus's `rules.alert.resend-delay`.
const RESEND_DELAY: Duration = Duration::from_secs(60);
/// Routes that cannot be read are taken to be slow: 1.2 × Alertmanager's default group_interval.
const HOLD_UNREAD: Duration = Duration::from_secs(360);
/// What Alertmanager could not deliver for this long is no longer news.
const MAX_HOLD: Duration = Duration::from_secs(3600);
/// An alert whose inputs stay away is resolved after this long (1 h).
const UNKNOWN_TIMEOUT: Duration = Duration::from_secs(3600);
/// Samples one rule may load: 5,000 containers × an hour at 5 s, and well below memory.
const MAX_SAMPLES: usize = 5_000_000;

/// What the engine runs on; a replay needs no more than this of a configuration.
pub fn engine_setup(config: &Config, host: &str) -> Setup {
    let interval = config.global.evaluation_interval;
    Setup {
        groups: config.groups.clone(),
        pace: Pace { evaluation_interval: interval, phase: phase(host) },
        caps: config.window.caps,
        keep: config.window.keep.clone(),
        keep_for: config.window.retention,
        eval: EvalOptions {
            default_step: interval,
            max_samples: MAX_SAMPLES,
            features: config.promql,
            ..EvalOptions::default()
        },
        external_labels: config.global.external_labels.clone(),
        external_url: config.web.external_url.clone(),
        alertmanagers: config
            .alerting
            .alertmanagers
            .iter()
            .map(|instance| redact(&instance.url))
            .collect(),
        presenter: PresenterConfig {
            resend_delay: RESEND_DELAY,
            hold: config.alerting.min_presentation.unwrap_or(HOLD_UNREAD),
            is_fixed: config.alerting.min_presentation.is_some(),
            max_hold: config.alerting.max_presentation.unwrap_or(MAX_HOLD),
        },
        outbox: (config.control_plane.is_some() || config.policy.executes).then(|| OutboxConfig {
            host: host.to_owned(),
            heartbeat: config.heartbeat,
            restarts_only: config.policy.executes,
            ..OutboxConfig::default()
        }),
        host: host.to_owned(),
        docker: AskDocker::No,
        identity: config.identity(host),
        policy: config.policy.policy.clone(),
        constants: constants(config, if config.identity(host).is_some() { host } else { "" }),
        mail: config.mail.as_ref().map(|(_, plan)| plan.clone()),
        unknown_timeout: config.alerting.unknown_timeout.unwrap_or(UNKNOWN_TIMEOUT),
    }
}

/// A configuration as the parts that run it: everything that can fail has been tried.
pub struct Parts {
    /// For the engine.
    pub setup: Setup,
    /// For the scraper.
    pub settings: Settings,
    /// For the collector, if it is on.
    pub collector: Option<collector::Settings>,
    /// What target files hold now.
    pub files: FileTargets,
    /// How many of these could not be read.
    pub unreadable_files: u64,
    /// What they will hold.
    pub discovery: mpsc::Receiver<Refreshed>,
    /// One client per instance.
    pub alertmanagers: Vec<Arc<AlertmanagerClient>>,
    /// Whether their routes are asked how long a late incident is shown.
    pub reads_holds: bool,
    /// Where Docker listens, if it is asked.
    pub docker: Option<DockerConfig>,
    /// Files that hold actions, and what they say now.
    pub switches: (SwitchFiles, Switches),
    /// Documents of plans and tenants.
    pub documents: Vec<Begun>,
    /// What is recorded, if anything is.
    pub recorder: Option<RecorderConfig>,
    /// What alerts carry.
    pub dress: Arc<Dress>,
    /// Where mail is handed over.
    pub mail: Option<Arc<MailConfig>>,
    /// The ways to tenants' doors.
    pub prober: Arc<Prober>,
    /// The way to the Control Plane.
    pub webhook: Option<Arc<Webhook>>,
    /// The daemon that the local executor would ask.
    pub hand_at: Option<Daemon>,
    /// Whether restarts are given to it.
    pub executes: bool,
}

/// Builds every part of a configuration, and reads every file it names: it may block for as long as a
/// file hangs, and nothing later does. Must run inside the runtime, because target files are watched
/// from here on.
pub fn build(config: &Config, host: &str) -> anyhow::Result<Parts> {
    let docker = match &config.docker {
        None => AskDocker::No,
        Some(docker) if *docker == DockerConfig::default() => AskDocker::IfThere,
        Some(_) => AskDocker::Yes,
    };
    let setup = Setup { docker, ..engine_setup(config, host) };
    let settings = scrape_settings(config, &setup);
    let collector = collector_settings(config, &settings, host);
    let mut watcher = Discovery::new(&settings.jobs);
    let first = watcher.refresh(Duration::ZERO);
    let unreadable_files = first.problems.len() as u64;
    for problem in first.problems {
        tracing::warn!(problem, "target file");
    }
    let (tell, discovery) = mpsc::channel(1);
    tokio::spawn(watcher.watch(tell));
    let switches = &config.policy.switches;
    let client = |config: &AlertmanagerConfig| Arc::new(AlertmanagerClient::new(config.clone()));
    let webhook = config.control_plane.as_ref().map(Webhook::new).transpose()?;
    Ok(Parts {
        setup,
        settings,
        collector,
        files: first.targets.unwrap_or_default(),
        unreadable_files,
        discovery,
        alertmanagers: config.alerting.alertmanagers.iter().map(client).collect(),
        reads_holds: config.alerting.min_presentation.is_none(),
        docker: config.docker.clone(),
        switches: (switches.clone(), switches.read()),
        documents: config.policy.documents().read(),
        recorder: config.recorder.clone(),
        dress: Arc::new(dress(config)),
        mail: config.mail.as_ref().map(|(config, _)| Arc::new(config.clone())),
        prober: Arc::new(Prober::new(&config.policy.gate_options)),
        webhook: webhook.map(Arc::new),
        hand_at: config.docker.as_ref().map(daemon),
        executes: config.policy.executes,
    })
}

/// The same daemon that is watched, for restarts.
fn daemon(config: &DockerConfig) -> Daemon {
    let (url, socket, http) = config.address();
    Daemon { host: config.host.clone(), url, socket, http, pool: Pool::default() }
}

/// What the host itself shows: which version of cgroups its limits are written in.
fn constants(config: &Config, host: &str) -> Vec<(Labels, f64)> {
    let is_v2 = config.collector.clone().unwrap_or_default().is_cgroup_v2();
    let labels = [("__name__", "plimsoll_host_cgroup_version"), ("host", host)];
    vec![(Labels::from_pairs(labels), if is_v2 { 2.0 } else { 1.0 })]
}

/// Hosts of a fleet begin their slots at different moments, so that they do not all knock at the
/// Control Plane at once; all slots of one host share a phase.
fn phase(host: &str) -> Duration {
    let spread = fingerprint(&Labels::from_pairs([("host", host)]));
    Duration::from_millis(spread % 60_000)
}

/// What is scraped, and what of it is kept.
fn scrape_settings(config: &Config, setup: &Setup) -> Settings {
    let caps = setup.caps;
    let bounded = |job: ScrapeConfig| ScrapeConfig {
        limits: job.limits.clone().within(caps.max_series, caps.max_bytes),
        ..job
    };
    Settings {
        jobs: config.jobs.iter().cloned().map(bounded).map(Arc::new).collect(),
        selection: Arc::new(setup.selection()),
        keep_pages: config.recorder.is_some(),
        vhost_labels: Arc::from(config.policy.vhost_labels.as_slice()),
    }
}

/// How this host's containers are measured, and what of it is kept.
fn collector_settings(
    config: &Config,
    scrape: &Settings,
    host: &str,
) -> Option<collector::Settings> {
    let target = Labels::from_pairs([("job", COLLECTOR_JOB), ("instance", host)]);
    let selection = Arc::clone(&scrape.selection);
    let docker_afar = config.docker.as_ref().and_then(DockerConfig::afar).map(str::to_owned);
    let config = CollectorConfig { docker_afar, ..config.collector.clone()? };
    Some(collector::Settings { config, target, selection })
}

/// What every alert carries on its way out.
pub fn dress(config: &Config) -> Dress {
    Dress {
        external_labels: config.global.external_labels.clone(),
        relabel: config.alerting.alert_relabel.clone(),
        external_url: config.web.external_url.clone(),
    }
}

/// The audit's files within the state directory. 8 × 16 MiB hold some 300,000 records: months of a
/// quiet host, a week of a very bad one.
pub fn audit(storage: &StorageConfig, state_dir: &Path) -> LedgerConfig {
    let StorageConfig { audit_file_bytes, audit_files, .. } = *storage;
    LedgerConfig {
        dir: state_dir.join("audit"),
        file_bytes: audit_file_bytes.unwrap_or(16 << 20),
        files: audit_files.map_or(8, |files| usize::try_from(files).unwrap_or(usize::MAX)),
    }
}

/// Where state lives, and whether that was a last resort worth a warning.
pub fn state_dir(storage: &StorageConfig, state_directory: Option<&Path>) -> (PathBuf, bool) {
    let default = Path::new("/var/lib/plimsoll");
    if let Some(path) = &storage.path {
        (path.clone(), false)
    } else if let Some(path) = state_directory {
        (path.to_owned(), false)
    } else if is_folder(&fs::metadata(default)) {
        (default.to_owned(), false)
    } else {
        (PathBuf::from("plimsoll-state"), true)
    }
}

/// Whether a folder is there. Of one that this user may not look at, as of a service's, it is not known what it
/// is; to take it for nothing would lead elsewhere.
fn is_folder(found: &io::Result<Metadata>) -> bool {
    match found {
        Ok(about) => about.is_dir(),
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Where a relative `storage.path` led while it started from the working directory, `here`, and where it leads
/// now, if there is a journal there and none here: to begin anew would send again what was sent, and forget what
/// waits.
pub fn left_behind(storage: &StorageConfig, here: &Path) -> Option<(PathBuf, PathBuf)> {
    let (old, new) = (here.join(storage.written.as_ref()?), storage.path.as_ref()?);
    let has_journal = |state: &Path| is_folder(&fs::metadata(state.join("journal")));
    (has_journal(&old) && !has_journal(new)).then(|| (old, new.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_in_the_version_of_the_cgroups_that_are_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let text = format!("collector: {{cgroup_root: '{}'}}", dir.path().display());
        let version = || {
            let config = Config::read("p.yml", &text, Path::new(""), &mut Default::default());
            constants(&config.expect("it reads"), "dock").remove(0).1
        };
        assert!((version() - 1.0).abs() < f64::EPSILON);
        fs::write(dir.path().join("cgroup.controllers"), "memory").expect("written");
        assert!((version() - 2.0).abs() < f64::EPSILON);
    }

    /// Of a service's folder its users see no more than that they may not look.
    #[test]
    fn a_folder_that_may_not_be_looked_at_is_one() {
        let failed = |kind: io::ErrorKind| is_folder(&Err(kind.into()));
        assert!(failed(io::ErrorKind::PermissionDenied));
        assert!(!failed(io::ErrorKind::NotFound) && !failed(io::ErrorKind::NotADirectory));
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("file"), "").expect("written");
        assert!(is_folder(&fs::metadata(dir.path())));
        assert!(!is_folder(&fs::metadata(dir.path().join("file"))));
    }

    #[test]
    fn state_that_a_relative_path_led_to_before_is_left_behind_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let (here, etc) = (dir.path().join("here"), dir.path().join("etc"));
        let storage = |path: &str| {
            let text = format!("storage: {{path: '{path}'}}");
            let read = Config::read("p.yml", &text, &etc, &mut Default::default());
            read.expect("it reads").storage
        };
        let relative = storage("state");
        assert_eq!(left_behind(&relative, &here), None, "nothing ran here");
        fs::create_dir_all(here.join("state/journal")).expect("made");
        let both = Some((here.join("state"), etc.join("state")));
        assert_eq!(left_behind(&relative, &here), both);
        assert_eq!(left_behind(&storage(&etc.join("state").display().to_string()), &here), None);
        fs::create_dir_all(etc.join("state/journal")).expect("made");
        assert_eq!(left_behind(&relative, &here), None, "it was moved, or is the same");
    }
}
