//! `global` and `scrape_configs`, with Prometheus's key names and defaults.
//!
//! Reads every job to its end and reports every problem. Keys that Prometheus knows and plimsoll
//! lacks are warnings that say what is lost, so that a `prometheus.yml` pastes in.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::IgnoredAny;

use super::file_sd::FilePattern;
use super::target::flaw;
use crate::base::{Labels, format_duration};
use crate::endpoint::read::{http_options, path, relabel_rules, target_group};
use crate::endpoint::{HttpOptions, TargetGroup};
use crate::exposition::Limits;
use crate::relabel::Rule;
use crate::yaml::{Cursor, Fields, Problems, read};

/// Target files are looked at no more often ([`super::file_sd`]), and once a day at least.
const REFRESH_ALLOWED: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(86_400);

/// Prometheus's `global` section, as far as plimsoll has it.
#[derive(Clone, PartialEq, Debug)]
pub struct GlobalConfig {
    /// How often targets are scraped.
    pub scrape_interval: Duration,
    /// How long a scrape may take.
    pub scrape_timeout: Duration,
    /// How often rule groups are evaluated.
    pub evaluation_interval: Duration,
    /// Labels added to everything that leaves.
    pub external_labels: Labels,
    /// Limits of jobs that set none.
    pub limits: Limits,
}

/// One entry of `file_sd_configs`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileSdConfig {
    /// The files.
    pub files: Vec<FilePattern>,
    /// Every file is read again this often, changed or not.
    pub refresh_interval: Duration,
}

/// One entry of `scrape_configs`.
#[derive(Clone, PartialEq, Debug)]
pub struct ScrapeConfig {
    /// `job_name`, and the label `job` unless relabelled.
    pub job_name: String,
    /// `scrape_interval`.
    pub interval: Duration,
    /// `scrape_timeout`; never longer than the interval.
    pub timeout: Duration,
    /// `metrics_path`.
    pub metrics_path: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Query parameters, in the order of the file.
    pub params: Vec<(String, Vec<String>)>,
    /// `static_configs`.
    pub static_groups: Vec<TargetGroup>,
    /// `file_sd_configs`.
    pub file_sd: Vec<FileSdConfig>,
    /// Labels of the page win over those of the target.
    pub honor_labels: bool,
    /// Times on the page are used.
    pub honor_timestamps: bool,
    /// `fallback_scrape_protocol` says that anything is text.
    pub any_content_type: bool,
    /// Credentials and TLS.
    pub http: HttpOptions,
    /// Bounds on one scrape.
    pub limits: Limits,
    /// `relabel_configs`, on targets.
    pub relabel: Vec<Rule>,
    /// `metric_relabel_configs`, on series.
    pub metric_relabel: Vec<Rule>,
}

/// Discoveries plimsoll lacks.
const DISCOVERIES: [&str; 29] = [
    "azure_sd_configs",
    "consul_sd_configs",
    "digitalocean_sd_configs",
    "dns_sd_configs",
    "docker_sd_configs",
    "dockerswarm_sd_configs",
    "ec2_sd_configs",
    "eureka_sd_configs",
    "gce_sd_configs",
    "hetzner_sd_configs",
    "http_sd_configs",
    "ionos_sd_configs",
    "kubernetes_sd_configs",
    "kuma_sd_configs",
    "lightsail_sd_configs",
    "linode_sd_configs",
    "marathon_sd_configs",
    "nerve_sd_configs",
    "nomad_sd_configs",
    "openstack_sd_configs",
    "outscale_sd_configs",
    "ovhcloud_sd_configs",
    "puppetdb_sd_configs",
    "scaleway_sd_configs",
    "serverset_sd_configs",
    "stackit_sd_configs",
    "triton_sd_configs",
    "uyuni_sd_configs",
    "vultr_sd_configs",
];

