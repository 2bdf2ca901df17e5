//! Sections against each other: what each allows and both together do not mean.
//!
//! Nothing here is a matter of taste. A warning names two settings that together do not do what
//! one of them says.

use super::policy::is_cadvisor;
use super::{Config, named_files};
use crate::base::{closest, format_duration};
use crate::outbox::ActionKind;
use crate::policy::{Measurers, Mode};
use crate::promql::{QueryTimes, reach};
use crate::rules::{self, LintOptions, Rule, RuleKind};
use crate::scrape::config::ScrapeConfig;
use crate::send::{Webhook, WebhookError};
use crate::yaml::{Kind, Level, Node, Position, Problem, Problems};

/// What a check found: the key it is about (`section.key`), how bad, what, and the way out.
struct Finding {
    key: &'static str,
    level: Level,
    message: String,
    hint: String,
    /// Whether it is over once a file can be read.
    awaits_file: bool,
}

type Check = fn(&Config) -> Option<Finding>;

const CHECKS: [Check; 11] = [
    a_job_that_measures_is_none,
    nothing_is_scraped,
    containers_are_measured_twice,
    anybody_is_believed_about_containers,
    alerts_reach_nobody,
    an_instance_stands_twice,
    nobody_is_asked_to_act,
    two_would_restart,
    the_executor_has_nothing_to_do,
    the_control_plane_cannot_be_asked,
    anyone_may_reload,
];

/// Checks a configuration whose sections are read; `node` is the document, for the places.
pub(super) fn check(config: &Config, name: &str, node: &Node, problems: &mut Problems) {
    for found in CHECKS.iter().filter_map(|check| check(config)) {
        let problem = Problem::in_file(name, key_at(node, found.key), found.message);
        let problem = problem.hint(found.hint);
        let problem = if found.awaits_file { problem.awaiting_file() } else { problem };
        problems.push(match found.level {
            Level::Error => problem,
            Level::Warning => problem.warning(),
        });
    }
}

/// What the rules are measured against. A range too short for the fastest job is too short for all.
pub(super) fn lint_options(config: &Config) -> LintOptions {
    let own = config.collector.iter().map(|collector| collector.interval);
    let shortest = config.jobs.iter().map(|job| job.interval).chain(own).min();
    LintOptions {
        scrape_interval: shortest.unwrap_or(config.global.scrape_interval),
        evaluation_interval: config.global.evaluation_interval,
        window_bytes: config.window.caps.max_bytes,
        exposed: None,
        promql: config.promql.parsing(),
        // How rules are written is the business of `check rules`.
        disabled: vec!["alert-without-summary".to_owned(), "duplicate-rule".to_owned()],
    }
}

/// What the built-in rules lack. Their lines are nobody's to change, so it is said once, where the
/// interval or the size stands.
pub(super) fn of_built_in_rules(
    config: &Config,
    name: &str,
    node: &Node,
    (found, problems): (&Problems, &mut Problems),
) {
    let (wide, short): (Vec<_>, Vec<_>) = found.iter().partition(|p| rules::is_beyond_window(p));
    if !wide.is_empty() {
        let message = format!(
            "the built-in rules look back further than this holds for 100 series: {} of their ranges",
            wide.len()
        );
        let at = key_at(node, "window.max_bytes");
        let problem = Problem::in_file(name, at, message).warning();
        problems.push(problem.hint("raise `window.max_bytes`, or measure less often"));
    }
    let count = short.len();
    if count == 0 {
        return;
    }
    let interval = format_duration(lint_options(config).scrape_interval);
    let message = format!(
        "the built-in rules need samples more often than every {interval}: {count} of their ranges \
         may be empty"
    );
    let at = key_at(node, "global.scrape_interval");
    let problem = Problem::in_file(name, at, message).warning();
    problems.push(problem.hint("set `scrape_interval` to 15s or less"));
}

/// Where something is worth watching.
type Worth = fn(&Config) -> bool;

/// What the built-in rules watch of plimsoll itself: by what a rule that does it too must read, and
/// where it is worth watching.
const WATCHED: [(&str, &str, Worth); 4] = [
    ("up", "TargetDown", |config| !config.jobs.is_empty() || config.collector.is_some()),
    ("plimsoll_outbox_oldest_seconds", "PlimsollOutboxStuck", |c| c.control_plane.is_some()),
    ("plimsoll_outbox_paused", "PlimsollOutboxPaused", |c| c.control_plane.is_some()),
    ("plimsoll_journal_failing", "PlimsollJournalFailing", |c| c.control_plane.is_some()),
];

