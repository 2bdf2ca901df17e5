//! From a job and its discovered addresses to targets: defaults, relabelling, the URL.
//!
//! The labels and their order of precedence are Prometheus's (`scrape/target.go`,
//! `PopulateLabels`). An address may also be `unix:///path/to.sock` or
//! `unix:///path/to.sock:/metrics`, which is short for the labels `__unix_socket__` and
//! `__metrics_path__`; relabelling sees those labels and may change them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::config::ScrapeConfig;
use crate::base::{HashSet, Labels, LabelsBuilder, format_duration, parse_duration};
use crate::endpoint::{TargetGroup, redact};
use crate::relabel;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const METRICS_PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const UNIX_SOCKET: &str = "__unix_socket__";
const PARAM_PREFIX: &str = "__param_";
/// Labels with this prefix are gone after relabelling.
const RESERVED_PREFIX: &str = "__";
const UNIX_PREFIX: &str = "unix://";

/// One thing to scrape.
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    /// The job it belongs to.
    pub job: Arc<ScrapeConfig>,
    /// Where to ask. May hold credentials in its query: show [`Target::shown_url`].
    pub url: Url,
    /// Connect here instead of the URL's host.
    pub socket: Option<PathBuf>,
    /// What every series of the target carries: `job`, `instance` and the rest.
    pub labels: Labels,
    /// The labels before relabelling, with `__address__` and the others.
    pub discovered: Labels,
    /// How often.
    pub interval: Duration,
    /// How long a scrape may take; never longer than the interval.
    pub timeout: Duration,
}

impl Target {
    /// The URL without credentials.
    pub fn shown_url(&self) -> String {
        match &self.socket {
            Some(socket) => format!("{UNIX_PREFIX}{}:{}", socket.display(), self.url.path()),
            None => redact(&self.url),
        }
    }

    /// What makes it this target and no other, across reloads and refreshed files.
    pub(super) fn identity(&self) -> Identity {
        Identity {
            job: self.job.job_name.clone(),
            labels: self.labels.clone(),
            url: self.url.to_string(),
            socket: self.socket.clone(),
        }
    }
}

/// Equal for the same target, however often it is discovered.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Identity {
    job: String,
    url: String,
    socket: Option<PathBuf>,
    labels: Labels,
}

/// The targets of `job` among `groups`, in their order, each once; and what is wrong with the
/// others. A target that relabelling drops is no problem.
pub fn targets<'a>(
    job: &Arc<ScrapeConfig>,
    groups: impl IntoIterator<Item = &'a TargetGroup>,
) -> (Vec<Target>, Vec<String>) {
    let (mut targets, mut problems, mut seen) = (Vec::new(), Vec::new(), HashSet::default());
    for group in groups {
        for address in &group.targets {
            match target(job, address, &group.labels) {
                Ok(None) => {}
                Ok(Some(target)) => {
                    if seen.insert(target.identity()) {
                        targets.push(target);
                    }
                }
                Err(error) => {
                    problems.push(format!("job `{}`, target `{address}`: {error}", job.job_name));
                }
            }
        }
    }
    (targets, problems)
}

/// Why a target cannot be scraped, if so.
pub(super) fn flaw(job: &Arc<ScrapeConfig>, address: &str, labels: &Labels) -> Option<String> {
    target(job, address, labels).err()
}

/// One target; `None` if relabelling drops it.
fn target(
    job: &Arc<ScrapeConfig>,
    address: &str,
    labels: &Labels,
) -> Result<Option<Target>, String> {
    let discovered = discovered(job, address, labels);
    let mut relabelled = LabelsBuilder::from(&discovered);
    if !relabel::apply(&job.relabel, &mut relabelled) {
        return Ok(None);
    }
    let duration = |name: &str| {
        parse_duration(relabelled.get(name))
            .ok()
            .filter(|duration| !duration.is_zero())
            .ok_or_else(|| format!("{name} is `{}`, no duration", relabelled.get(name)))
    };
    let (interval, timeout) = (duration(INTERVAL)?, duration(TIMEOUT)?);
    if timeout > interval {
        let (timeout, interval) = (format_duration(timeout), format_duration(interval));
        return Err(format!("{TIMEOUT} {timeout} is longer than {INTERVAL} {interval}"));
    }
    let url = url(job, &relabelled)?;
    let socket = match relabelled.get(UNIX_SOCKET) {
        "" => None,
        path if path.starts_with('/') => Some(PathBuf::from(path)),
        path => return Err(format!("{UNIX_SOCKET} `{path}` is not an absolute path")),
    };
    if relabelled.get("instance").is_empty() {
        let address = relabelled.get(ADDRESS).to_owned();
        relabelled.set("instance", &address);
    }
    let labels = relabelled.build().filtered(|name| !name.starts_with(RESERVED_PREFIX));
    Ok(Some(Target { job: Arc::clone(job), url, socket, labels, discovered, interval, timeout }))
}