/// Keys that neither `global` nor a job has, and what is lost.
const UNSUPPORTED: [(&str, &str); 13] = [
    ("scrape_protocols", "only the text format is asked for"),
    ("scrape_classic_histograms", "only the text format is read"),
    ("always_scrape_classic_histograms", "only the text format is read"),
    ("scrape_native_histograms", "native histograms are not read"),
    ("convert_classic_histograms_to_nhcb", "native histograms are not read"),
    ("native_histogram_bucket_limit", "native histograms are not read"),
    ("native_histogram_min_bucket_factor", "native histograms are not read"),
    ("metric_name_validation_scheme", "classic names are expected"),
    ("metric_name_escaping_scheme", "classic names are expected"),
    ("extra_scrape_metrics", "plimsoll's own /metrics has the limits"),
    ("scrape_failure_log_file", "failures are in plimsoll's own log"),
    ("target_limit", "the number of targets is not limited"),
    ("keep_dropped_targets", "dropped targets are not listed"),
];

impl Default for GlobalConfig {
    /// Prometheus's defaults: 1 m, 10 s, 1 m; a body has an end.
    fn default() -> GlobalConfig {
        GlobalConfig {
            scrape_interval: Duration::from_secs(60),
            scrape_timeout: Duration::from_secs(10),
            evaluation_interval: Duration::from_secs(60),
            external_labels: Labels::empty(),
            limits: Limits::default(),
        }
    }
}

impl GlobalConfig {
    /// Where the built-in rules apply: they warn half a minute ahead, so they are evaluated more often.
    pub fn of_built_in_rules() -> GlobalConfig {
        GlobalConfig { evaluation_interval: Duration::from_secs(5), ..GlobalConfig::default() }
    }

    /// Reads the section `global`; what it does not say is as in `default`.
    pub fn read(at: Cursor<'_, '_>, default: &GlobalConfig) -> Option<GlobalConfig> {
        let mut fields = Fields::open(at)?;
        let (interval, timeout) = timing(&mut fields, default);
        let evaluation =
            fields.or("evaluation_interval", default.evaluation_interval, read::positive_duration);
        let labels = fields.optional("external_labels", read::labels).unwrap_or_default();
        let limits = limits(&mut fields, &default.limits);
        for (key, lost) in UNSUPPORTED {
            fields.unsupported(key, lost);
        }
        fields.unsupported("query_log_file", "queries are not logged");
        fields.unsupported("rule_query_offset", "rules look at the newest samples");
        fields.unsupported("runtime", "it is about Go");
        fields.finish();
        Some(GlobalConfig {
            scrape_interval: interval,
            scrape_timeout: timeout,
            evaluation_interval: evaluation,
            external_labels: Labels::from_pairs(labels),
            limits,
        })
    }
}

/// Reads `scrape_configs`. Relative paths are relative to `base`, the configuration's directory.
pub fn scrape_configs(
    mut at: Cursor<'_, '_>,
    global: &GlobalConfig,
    base: &Path,
) -> Option<Vec<ScrapeConfig>> {
    let mut names: Vec<String> = Vec::new();
    at.each_item(|mut at| {
        let job = ScrapeConfig::read(at.again(), global, base)?;
        report_unusable(&mut at, &job);
        if names.contains(&job.job_name) {
            at.error(format!("a second job named `{}`", job.job_name));
            return None;
        }
        names.push(job.job_name.clone());
        Some(job)
    })
}

/// Reports static targets that can never be scraped, each where it stands. Relabelling may make a
/// target of anything, so where there are rules it is left to them.
fn report_unusable(at: &mut Cursor<'_, '_>, job: &ScrapeConfig) {
    if !job.relabel.is_empty() {
        return;
    }
    let (job, node) = (Arc::new(job.clone()), at.node);
    let written = |address: &str| {
        let groups = node.get("static_configs").into_iter().flat_map(|groups| groups.items());
        let mut targets = groups.filter_map(|group| group.get("targets")).flat_map(|t| t.items());
        targets.find(|target| target.text() == Some(address)).map_or(node.at, |node| node.at)
    };
    for group in &job.static_groups {
        for address in &group.targets {
            if let Some(why) = flaw(&job, address, &group.labels) {
                let problem = at.problem(written(address), format!("static_configs: {why}"));
                at.push(problem);
            }
        }
    }
}