/// What was lost with the built-in rules, where others have replaced them.
pub(super) fn of_own_rules(config: &Config, name: &str, node: &Node, problems: &mut Problems) {
    let all = config.groups.iter().flat_map(|group| &group.rules);
    let mut alerts = all.filter(|rule| matches!(rule.kind, RuleKind::Alert(_))).peekable();
    if alerts.peek().is_none() {
        return;
    }
    let always = |rule: &Rule| reach(&rule.expr, QueryTimes::default()).is_empty();
    let reads = rules::reads(&config.groups);
    let is_read = |metric: &str| reads.is_open() || reads.names().any(|(name, _)| name == metric);
    let dead_man = (!alerts.any(always)).then_some("Watchdog");
    let unwatched = WATCHED.iter().filter(|(metric, _, worth)| worth(config) && !is_read(metric));
    let lost: Vec<&str> = dead_man.into_iter().chain(unwatched.map(|(_, rule, _)| *rule)).collect();
    if lost.is_empty() {
        return;
    }
    let message = format!(
        "these files replace the built-in rules, and nothing in them does what {} did: plimsoll may \
         fail without anyone being told",
        lost.join(", ")
    );
    let problem = Problem::in_file(name, key_at(node, "rule_files"), message).warning();
    problems.push(problem.hint("name a copy of rules/plimsoll.yml beside them"));
}

/// Where a section begins, or the value of a key of it stands.
pub(super) fn key_at(node: &Node, key: &str) -> Position {
    let (section, key) = key.split_once('.').unwrap_or((key, ""));
    if let Some(value) = node.get(section).and_then(|section| section.get(key)) {
        return value.at;
    }
    let place = match &node.kind {
        Kind::Map(entries) => entries.iter().find(|(k, _)| k.text == section).map(|(k, _)| k.at),
        _ => None,
    };
    place.unwrap_or(Position { line: 1, column: 1 })
}

fn warning(key: &'static str, message: &str, hint: &str) -> Finding {
    let (message, hint) = (message.to_owned(), hint.to_owned());
    Finding { key, level: Level::Warning, message, hint, awaits_file: false }
}

fn nothing_is_scraped(config: &Config) -> Option<Finding> {
    let message = "nothing is scraped: every rule will be silent";
    let hint = "write the section `collector`, or name cAdvisor under `scrape_configs`";
    (config.jobs.is_empty() && config.collector.is_none())
        .then(|| warning("scrape_configs", message, hint))
}

fn alerts_reach_nobody(config: &Config) -> Option<Finding> {
    let mut rules = config.groups.iter().flat_map(|group| &group.rules);
    let alerts = rules.any(|rule| matches!(rule.kind, RuleKind::Alert(_)));
    let message = "there are alerting rules and no Alertmanager: alerts show in the API only";
    let hint = "name one under `alerting.alertmanagers`";
    let nobody = alerts && config.alerting.alertmanagers.is_empty();
    nobody.then(|| warning("alerting", message, hint))
}

fn an_instance_stands_twice(config: &Config) -> Option<Finding> {
    let instances = &config.alerting.alertmanagers;
    let twice = instances.iter().enumerate().find(|(index, instance)| {
        instances[..*index].iter().any(|other| other.url == instance.url)
    })?;
    Some(Finding {
        key: "alerting",
        level: Level::Error,
        message: format!(
            "alertmanagers: `{}` stands there twice",
            crate::endpoint::redact(&twice.1.url)
        ),
        hint: "every instance gets every alert once".to_owned(),
        awaits_file: false,
    })
}

fn nobody_is_asked_to_act(config: &Config) -> Option<Finding> {
    if config.control_plane.is_some() {
        return None;
    }
    let policy = &config.policy.policy;
    if config.policy.executes {
        return None;
    }
    let acts = |mode: &Mode| *mode != Mode::Observe;
    let key = if acts(&policy.mode) {
        "mode"
    } else if policy.modes.values().any(acts) {
        "actions"
    } else {
        return None;
    };
    let message = "actions are to be sent, and there is no one to send them to";
    Some(warning(key, message, "write the section `control_plane`, or `mode: observe`"))
}

/// What a job exposes is not known before it answers; its name is.
fn containers_are_measured_twice(config: &Config) -> Option<Finding> {
    let both = config.collector.is_some() && config.jobs.iter().any(|j| is_cadvisor(&j.job_name));
    let message = "the collector and a job called cadvisor measure the same containers: every sum over them counts twice";
    let hint = "keep one of the two; a cAdvisor of another host belongs to that host's plimsoll";
    both.then(|| warning("collector", message, hint))
}