/// The labels a target has before relabelling. Those of its group win over the job's.
fn discovered(job: &ScrapeConfig, address: &str, labels: &Labels) -> Labels {
    let mut builder = LabelsBuilder::from(labels);
    builder.set(ADDRESS, address);
    let mut default = |name: &str, value: &str| {
        if builder.get(name).is_empty() {
            builder.set(name, value);
        }
    };
    if let Some((socket, path)) = address.strip_prefix(UNIX_PREFIX).map(split_unix) {
        default(UNIX_SOCKET, socket);
        default(METRICS_PATH, path);
    }
    default("job", &job.job_name);
    default(INTERVAL, &format_duration(job.interval));
    default(TIMEOUT, &format_duration(job.timeout));
    default(METRICS_PATH, &job.metrics_path);
    default(SCHEME, &job.scheme);
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            default(&format!("{PARAM_PREFIX}{name}"), first);
        }
    }
    builder.build()
}

/// `/path/to.sock:/metrics` into socket and path; the path may be missing.
fn split_unix(address: &str) -> (&str, &str) {
    match address.rfind(":/") {
        Some(at) => (&address[..at], &address[at + 1..]),
        None => (address, ""),
    }
}

/// The URL that the relabelled labels ask for.
fn url(job: &ScrapeConfig, labels: &LabelsBuilder) -> Result<Url, String> {
    let address = match labels.get(ADDRESS) {
        "" => return Err(format!("{ADDRESS} is empty after relabelling")),
        unix if unix.starts_with(UNIX_PREFIX) => "localhost",
        unix if unix.starts_with("unix:") => {
            let path = unix["unix:".len()..].trim_start_matches('/');
            return Err(format!(
                "`{unix}` is not an address; a socket has three slashes: `{UNIX_PREFIX}/{path}`"
            ));
        }
        address if address.contains(['/', '?', '#', '@']) => {
            return Err(format!(
                "`{address}` is not an address; write `host:port`, and the rest under scheme, \
                 metrics_path, params and basic_auth"
            ));
        }
        address => address,
    };
    let scheme = labels.get(SCHEME);
    if !["http", "https"].contains(&scheme) {
        return Err(format!("{SCHEME} is `{scheme}`; it must be http or https"));
    }
    let mut url = Url::parse(&format!("{scheme}://{address}/"))
        .map_err(|error| format!("`{address}` is not an address: {error}"))?;
    url.set_path(labels.get(METRICS_PATH));
    let mut params: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, values) in &job.params {
        params.insert(name, values.iter().map(String::as_str).collect());
    }
    for (name, value) in labels.iter() {
        let Some(param) = name.strip_prefix(PARAM_PREFIX) else { continue };
        match params.entry(param).or_default().first_mut() {
            Some(first) => *first = value,
            None => drop(params.insert(param, vec![value])),
        }
    }
    let pairs = params.iter().flat_map(|(name, values)| values.iter().map(move |v| (*name, *v)));
    let pairs: Vec<(&str, &str)> = pairs.collect();
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::config::{GlobalConfig, scrape_configs};
    use super::*;
    use crate::yaml::{Cursor, Problems, parse};

    /// The targets of the one job in `text`, and their problems.
    fn of(text: &str) -> (Vec<Target>, Vec<String>) {
        let mut problems = Problems::default();
        let node = parse("a.yml", text, &mut problems).expect(text);
        let global = GlobalConfig::default();
        let jobs =
            scrape_configs(Cursor::root("a.yml", &node, &mut problems), &global, Path::new("/c"));
        // Those that are told while reading are told again by whoever makes targets of them.
        let job = Arc::new(jobs.expect(text).remove(0));
        let (found, told) = targets(&job, &job.static_groups);
        assert_eq!(problems.iter().count(), told.len(), "{problems}");
        (found, told)
    }

    /// `url {labels}` of each target.
    fn check(text: &str, want: &[&str]) {
        let (targets, problems) = of(text);
        assert_eq!(problems, Vec::<String>::new());
        let shown: Vec<String> =
            targets.iter().map(|t| format!("{} {:?}", t.shown_url(), t.labels)).collect();
        assert_eq!(shown, want, "{text}");
    }

    #[test]
    fn defaults_are_those_of_prometheus() {
        check(
            "- {job_name: j, static_configs: [{targets: ['h:1', 'h:1', '[::1]:2'], labels: {env: p}}]}",
            &[
                r#"http://h:1/metrics {env="p", instance="h:1", job="j"}"#,
                r#"http://[::1]:2/metrics {env="p", instance="[::1]:2", job="j"}"#,
            ],
        );
        let (targets, _) = of("- {job_name: j, static_configs: [{targets: [h]}]}");
        assert_eq!(targets[0].discovered.get("__scrape_interval__"), Some("1m"));
        assert_eq!(targets[0].discovered.get("__address__"), Some("h"));
        assert_eq!(targets[0].timeout, Duration::from_secs(10));
        assert_eq!(targets[0].url.port_or_known_default(), Some(80));
    }

    #[test]
    fn params_and_reserved_labels_make_the_url() {
        check(
            "- job_name: cadvisor\n  scheme: https\n  metrics_path: /a b\n  params: {type: [docker], z: ['1', '2'], max_age: [2s]}\n  \
             static_configs: [{targets: [h], labels: {__param_max_age: 1s, __param_new: x&y, job: other}}]",
            &[
                r#"https://h/a%20b?max_age=1s&new=x%26y&type=docker&z=1&z=2 {instance="h", job="other"}"#,
            ],
        );
    }

    #[test]
    fn relabelling_moves_addresses_and_drops_targets() {
        check(
            "- job_name: probe
  static_configs: [{targets: [a.example, b.example]}]
  relabel_configs:
  - {source_labels: [__address__], regex: 'b.*', action: drop}
  - {source_labels: [__address__], target_label: __param_target}
  - {source_labels: [__param_target], target_label: instance}
  - {target_label: __address__, replacement: 'prober:9115'}
  - {target_label: __scrape_interval__, replacement: 30s}
",
            &[r#"http://prober:9115/metrics?target=a.example {instance="a.example", job="probe"}"#],
        );
    }

    #[test]
    fn unix_sockets_are_addresses() {
        check(
            "- {job_name: j, static_configs: [{targets: ['unix:///run/x.sock', 'unix:///run/y.sock:/m/x']}]}",
            &[
                r#"unix:///run/x.sock:/metrics {instance="unix:///run/x.sock", job="j"}"#,
                r#"unix:///run/y.sock:/m/x {instance="unix:///run/y.sock:/m/x", job="j"}"#,
            ],
        );
        let (targets, _) =
            of("- {job_name: j, static_configs: [{targets: [h], labels: {__unix_socket__: /s}}]}");
        assert_eq!(targets[0].socket, Some(PathBuf::from("/s")));
        assert_eq!(targets[0].url.as_str(), "http://h/metrics", "the name stays in `Host`");
    }

    #[test]
    fn bad_targets_say_why_and_leave_the_others() {
        for (group, words) in [
            ("{targets: ['http://h:1/x', ok]}", "write `host:port`"),
            ("{targets: ['u:p@h', ok]}", "basic_auth"),
            ("{targets: ['h:99999', ok]}", "not an address"),
            ("{targets: [h], labels: {__scheme__: ftp}}", "must be http or https"),
            ("{targets: [h], labels: {__scrape_timeout__: 2h}}", "longer than"),
            ("{targets: [h], labels: {__scrape_interval__: x}}", "no duration"),
            ("{targets: [h], labels: {__unix_socket__: x}}", "absolute path"),
        ] {
            let (targets, problems) = of(&format!("- {{job_name: j, static_configs: [{group}]}}"));
            assert_eq!(targets.len(), usize::from(group.contains("ok")), "{group}");
            let [problem] = &problems[..] else { panic!("{problems:?}") };
            assert!(problem.contains(words) && problem.contains("job `j`"), "{problem}");
        }
    }
}
