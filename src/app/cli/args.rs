//! What can be typed.

use std::path::PathBuf;

use clap::{Args as Arguments, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::super::config::DEFAULT_FILE;
use super::super::demo;
use crate::promql::Features;
use crate::yaml::read::parse_bytes;

/// The load line for a Docker host that carries paying tenants.
#[derive(Parser, Debug)]
#[command(name = "plimsoll", version, about, propagate_version = true)]
pub struct Args {
    /// How data is written to stdout.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run: scrape, judge, alert, act.
    Run(RunArgs),
    /// Watch it work: a simulated host, everything else real, time sped up.
    Demo(demo::Options),
    /// Check files, and tell every problem at once.
    #[command(subcommand)]
    Check(Check),
    /// Run tests.
    #[command(subcommand)]
    Test(Test),
    /// Evaluate a PromQL query: on a running plimsoll, or over recorded scrapes.
    Query(QueryArgs),
    /// Run the real engine over recorded scrapes, in virtual time: what it would have told and done.
    Replay(ReplayArgs),
    /// Make unit tests of rules out of what happened.
    #[command(subcommand)]
    Case(CaseCommand),
    /// Tell why a rule did, or did not, fire: its last evaluations, with the value of each part.
    Explain(ExplainArgs),
    /// Show what each tenant was promised, what is enforced, what it uses and what is left.
    Plans(PlansArgs),
    /// Tell how many documents M2 may pin: from numbers given here, or from a running plimsoll.
    #[command(name = "fixedcount")]
    FixedCount(FixedCountArgs),
    /// Ask a running plimsoll whether it is healthy and ready (for Docker's HEALTHCHECK).
    Healthcheck(HealthArgs),
    /// Look at and work on webhooks that wait or were given up.
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Tell what happened, incident by incident: edges, decisions, holds, deliveries, outcomes.
    Story(PastArgs),
    /// Read the audit: every edge, decision, hold, delivery and outcome, one line each.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Send one clearly marked test, to see that it arrives.
    SendTest(SendTestArgs),
    /// Print the version.
    Version,
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// How data is written to stdout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Arguments, Debug)]
pub struct ConfigFile {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    pub config: PathBuf,
}

#[derive(Arguments, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Which lines are logged: those of this level and above.
    #[arg(long, value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
    /// How lines are logged to stderr.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub log_format: Format,
}

/// error: someone must act; warn: trouble that is being dealt with; info: alerts and actions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Subcommand, Debug)]
pub enum Check {
    /// Check a configuration, the rule files it names, and how they fit together.
    Config(CheckConfigArgs),
    /// Check rule files, and lint them.
    Rules(CheckRulesArgs),
}

#[derive(Arguments, Debug)]
pub struct CheckConfigArgs {
    /// The configuration file [default: plimsoll.yaml].
    pub file: Option<PathBuf>,
    /// The same, as `run` takes it.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub config: Option<PathBuf>,
}

#[derive(Arguments, Debug)]
pub struct CheckRulesArgs {
    /// Rule files.
    #[arg(required_unless_present = "lints", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// List the lints, each with the reason for it.
    #[arg(long, conflicts_with = "files")]
    pub lints: bool,
    /// Switch a lint off; may be given more than once.
    #[arg(long, visible_alias = "allow", value_name = "LINT")]
    pub disable: Vec<String>,
    /// Fail on warnings too.
    #[arg(long)]
    pub strict: bool,
    /// How often the targets that feed the rules are scraped.
    #[arg(long, value_name = "DURATION", default_value = "5s", conflicts_with = "config")]
    pub scrape_interval: String,
    /// The configuration the rules will run with: its scrape intervals and the size of its window.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A running plimsoll: warn of metrics that it does not see.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    #[command(flatten)]
    pub promql: PromqlArgs,
}

#[derive(Subcommand, Debug)]
pub enum Test {
    /// Run unit tests of rules, in promtool's file format.
    Rules(TestRulesArgs),
}

#[derive(Arguments, Debug)]
pub struct TestRulesArgs {
    /// Test files; wildcards are understood.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    /// Run only tests whose name matches; may stand anywhere in the name.
    #[arg(long, value_name = "REGEX")]
    pub run: Option<String>,
    #[command(flatten)]
    pub promql: PromqlArgs,
}

/// As promtool has it; a running plimsoll has the section `promql` of its configuration.
#[derive(Arguments, Debug)]
pub struct PromqlArgs {
    /// Switch on a feature of PromQL; may be given more than once.
    #[arg(long, value_name = "NAME", value_enum, value_delimiter = ',')]
    pub enable_feature: Vec<Feature>,
}

impl PromqlArgs {
    pub fn features(&self) -> Features {
        Features {
            experimental_functions: self
                .enable_feature
                .contains(&Feature::PromqlExperimentalFunctions),
            delayed_name_removal: self.enable_feature.contains(&Feature::PromqlDelayedNameRemoval),
        }
    }
}

/// Prometheus's names of features.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Feature {
    /// Functions, aggregations and modifiers that may still change.
    PromqlExperimentalFunctions,
    /// Metric names go at the end of a query instead of at once.
    PromqlDelayedNameRemoval,
}