/// Where nobody is named who measures, every page is believed that is not known to be a tenant's own.
fn anybody_is_believed_about_containers(config: &Config) -> Option<Finding> {
    let policy = &config.policy;
    let jobs: Vec<&str> = config.jobs.iter().map(|job| job.job_name.as_str()).collect();
    let acts = ActionKind::ALL.map(|kind| policy.policy.mode_of(kind)) != [Mode::Observe; 4];
    let matters = (policy.is_mapped() || acts) && policy.policy.tenancy.owner().is_none();
    let named = policy.measurers(config.collector.is_some(), &config.jobs) != Measurers::Unnamed;
    if named || jobs.is_empty() || !matters || config.jobs.iter().any(names_a_tenant) {
        return None;
    }
    Some(Finding {
        key: "scrape_configs",
        level: Level::Warning,
        message: format!(
            "nobody is named who measures containers, so every target is believed about them, a \
             page too that a tenant writes: {}",
            jobs.join(", ")
        ),
        hint: "write `container_jobs: [JOB]` with the jobs that measure them, and a target label \
               `tenant` for each page that a tenant writes"
            .to_owned(),
        awaits_file: false,
    })
}

/// Whether a job says of targets whose they are; what files will say is not known.
fn names_a_tenant(job: &ScrapeConfig) -> bool {
    let labelled = job.static_groups.iter().any(|group| group.labels.get("tenant").is_some());
    labelled || job.relabel.iter().any(|rule| rule.target_label() == "tenant")
}

fn a_job_that_measures_is_none(config: &Config) -> Option<Finding> {
    let jobs = || config.jobs.iter().map(|job| job.job_name.as_str());
    let unknown = config.policy.container_jobs.iter().find(|name| !jobs().any(|j| j == *name))?;
    Some(Finding {
        key: "container_jobs",
        level: Level::Error,
        message: format!("no job is called `{unknown}`"),
        hint: match closest(unknown, jobs()) {
            Some(job) => format!("did you mean `{job}`?"),
            None => "write it under `scrape_configs`".to_owned(),
        },
        awaits_file: false,
    })
}

fn two_would_restart(config: &Config) -> Option<Finding> {
    (config.policy.executes && config.control_plane.is_some()).then(|| Finding {
        key: "actions",
        level: Level::Error,
        message: "`executor: docker` is for hosts without a Control Plane, and there is one"
            .to_owned(),
        hint: "remove `executor`, or the section `control_plane`: two would restart".to_owned(),
        awaits_file: false,
    })
}

fn the_executor_has_nothing_to_do(config: &Config) -> Option<Finding> {
    if !config.policy.executes {
        return None;
    }
    if config.docker.is_none() {
        let message = "`executor: docker` needs to know where Docker listens";
        let hint = "write the section `docker`";
        let finding = warning("actions", message, hint);
        return Some(Finding { level: Level::Error, ..finding });
    }
    let mode = config.policy.policy.mode_of(ActionKind::Restart);
    let message = "`executor: docker` restarts nothing in this mode";
    let hint = "write `mode: act`, or `actions: {restart: act}`";
    (mode != Mode::Act).then(|| warning("actions", message, hint))
}

fn the_control_plane_cannot_be_asked(config: &Config) -> Option<Finding> {
    let config = config.control_plane.as_ref()?;
    let error = Webhook::new(config).err()?;
    let key = match &error {
        WebhookError::Url(_) | WebhookError::Scheme(_) | WebhookError::PlainHttp(_) => {
            "control_plane.url"
        }
        WebhookError::File { path, .. }
        | WebhookError::Secret { path, .. }
        | WebhookError::Pem { path, .. } => {
            if *path == config.secret_file {
                "control_plane.secret_file"
            } else if config.ca_file.as_ref() == Some(path) {
                "control_plane.ca_file"
            } else {
                "control_plane.client_certificate_file"
            }
        }
        WebhookError::Tls(_) => "control_plane",
    };
    let file = match &error {
        WebhookError::File { path, .. } => Some(named_files::is_yet_to_come(path)),
        _ => None,
    };
    let message = format!("{:#}", anyhow::Error::new(error));
    if file == Some(true) {
        return Some(warning(key, &message, named_files::YET_TO_COME));
    }
    let finding = warning(key, &message, "webhooks cannot be sent like this");
    Some(Finding { level: Level::Error, awaits_file: file.is_some(), ..finding })
}

fn anyone_may_reload(config: &Config) -> Option<Finding> {
    let web = &config.web;
    let open = web.enable_lifecycle && !web.listen.ip().is_loopback();
    let message = "whoever reaches this address may reload the configuration and drop webhooks: the API has no login";
    open.then(|| warning("web", message, "listen on 127.0.0.1, or keep `enable_lifecycle: false`"))
}
