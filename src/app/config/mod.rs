//! The configuration file: read whole, every problem at once, then frozen.
//!
//! Each component reads its own section (`scrape`, `send`); here they are collected, defaults are
//! filled in and sections are checked against each other. Secrets are never in the file, only the
//! paths of files that hold them.

mod actions;
mod calendar;
mod cross;
mod environment;
mod gates;
mod mail;
mod named_files;
pub mod owners;
mod places;
mod policy;
mod sections;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::collector::CollectorConfig;
use crate::docker::DockerConfig;
use crate::engine::MailPlan;
use crate::mail::MailConfig;
use crate::policy::Identity;
use crate::promql::Features;
use crate::recorder::RecorderConfig;
use crate::rules::{self, Group, LintOptions};
use crate::scrape::config::{GlobalConfig, ScrapeConfig, scrape_configs};
use crate::send::WebhookConfig;
use crate::send::alertmanager::AlertingConfig;
use crate::yaml::{Cursor, Fields, Position, Problem, Problems, parse, read};

pub use environment::{Environment, hostname};
pub use places::{Places, is_absent};
pub use policy::{COLLECTOR_JOB, PolicyConfig};
pub use sections::{StorageConfig, WebConfig, WindowConfig};

use super::files;

/// A whole configuration, rule files included.
#[derive(Clone, Debug)]
pub struct Config {
    /// Intervals and labels for everything.
    pub global: GlobalConfig,
    /// Jobs to scrape.
    pub jobs: Vec<ScrapeConfig>,
    /// How this host's containers are measured; on unless only `scrape_configs` is written.
    pub collector: Option<CollectorConfig>,
    /// Rules of the named files, or those built in.
    pub groups: Vec<Group>,
    /// Where alerts go.
    pub alerting: AlertingConfig,
    /// Where state lives.
    pub storage: StorageConfig,
    /// The HTTP interface.
    pub web: WebConfig,
    /// Where Docker listens, if it is asked; without a section of its own, wherever the collector is on.
    pub docker: Option<DockerConfig>,
    /// What queries and rules may use beyond the stable language.
    pub promql: Features,
    /// What is remembered.
    pub window: WindowConfig,
    /// Who is who, and what may be done.
    pub policy: PolicyConfig,
    /// What is recorded for replays, if anything is.
    pub recorder: Option<RecorderConfig>,
    /// Where webhooks go.
    pub control_plane: Option<WebhookConfig>,
    /// Where mail is handed over, and when any is due.
    pub mail: Option<(MailConfig, MailPlan)>,
    /// How often the Control Plane gets a sign of life, if it does.
    pub heartbeat: Option<Duration>,
    /// Nobody wrote it: these are the defaults.
    pub is_built_in: bool,
}

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "plimsoll.yaml";
/// What stands in its place when it is not there.
const DEFAULTS: &str = include_str!("default.yaml");

/// Sections of a `prometheus.yml` that have no meaning here.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("remote_write", "samples are not sent on"),
    ("remote_read", "samples are not read from elsewhere"),
    ("scrape_config_files", "write the jobs under scrape_configs"),
    ("tracing", "there are no traces"),
    ("otlp", "OTLP is not received"),
    ("runtime", "it is about Go"),
];

impl Config {
    /// Reads a configuration file and the rule files it names. `None` if there are errors; warnings
    /// may come with a configuration.
    pub fn load(path: &Path) -> (Option<Config>, Problems) {
        let name = path.display().to_string();
        let mut problems = Problems::default();
        let config = match files::read(path) {
            Ok(text) => {
                let base = path.parent().unwrap_or(Path::new(""));
                Config::read(&name, &text, base, &mut problems)
            }
            Err(unreadable) => {
                problems.push(unreadable.problem(path));
                None
            }
        };
        problems.sort();
        (config.filter(|_| !problems.has_errors()), problems)
    }

    /// As [`Config::load`], and what is wrong with the documents it names that are files. Others write
    /// these, and a start or a reload does without them: errors are what neither would take.
    pub fn load_whole(path: &Path) -> (Option<Config>, Problems) {
        let (config, mut problems) = Config::load(path);
        let faults = config.as_ref().map(|config| config.policy.documents().faults());
        let name = path.display().to_string();
        let node = files::read(path).ok().and_then(|t| parse(&name, &t, &mut Problems::default()));
        for (key, is_there, why) in faults.into_iter().flatten() {
            let at =
                node.as_ref().map_or(Position { line: 1, column: 1 }, |n| cross::key_at(n, key));
            let message = match is_there {
                true => format!("{key}: the document would be refused: {why}"),
                false => format!("{key}: nothing is known while it is not there: {why}"),
            };
            problems.push(Problem::in_file(&name, at, message).warning());
        }
        problems.sort();
        (config, problems)
    }