impl ScrapeConfig {
    /// Reads one entry of `scrape_configs`.
    pub fn read(at: Cursor<'_, '_>, global: &GlobalConfig, base: &Path) -> Option<ScrapeConfig> {
        let mut fields = Fields::open(at)?;
        let job_name = fields.required("job_name", |mut at| {
            let name = read::string(at.again())?;
            if name.is_empty() {
                at.error("is empty");
                return None;
            }
            Some(name)
        });
        let (interval, timeout) = timing(&mut fields, global);
        let job = ScrapeConfig {
            // Read on without a name, so that the job's other problems show as well.
            job_name: job_name.clone().unwrap_or_default(),
            interval,
            timeout,
            metrics_path: fields.or("metrics_path", "/metrics".to_owned(), metrics_path),
            scheme: fields.or("scheme", "http", scheme).to_owned(),
            params: fields.optional("params", params).unwrap_or_default(),
            static_groups: fields.list("static_configs", target_group),
            file_sd: fields.list("file_sd_configs", |at| file_sd(at, base)),
            honor_labels: fields.or("honor_labels", false, read::boolean),
            honor_timestamps: fields.or("honor_timestamps", true, read::boolean),
            any_content_type: fields
                .optional("fallback_scrape_protocol", fallback_is_text)
                .unwrap_or(false),
            http: http_options(&mut fields, base),
            limits: limits(&mut fields, &global.limits),
            relabel: fields.optional("relabel_configs", relabel_rules).unwrap_or_default(),
            metric_relabel: fields
                .optional("metric_relabel_configs", relabel_rules)
                .unwrap_or_default(),
        };
        without(&mut fields);
        fields.finish();
        job_name.map(|_| job)
    }
}

/// The keys of a job that plimsoll lacks.
fn without(fields: &mut Fields<'_, '_>) {
    for key in DISCOVERIES {
        fields.unsupported(key, "its targets are not scraped; file_sd_configs can name them");
    }
    for (key, lost) in UNSUPPORTED {
        fields.unsupported(key, lost);
    }
    fields.unsupported("track_timestamps_staleness", "it is always on");
    fields.unsupported("enable_compression", "compression is asked for except from loopback");
}

/// `scrape_interval` and `scrape_timeout`. A timeout that was not written is shortened to the
/// interval; a written one that is longer is an error.
fn timing(fields: &mut Fields<'_, '_>, default: &GlobalConfig) -> (Duration, Duration) {
    let interval = fields.or("scrape_interval", default.scrape_interval, read::positive_duration);
    let written = fields.optional("scrape_timeout", |mut at| {
        let timeout = read::positive_duration(at.again())?;
        if timeout > interval {
            at.error(format!("is longer than the scrape_interval ({})", format_duration(interval)));
        }
        Some(timeout)
    });
    (interval, written.unwrap_or(default.scrape_timeout).min(interval))
}

fn limits(fields: &mut Fields<'_, '_>, default: &Limits) -> Limits {
    Limits {
        body_size_limit: fields.or("body_size_limit", default.body_size_limit, read::bytes),
        sample_limit: fields.or("sample_limit", default.sample_limit, read::integer),
        label_limit: fields.or("label_limit", default.label_limit, read::integer),
        label_name_length_limit: fields.or(
            "label_name_length_limit",
            default.label_name_length_limit,
            read::integer,
        ),
        label_value_length_limit: fields.or(
            "label_value_length_limit",
            default.label_value_length_limit,
            read::integer,
        ),
        ..default.clone()
    }
}

fn metrics_path(mut at: Cursor<'_, '_>) -> Option<String> {
    let path = read::string(at.again())?;
    if path.contains('?') {
        at.warning("a `?` in the path is sent as %3F; write the query under `params`");
    }
    Some(path)
}

fn scheme(at: Cursor<'_, '_>) -> Option<&'static str> {
    read::one_of(at, &[("http", "http"), ("https", "https")])
}

fn params(mut at: Cursor<'_, '_>) -> Option<Vec<(String, Vec<String>)>> {
    at.each_entry(|name, at| Some((name.text.clone(), read::strings(at)?)))
}

/// Whether the fallback is one of the text formats; for the others nothing is read.
fn fallback_is_text(mut at: Cursor<'_, '_>) -> Option<bool> {
    let words = [
        ("PrometheusText0.0.4", true),
        ("PrometheusText1.0.0", true),
        ("OpenMetricsText0.0.1", true),
        ("OpenMetricsText1.0.0", true),
        ("PrometheusProto", false),
    ];
    let text = read::one_of(at.again(), &words)?;
    if !text {
        at.warning("protobuf is not read; pages of unknown type fail");
    }
    Some(text)
}