#[derive(Arguments, Debug)]
pub struct HealthArgs {
    /// Where it listens [default: http://127.0.0.1:9469].
    #[arg(long)]
    pub url: Option<String>,
    /// Its configuration file: it is asked at `web.listen`.
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub config: Option<PathBuf>,
}

#[derive(Arguments, Debug)]
pub struct QueryArgs {
    /// The query; one that begins with `--` stands behind another `--`, after the options.
    #[arg(value_name = "EXPR")]
    pub expr: String,
    /// When: unix seconds or RFC 3339 [default: now; of a capture, its last scrape].
    #[arg(long, allow_hyphen_values = true)]
    pub time: Option<String>,
    /// Evaluate at every step of this long, up to the time.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub range: Option<String>,
    /// The step of a range.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "15s",
        requires = "range",
        allow_hyphen_values = true
    )]
    pub step: String,
    /// Where plimsoll listens (`web.listen`).
    #[arg(long, default_value = "http://127.0.0.1:9469", conflicts_with = "dir")]
    pub url: String,
    /// A folder of recorded scrapes, named <unix milliseconds>.txt or .txt.gz.
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    /// Write comma-separated values.
    #[arg(long)]
    pub csv: bool,
    #[command(flatten)]
    pub promql: PromqlArgs,
}

/// Ends with 0 if nothing differs or surprises, with 1 if something does, with 2 if the replay could
/// not be made.
#[derive(Arguments, Debug)]
pub struct ReplayArgs {
    /// A folder of recorded scrapes, or of such folders, one for each target.
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Rule files in place of those of the configuration; wildcards are understood.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub rules: Vec<PathBuf>,
    /// Rule files to compare with: tells what differs.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub against: Vec<PathBuf>,
    /// As if this mode (observe, notify, act) held for every action.
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    #[command(flatten)]
    pub file: ConfigFile,
}

#[derive(Subcommand, Debug)]
pub enum CaseCommand {
    /// Write an incident as a test that promtool and `plimsoll test rules` run.
    Export(CaseExportArgs),
}

#[derive(Arguments, Debug)]
pub struct CaseExportArgs {
    /// The incident: its `trace_id`, or how that begins (`plimsoll story --format json`).
    #[arg(long, value_name = "ID", required_unless_present = "alert", conflicts_with = "alert")]
    pub incident: Option<String>,
    /// The newest incident of this alert.
    #[arg(long, value_name = "NAME")]
    pub alert: Option<String>,
    /// How far back incidents are looked for.
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub since: String,
    /// Take the samples from this recording [default: `recorder.path`, if that is set].
    #[arg(long, value_name = "FOLDER", conflicts_with = "url")]
    pub dir: Option<PathBuf>,
    /// Take the samples from the window of the plimsoll that listens here.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Where the case is written; built-in rules are put beside it [default: stdout].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub file: ConfigFile,
}

#[derive(Arguments, Debug)]
pub struct PlansArgs {
    /// Where plimsoll listens (`web.listen`).
    #[arg(long, default_value = "http://127.0.0.1:9469")]
    pub url: String,
}

