//! The configuration file: read whole, every problem at once, then frozen.
//!
//! Each component reads its own section (`scrape`, `send`); here they are collected, defaults are
//! filled in and sections are checked against each other. Secrets are never in the file, only the
//! paths of files that hold them.

mod policy;
mod sections;

use std::path::{Path, PathBuf};

use crate::rules::{self, Group};
use crate::scrape::config::{GlobalConfig, ScrapeConfig, scrape_configs};
use crate::send::WebhookConfig;
use crate::send::alertmanager::AlertingConfig;
use crate::yaml::{Cursor, Fields, Position, Problem, Problems, parse, read};

pub use policy::PolicyConfig;
pub use sections::{StorageConfig, WebConfig, WindowConfig};

use super::files;

/// A whole configuration, rule files included.
#[derive(Clone, Debug)]
pub struct Config {
    /// Intervals and labels for everything.
    pub global: GlobalConfig,
    /// Jobs to scrape.
    pub jobs: Vec<ScrapeConfig>,
    /// Rules of the named files, or those built in.
    pub groups: Vec<Group>,
    /// Where alerts go.
    pub alerting: AlertingConfig,
    /// Where state lives.
    pub storage: StorageConfig,
    /// The HTTP interface.
    pub web: WebConfig,
    /// What is remembered.
    pub window: WindowConfig,
    /// Who is who, and what may be done.
    pub policy: PolicyConfig,
    /// Where webhooks go.
    pub control_plane: Option<WebhookConfig>,
}

/// Sections of a `prometheus.yml` that have no meaning here.
const UNSUPPORTED: [(&str, &str); 7] = [
    ("remote_write", "samples are not sent on"),
    ("remote_read", "samples are not read from elsewhere"),
    ("scrape_config_files", "write the jobs under scrape_configs"),
    ("tracing", "there are no traces"),
    ("otlp", "OTLP is not received"),
    ("runtime", "it is about Go"),
    ("collector", "plimsoll has no collector of its own yet; scrape cAdvisor"),
];

impl Config {
    /// Reads a configuration file and the rule files it names. `None` if there are errors; warnings
    /// may come with a configuration.
    pub fn load(path: &Path) -> (Option<Config>, Problems) {
        let name = path.display().to_string();
        let mut problems = Problems::default();
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let base = path.parent().unwrap_or(Path::new(""));
                let config = Config::read(&name, &text, base, &mut problems);
                problems.sort();
                let config = config.filter(|_| !problems.has_errors());
                (config, problems)
            }
            Err(error) => {
                let at = Position { line: 1, column: 1 };
                problems.push(Problem::in_file(&name, at, format!("cannot be read: {error}")));
                (None, problems)
            }
        }
    }

    /// Reads a configuration from its text; `base` is the folder relative paths start from.
    pub fn read(name: &str, text: &str, base: &Path, problems: &mut Problems) -> Option<Config> {
        let node = parse(name, text, problems)?;
        let mut fields = Fields::open(Cursor::root(name, &node, problems))?;
        let global = fields.optional("global", GlobalConfig::read).unwrap_or_default();
        let jobs = fields
            .optional("scrape_configs", |at| scrape_configs(at, &global, base))
            .unwrap_or_default();
        let patterns = fields.optional("rule_files", read::strings);
        let alerting =
            fields.optional("alerting", |at| AlertingConfig::read(at, base)).unwrap_or_default();
        let window = fields.optional("window", WindowConfig::read).unwrap_or_default();
        let storage = fields.optional("storage", StorageConfig::read).unwrap_or_default();
        let web = fields.optional("web", WebConfig::read).unwrap_or_default();
        let policy = PolicyConfig::read(&mut fields);
        let control_plane =
            fields.optional("control_plane", |at| sections::control_plane(at, base));
        for (key, lost) in UNSUPPORTED {
            fields.unsupported(key, lost);
        }
        let rules_at = fields.key_at("rule_files");
        fields.finish();
        let groups = read_rules(name, patterns.as_deref(), rules_at, base, problems);
        Some(Config { global, jobs, groups, alerting, storage, web, window, policy, control_plane })
    }
}

/// The rules of the named files; without names, those built in.
fn read_rules(
    name: &str,
    patterns: Option<&[String]>,
    at: Option<Position>,
    base: &Path,
    problems: &mut Problems,
) -> Vec<Group> {
    let mut texts: Vec<(String, String)> = Vec::new();
    let at = at.unwrap_or(Position { line: 1, column: 1 });
    match patterns {
        None => texts.extend(files::built_in_rules()),
        Some(patterns) => {
            for pattern in patterns {
                let paths = expand(name, pattern, at, base, problems);
                texts.extend(paths.iter().filter_map(|path| read_text(name, path, at, problems)));
            }
        }
    }
    let (groups, found) = rules::load(&texts);
    problems.extend(found);
    groups
}

fn expand(
    name: &str,
    pattern: &str,
    at: Position,
    base: &Path,
    problems: &mut Problems,
) -> Vec<PathBuf> {
    match files::expand(base, pattern) {
        Ok(paths) if paths.is_empty() => {
            let message = format!("rule_files: `{pattern}` matches no file");
            problems.push(Problem::in_file(name, at, message).warning());
            paths
        }
        Ok(paths) => paths,
        Err(error) => {
            problems.push(Problem::in_file(name, at, format!("rule_files: {error}")));
            Vec::new()
        }
    }
}

fn read_text(
    name: &str,
    path: &Path,
    at: Position,
    problems: &mut Problems,
) -> Option<(String, String)> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some((path.display().to_string(), text)),
        Err(error) => {
            let message = format!("rule file `{}`: {error}", path.display());
            problems.push(Problem::in_file(name, at, message));
            None
        }
    }
}