    /// As [`Config::load`]; but where [`DEFAULT_FILE`] is asked for and there is none, the defaults
    /// do, with a warning that says so.
    pub fn load_or_default(path: &Path) -> (Option<Config>, Problems) {
        if !is_absent(path) {
            return Config::load(path);
        }
        let mut problems = Problems::default();
        let why = "there is no such file: this host's containers are measured, and the built-in \
                   rules watch them";
        let start = Position { line: 1, column: 1 };
        let hint = "plimsoll.example.yaml has what can be written in one";
        problems.push(Problem::in_file(DEFAULT_FILE, start, why).hint(hint).warning());
        let config = Config::read(DEFAULT_FILE, DEFAULTS, Path::new(""), &mut problems);
        (config.map(|config| Config { is_built_in: true, ..config }), problems)
    }

    /// What rules are measured against that run with this.
    pub fn lint_options(&self) -> LintOptions {
        cross::lint_options(self)
    }

    /// How series are attributed; `None` leaves them as they are.
    pub fn identity(&self, host: &str) -> Option<Identity> {
        self.policy.identity(host, (self.collector.is_some(), &self.jobs))
    }

    /// Reads a configuration from its text; `base` is the folder relative paths start from.
    pub fn read(name: &str, text: &str, base: &Path, problems: &mut Problems) -> Option<Config> {
        let node = parse(name, text, problems)?;
        let mut fields = Fields::open(Cursor::root(name, &node, problems))?;
        let default = match fields.has("rule_files") {
            true => GlobalConfig::default(),
            false => GlobalConfig::of_built_in_rules(),
        };
        let global = fields.optional("global", |at| GlobalConfig::read(at, &default));
        let global = global.unwrap_or(default);
        let jobs = fields.optional("scrape_configs", |at| scrape_configs(at, &global, base));
        let collector = fields.optional("collector", CollectorConfig::read);
        let collector = collector.or_else(|| jobs.is_none().then(CollectorConfig::default));
        let jobs = jobs.unwrap_or_default();
        let texts = fields.optional("rule_files", |at| Some(rule_files(at, base)));
        let alerting =
            fields.optional("alerting", |at| AlertingConfig::read(at, base)).unwrap_or_default();
        let window = fields.optional("window", WindowConfig::read).unwrap_or_default();
        let storage =
            fields.optional("storage", |at| StorageConfig::read(at, base)).unwrap_or_default();
        let web = fields.optional("web", WebConfig::read).unwrap_or_default();
        let promql = fields.optional("promql", sections::promql).unwrap_or_default();
        let docker = fields.optional("docker", |at| DockerConfig::read(at, base));
        // Who the containers are that the collector measures, Docker knows.
        let docker = docker.or_else(|| collector.as_ref().map(|_| DockerConfig::default()));
        let docker = docker.filter(|docker| docker.enabled);
        let recorder = fields.optional("recorder", |at| sections::recorder(at, base));
        let policy = PolicyConfig::read(&mut fields, base);
        let control_plane =
            fields.optional("control_plane", |at| sections::control_plane(at, base));
        let (control_plane, heartbeat) = control_plane.unzip();
        let mail = fields.optional("mail", |at| mail::read(at, base));
        for (key, lost) in UNSUPPORTED {
            fields.unsupported(key, lost);
        }
        fields.finish();
        let is_built_in = texts.is_none();
        let texts = texts.unwrap_or_else(files::built_in_rules);
        let (groups, _) = rules::load(&texts, &promql.parsing());
        let config = Config {
            global,
            jobs,
            collector,
            groups,
            alerting,
            docker,
            storage,
            web,
            promql,
            window,
            policy,
            recorder,
            control_plane,
            mail,
            heartbeat: heartbeat.flatten(),
            is_built_in: false,
        };
        let found = rules::check(&texts, &config.lint_options());
        match is_built_in {
            true => cross::of_built_in_rules(&config, name, &node, (&found, problems)),
            false => {
                problems.extend(found);
                cross::of_own_rules(&config, name, &node, problems);
            }
        }
        named_files::check(name, &node, base, problems);
        cross::check(&config, name, &node, problems);
        Some(config)
    }
}

/// The texts of the files that `rule_files` names, each once, in the order they are named.
fn rule_files(mut at: Cursor<'_, '_>, base: &Path) -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = Vec::new();
    let texts = at.each_item(|mut at| {
        let pattern = read::string(at.again())?;
        let found = files::expand(base, &pattern).map_err(|error| at.error(error)).ok()?;
        if found.is_empty() {
            at.warning(format!("`{pattern}` matches no file"));
        }
        let mut texts = Vec::new();
        for path in found {
            if paths.contains(&path) {
                continue;
            }
            match files::read(&path) {
                Ok(text) => texts.push((path.display().to_string(), text)),
                Err(bad) if bad.at.is_some() => at.push(bad.problem(&path)),
                Err(bad) => at.error(format!("`{}` {}", path.display(), bad.why)),
            }
            paths.push(path);
        }
        Some(texts)
    });
    texts.unwrap_or_default().into_iter().flatten().collect()
}