/// Ends with 0 if what is pinned is within the budget, with 2 if it is not, and with 1 where nothing can be
/// recommended, or nobody answers.
#[derive(Arguments, Debug)]
pub struct FixedCountArgs {
    /// Documents made in twice the cache time, at the day's peak; without it a running plimsoll is
    /// asked.
    #[arg(long, value_name = "NUMBER", requires_all = ["bytes", "memory"])]
    pub docs: Option<u64>,
    /// Their bytes.
    #[arg(long, value_name = "NUMBER", requires = "docs")]
    pub bytes: Option<u64>,
    /// Memory of the machine: bytes, or 16GiB (units are powers of 1024).
    #[arg(long, value_name = "SIZE", requires = "docs", value_parser = size)]
    pub memory: Option<u64>,
    /// What is pinned now (meta.fixedCount).
    #[arg(long, value_name = "NUMBER", requires = "docs")]
    pub fixed_count: Option<u64>,
    /// Memory of M2's cache process (m2_sys_memory_limit_rt).
    #[arg(long, value_name = "SIZE", requires = "docs", value_parser = size)]
    pub rt_memory: Option<u64>,
    /// The virtual host's name.
    #[arg(long, default_value = "example.com", requires = "docs")]
    pub vhost: String,
    /// Where plimsoll listens (`web.listen`).
    #[arg(long, default_value = "http://127.0.0.1:9469", conflicts_with = "docs")]
    pub url: String,
}

fn size(text: &str) -> Result<u64, String> {
    parse_bytes(text).ok_or_else(|| "is not a size such as 17179869184 or 16GiB".to_owned())
}

#[derive(Arguments, Debug)]
pub struct ExplainArgs {
    /// The name of an alert or record.
    #[arg(value_name = "RULE")]
    pub rule: String,
    /// Its group, where several have a rule of that name.
    #[arg(long)]
    pub group: Option<String>,
    /// For how many of the last evaluations the parts are shown.
    #[arg(long, default_value_t = 1)]
    pub limit: u8,
    /// Where plimsoll listens (`web.listen`).
    #[arg(long, default_value = "http://127.0.0.1:9469")]
    pub url: String,
}

#[derive(Subcommand, Debug)]
pub enum OutboxCommand {
    /// List webhooks that wait and webhooks that were given up.
    List(OutboxPlace),
    /// Send webhooks that were given up once more, under their old ids.
    Retry(OutboxIds),
    /// Forget webhooks for good; the receiver is not told.
    Drop(OutboxIds),
}

#[derive(Arguments, Debug)]
pub struct OutboxIds {
    /// Ids, as `outbox list` shows them.
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
    #[command(flatten)]
    pub place: OutboxPlace,
}

/// Where the outbox is: in the journal of a stopped plimsoll, or with a running one.
#[derive(Arguments, Debug)]
pub struct OutboxPlace {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Ask the plimsoll that listens here [default: the journal, or `web.listen` if it runs].
    #[arg(long, conflicts_with = "config")]
    pub url: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    /// Show records, oldest first.
    Show(PastArgs),
    /// Check that no record was changed, removed, moved or added.
    Verify(AuditVerifyArgs),
}

#[derive(Arguments, Debug)]
pub struct PastArgs {
    #[command(flatten)]
    pub file: ConfigFile,
    /// How far back.
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub since: String,
    /// Only what is about this tenant.
    #[arg(long)]
    pub tenant: Option<String>,
}

#[derive(Arguments, Debug)]
pub struct AuditVerifyArgs {
    /// Files in the order of their names; none: those of the configuration's state directory.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub file: ConfigFile,
    /// `audit_head` of a heartbeat: a record with this hash must be there, or the end was cut off.
    #[arg(long, value_name = "HASH")]
    pub head: Option<String>,
    /// `audit_sequence` of the same heartbeat: tells what became of a head that is not there.
    #[arg(long, value_name = "NUMBER", requires = "head")]
    pub sequence: Option<u64>,
}

#[derive(Arguments, Debug)]
pub struct SendTestArgs {
    /// To whom.
    #[arg(value_enum)]
    pub sink: Sink,
    #[command(flatten)]
    pub file: ConfigFile,
}

/// Who can be sent a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Sink {
    /// An alert `PlimsollTest` of five minutes, to every configured instance.
    Alertmanager,
    /// A signed `sidecar.heartbeat` with the reason `send_test`.
    ControlPlane,
    /// A mail to everyone who gets the digest.
    Mail,
}