fn file_sd(at: Cursor<'_, '_>, base: &Path) -> Option<FileSdConfig> {
    let mut fields = Fields::open(at)?;
    let files = fields.required("files", |mut at| {
        at.each_item(|mut at| {
            let path: PathBuf = path(at.again(), base)?;
            FilePattern::new(&path).map_err(|error| at.error(error)).ok()
        })
    });
    // Prometheus's default; changes are seen within seconds whatever it is.
    let refresh_interval = fields.or("refresh_interval", Duration::from_secs(300), |at| {
        read::duration_within(at, REFRESH_ALLOWED)
    });
    fields.finish();
    Some(FileSdConfig { files: files?, refresh_interval })
}

/// Reads the `[{targets, labels}]` of a file that `file_sd_configs` names. By its name it is JSON or
/// YAML: an empty text is an empty list in YAML alone, and in JSON a file that is being written.
pub fn file_groups(file: &str, text: &str) -> Result<Vec<TargetGroup>, String> {
    let is_json = Path::new(file).extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    if is_json && let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let (line, column) = (error.line().max(1), error.column().max(1));
        return Err(format!("{file}:{line}:{column}: not JSON: {error}"));
    }
    let mut problems = Problems::default();
    let groups = crate::yaml::parse(file, text, &mut problems)
        .and_then(|node| Cursor::root(file, &node, &mut problems).each_item(target_group));
    match groups {
        Some(groups) if !problems.has_errors() => Ok(groups),
        _ => Err(problems.to_string().trim_end().replace('\n', "; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a whole file: the settings, the jobs, and the problems without the file's name.
    fn read_all(text: &str) -> (GlobalConfig, Vec<ScrapeConfig>, Vec<String>) {
        let mut problems = Problems::default();
        let node = crate::yaml::parse("p.yml", text, &mut problems).expect(text);
        let mut fields = Fields::open(Cursor::root("p.yml", &node, &mut problems)).expect(text);
        let default = GlobalConfig::default();
        let global = fields.optional("global", |at| GlobalConfig::read(at, &default));
        let global = global.unwrap_or(default);
        let jobs =
            fields.optional("scrape_configs", |at| scrape_configs(at, &global, Path::new("/c")));
        fields.finish();
        let problems = problems.iter().map(|p| p.to_string().replace("p.yml:", "")).collect();
        (global, jobs.unwrap_or_default(), problems)
    }

    #[test]
    fn static_targets_that_cannot_be_scraped_are_told_where_they_stand() {
        let (_, _, problems) = read_all(
            "scrape_configs:
- job_name: j
  static_configs:
  - targets: ['ok:1', 'http://x:1/']
  - targets:
    - x:1/metrics
    - x y
    - 'x:99999'
    - unix:/run/x.sock
    - unix:///run/x.sock
- job_name: probes
  static_configs: [{targets: ['http://x.example/']}]
  relabel_configs: [{source_labels: [__address__], target_label: __param_target}]
",
        );
        let want = [
            ("4:23: ", "`http://x:1/` is not an address; write `host:port`"),
            ("6:7: ", "`x:1/metrics` is not an address; write `host:port`"),
            ("7:7: ", "`x y` is not an address"),
            ("8:7: ", "`x:99999` is not an address"),
            ("9:7: ", "`unix:///run/x.sock`"),
        ];
        assert_eq!(problems.len(), want.len(), "{problems:?}");
        for (problem, (place, words)) in problems.iter().zip(want) {
            assert!(problem.starts_with(place) && problem.contains(words), "{problem}");
            assert!(problem.contains("scrape_configs[0]: static_configs: "), "{problem}");
        }
    }

    const FULL: &str = "
global:
  scrape_interval: 5s
  scrape_timeout: 4s
  evaluation_interval: 5s
  external_labels: {region: sg}
  sample_limit: 1000
scrape_configs:
- job_name: cadvisor
  scrape_interval: 2s
  metrics_path: /m
  scheme: https
  params: {type: [docker], max_age: [1s]}
  honor_labels: true
  honor_timestamps: false
  basic_auth: {username: u, password_file: pw}
  tls_config: {ca_file: ca.pem}
  body_size_limit: 64MB
  sample_limit: 7
  label_limit: 30
  label_name_length_limit: 40
  label_value_length_limit: 50
  fallback_scrape_protocol: PrometheusText0.0.4
  static_configs: [{targets: ['a:1', 'b:2'], labels: {env: prod}}]
  file_sd_configs: [{files: ['t/*.json', /x.yml], refresh_interval: 1m}]
  relabel_configs: [{source_labels: [__address__], target_label: x}]
  metric_relabel_configs: [{action: labeldrop, regex: 'tmp_.*'}]
- job_name: plain
";

    #[test]
    fn every_supported_key_is_read() {
        let (global, jobs, problems) = read_all(FULL);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(global.external_labels.get("region"), Some("sg"));
        let secs = Duration::from_secs;
        let [job, plain] = &jobs[..] else { panic!("two jobs") };
        assert_eq!((job.interval, job.timeout), (secs(2), secs(2)), "cut to the interval");
        assert_eq!((plain.interval, plain.timeout), (secs(5), secs(4)));
        assert_eq!((job.metrics_path.as_str(), job.scheme.as_str()), ("/m", "https"));
        assert_eq!(job.params[1], ("max_age".to_owned(), vec!["1s".to_owned()]));
        assert!(job.honor_labels && !job.honor_timestamps && job.any_content_type);
        assert!(!plain.honor_labels && plain.honor_timestamps && !plain.any_content_type);
        let limits = Limits {
            body_size_limit: 64 << 20,
            sample_limit: 7,
            label_limit: 30,
            label_name_length_limit: 40,
            label_value_length_limit: 50,
            ..Limits::default()
        };
        assert_eq!(job.limits, limits);
        assert_eq!(plain.limits, Limits { sample_limit: 1000, ..Limits::default() }, "from global");
        assert_eq!(job.http.tls.ca_file, Some(PathBuf::from("/c/ca.pem")));
        assert_eq!(job.static_groups[0].targets, ["a:1", "b:2"]);
        assert_eq!((job.file_sd[0].files.len(), job.file_sd[0].refresh_interval), (2, secs(60)));
        assert_eq!((job.relabel.len(), job.metric_relabel.len()), (1, 1));
    }

    /// The problems of a job with these further keys.
    fn check(keys: &str, want: &[&str]) {
        let (_, _, problems) = read_all(&format!("scrape_configs:\n- job_name: j\n  {keys}\n"));
        assert_eq!(problems.len(), want.len(), "{problems:?}");
        for (problem, want) in problems.iter().zip(want) {
            assert!(problem.contains(want), "`{want}` in: {problem}");
        }
    }

    #[test]
    fn problems_name_the_place_and_the_way_out() {
        check("scrape_intervall: 5s", &["3:3: scrape_configs[0]: unknown key"]);
        check("scrape_timeout: 2m", &["3:19: scrape_configs[0].scrape_timeout: is longer than"]);
        check("scrape_interval: 0s", &["longer than zero"]);
        check("scheme: htp", &["did you mean `http`?"]);
        check(
            "docker_sd_configs: [{host: x}]",
            &["warning: scrape_configs[0]: `docker_sd_configs`"],
        );
        check("metrics_path: /m?a=b", &["warning: scrape_configs[0].metrics_path"]);
        check("fallback_scrape_protocol: PrometheusProto", &["protobuf is not read"]);
        check("relabel_configs: [{action: replce}]", &["did you mean `replace`?"]);
        check("metric_relabel_configs: [{regex: '('}]", &["missing closing )"]);
        check("file_sd_configs: [{files: [a.txt]}]", &["must end in .json"]);
        check("file_sd_configs: [{}]", &["`files` is missing"]);
        check("static_configs: [{targets: [a], labels: {a-b: c}}]", &["invalid label name"]);
        check(
            "sample_limit: -1\n  honor_labels: yes\n- job_name: j\n- {}\n- job_name:",
            &["honor_labels", "sample_limit", "second job named `j`", "is missing", "is missing"],
        );
    }
}
