//! The page behind `/metrics`: the published view as Prometheus text.
//!
//! Names are plimsoll's own (`plimsoll_…`), and Prometheus's where the meaning is the same, so that
//! dashboards and alerts written for Prometheus go on working. `rules/plimsoll.yml` and the
//! dashboard read these names; a test holds them together.

use std::collections::BTreeMap;

use super::page::{Kind, Page};
use crate::alerts::AlertState;
use crate::base::Timestamp;
use crate::engine::{DockerState, GateView, GroupView, Health, MailKind, Quality, View};
use crate::outbox::Refusal;

/// The one sink of the edge lane, as its label says it.
const SINK: &str = "control_plane";

/// What is known about the process itself. Absent where the system does not tell.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Process {
    /// When it started.
    pub started_at: Timestamp,
    /// Processor time it has used, user and system.
    pub cpu_seconds: Option<f64>,
    /// Memory that is resident now.
    pub resident_bytes: Option<u64>,
    /// File descriptors that are open now.
    pub open_fds: Option<u64>,
    /// File descriptors that may be open; without a limit, none.
    pub max_fds: Option<u64>,
}

/// Everything there is to say about a running plimsoll, in the text exposition format.
pub fn metrics_text(view: &View, process: &Process) -> String {
    let mut page = Page::default();
    of_process(&mut page, process);
    let successful = flag(view.reload_error.is_none());
    page.gauge(
        "prometheus_config_last_reload_successful",
        successful,
        "Whether the configuration in force is the one in the file.",
    );
    of_scraping(&mut page, view);
    of_inputs(&mut page, view);
    of_window(&mut page, view);
    of_rules(&mut page, view);
    of_alerts(&mut page, view);
    of_docker(&mut page, view);
    of_alertmanagers(&mut page, view);
    of_outbox(&mut page, view);
    of_journal(&mut page, view);
    of_receipts(&mut page, view);
    of_audit(&mut page, view);
    of_recorder(&mut page, view);
    of_owners(&mut page, view);
    of_gates(&mut page, view);
    of_mail(&mut page, view);
    page.finish()
}

fn of_mail(page: &mut Page, view: &View) {
    let Some(mail) = &view.mail else { return };
    let help = "Mails that a server has taken, by kind.";
    let mut sent = page.family("plimsoll_mail_sent_total", Kind::Counter, help);
    for kind in MailKind::NAMES {
        sent.add(&[("kind", kind)], mail.sent.get(kind).copied().unwrap_or_default() as f64);
    }
    let help = "Attempts to send a mail that failed, by reason.";
    let mut failed = page.family("plimsoll_mail_failed_total", Kind::Counter, help);
    for (reason, count) in &mail.failed {
        failed.add(&[("reason", reason)], *count as f64);
    }
}

fn of_gates(page: &mut Page, view: &View) {
    let help = "Whether a tenant's gate answered as expected the last time.";
    let mut up = page.family("plimsoll_gate_up", Kind::Gauge, help);
    for GateView { key, reading } in &view.gates {
        up.add(&key.labels().collect::<Vec<_>>(), flag(reading.passes));
    }
    let help = "How long that answer took.";
    let mut took = page.family("plimsoll_gate_duration_seconds", Kind::Gauge, help);
    for GateView { key, reading } in &view.gates {
        took.add(&key.labels().collect::<Vec<_>>(), reading.took.as_secs_f64());
    }
    let help = "Gates that cannot be asked for a reason of our own, or found no room.";
    page.gauge("plimsoll_gates_unasked", view.gates_unasked as f64, help);
    let help =
        "Gates that failed after a change and are not told anew, as too many are kept for that.";
    page.counter("plimsoll_shut_gates_unkept_total", view.counters.shut_gates_unkept, help);
}

fn of_owners(page: &mut Page, view: &View) {
    let help = "Seconds since a document was known to be what its source says.";
    let mut ages = page.family("plimsoll_document_age_seconds", Kind::Gauge, help);
    for document in &view.documents {
        let age = document.age.map(|age| age.as_secs_f64());
        age.into_iter().for_each(|age| ages.add(&[("document", document.name)], age));
    }
    let help = "Whether a document could not be read the last time.";
    let mut failing = page.family("plimsoll_document_failing", Kind::Gauge, help);
    for document in &view.documents {
        failing.add(&[("document", document.name)], flag(document.error.is_some()));
    }
    let help = "Attempts to read a document that failed.";
    let mut failures = page.family("plimsoll_document_failures_total", Kind::Counter, help);
    for document in &view.documents {
        failures.add(&[("document", document.name)], document.failures as f64);
    }
    let refused = view.owners.refused.len() as f64;
    let help = "Containers that somebody claims whose claim is refused.";
    page.gauge("plimsoll_claims_refused", refused, help);
}

fn of_process(page: &mut Page, process: &Process) {
    let version = env!("CARGO_PKG_VERSION");
    page.family("plimsoll_build_info", Kind::Gauge, "Always 1; the label says which version runs.")
        .add(&[("version", version)], 1.0);
    let started = seconds(process.started_at);
    page.gauge("process_start_time_seconds", started, "When the process started, Unix time.");
    if let Some(cpu_seconds) = process.cpu_seconds {
        let help = "Processor time used, user and system.";
        page.family("process_cpu_seconds_total", Kind::Counter, help).add(&[], cpu_seconds);
    }
    if let Some(bytes) = process.resident_bytes {
        page.gauge("process_resident_memory_bytes", bytes as f64, "Memory that is resident.");
    }
    if let Some(count) = process.open_fds {
        page.gauge("process_open_fds", count as f64, "File descriptors that are open.");
    }
    if let Some(count) = process.max_fds {
        page.gauge("process_max_fds", count as f64, "File descriptors that may be open.");
    }
}

fn of_scraping(page: &mut Page, view: &View) {
    let ready = flag(view.ready);
    page.gauge("plimsoll_ready", ready, "Whether every target has answered or timed out once.");
    let mut jobs: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for target in &view.targets {
        let (all, bad) = jobs.entry(&target.job).or_default();
        *all += 1;
        *bad += u64::from(target.health == Health::Bad);
    }
    let help = "Targets of a job.";
    let mut targets = page.family("prometheus_target_scrape_pool_targets", Kind::Gauge, help);
    jobs.iter().for_each(|(job, (all, _))| targets.add(&[("scrape_job", job)], *all as f64));
    let help = "Targets of a job whose last scrape failed.";
    let mut down = page.family("plimsoll_targets_down", Kind::Gauge, help);
    jobs.iter().for_each(|(job, (_, bad))| down.add(&[("scrape_job", job)], *bad as f64));
    let counters = &view.counters;
    let all: [(&'static str, u64, &str); 9] = [
        ("plimsoll_scrapes_total", counters.scrapes, "Scrapes that succeeded."),
        (
            "plimsoll_scrapes_skipped_total",
            counters.scrapes_skipped,
            "Scrapes left out because the one before had not ended.",
        ),
        ("plimsoll_scraped_bytes_total", counters.scraped_bytes, "Bytes of successful scrapes."),
        ("plimsoll_samples_total", counters.samples, "Samples taken into the window."),
        (
            "prometheus_target_scrapes_sample_out_of_order_total",
            counters.samples_out_of_order,
            "Samples refused because a newer one of their series was there.",
        ),
        (
            "prometheus_target_scrapes_sample_out_of_bounds_total",
            counters.samples_in_future,
            "Samples refused because their time was too far ahead.",
        ),
        (
            "prometheus_target_scrapes_sample_duplicate_timestamp_total",
            counters.samples_duplicate,
            "Samples dropped because their series stood on the page before, with no newer time.",
        ),
        (
            "prometheus_sd_file_read_errors_total",
            counters.flaws.unreadable_files,
            "Target files of file_sd_configs that could not be read.",
        ),
        (
            "plimsoll_series_refused_total",
            counters.series_refused,
            "New series refused because the window was full (window.max_series, window.max_bytes).",
        ),
    ];
    all.into_iter().for_each(|(name, value, help)| page.counter(name, value, help));
    let help = "Targets that cannot be scraped: their address or a label of theirs is wrong.";
    page.gauge("plimsoll_targets_unusable", counters.flaws.unusable_targets as f64, help);
    let help = "Scrapes that failed, by what was wrong with the answer.";
    let mut failures = page.family("plimsoll_scrape_failures_total", Kind::Counter, help);
    for (reason, count) in &view.scrape_failures {
        failures.add(&[("reason", reason)], *count as f64);
    }
}

fn of_inputs(page: &mut Page, view: &View) {
    let all: Vec<_> =
        view.targets.iter().map(|target| (target, target.quality.figures(view.at))).collect();
    for (nth, (name, help, _)) in Quality::default().figures(view.at).into_iter().enumerate() {
        let mut family = page.family(name, Kind::Gauge, help);
        for (target, figures) in &all {
            let instance = target.labels.get("instance").unwrap_or_default();
            let labels = [("scrape_job", target.job.as_str()), ("scrape_instance", instance)];
            if let (_, _, Some(value)) = figures[nth] {
                family.add(&labels, value);
            }
        }
    }
}

fn of_window(page: &mut Page, view: &View) {
    page.gauge("plimsoll_window_series", view.window_series as f64, "Series in the window.");
    page.gauge("plimsoll_window_bytes", view.window_bytes as f64, "Bytes the window takes.");
    page.counter(
        "plimsoll_clock_steps_total",
        view.counters.clock_steps,
        "Steps of the wall clock that were noticed.",
    );
}

fn of_rules(page: &mut Page, view: &View) {
    type Figure = fn(&GroupView) -> Option<f64>;
    let figures: [(&'static str, Kind, &str, Figure); 9] = [
        ("prometheus_rule_evaluations_total", Kind::Counter, "Rule evaluations.", |group| {
            Some(group.evaluations as f64)
        }),
        (
            "prometheus_rule_evaluation_failures_total",
            Kind::Counter,
            "Rule evaluations that failed.",
            |group| Some(group.failures as f64),
        ),
        (
            "prometheus_rule_group_iterations_missed_total",
            Kind::Counter,
            "Slots of a group that passed without an evaluation.",
            |group| Some(group.missed as f64),
        ),
        (
            "prometheus_rule_group_interval_seconds",
            Kind::Gauge,
            "How often a group is evaluated.",
            |group| Some(group.interval.as_secs_f64()),
        ),
        (
            "prometheus_rule_group_last_duration_seconds",
            Kind::Gauge,
            "How long the last evaluation of a group took.",
            |group| Some(group.evaluation_time.as_secs_f64()),
        ),
        (
            "prometheus_rule_group_last_evaluation_timestamp_seconds",
            Kind::Gauge,
            "The slot of the last evaluation of a group, Unix time.",
            |group| group.last_evaluation.map(seconds),
        ),
        ("prometheus_rule_group_rules", Kind::Gauge, "Rules in a group.", |group| {
            Some(group.rules.len() as f64)
        }),
        (
            "plimsoll_rule_group_failing_rules",
            Kind::Gauge,
            "Rules of a group whose last evaluation failed.",
            |group| Some(group.rules.iter().filter(|r| r.health == Health::Bad).count() as f64),
        ),
        (
            "plimsoll_rule_group_rules_without_series",
            Kind::Gauge,
            "Rules of a group that have selected no series for an hour: they never fire.",
            |group| Some(group.rules.iter().filter(|r| r.never_fires).count() as f64),
        ),
    ];
    for (name, kind, help, figure) in figures {
        let mut family = page.family(name, kind, help);
        for group in &view.groups {
            let label = format!("{};{}", group.file, group.name);
            if let Some(value) = figure(group) {
                family.add(&[("rule_group", &label)], value);
            }
        }
    }
}

fn of_alerts(page: &mut Page, view: &View) {
    let (mut pending, mut firing, mut unknown) = (0_u64, 0_u64, 0_u64);
    let alerting = view.groups.iter().flat_map(|group| &group.rules);
    for alert in alerting.filter_map(|rule| rule.alerting.as_ref()).flat_map(|rule| &rule.alerts) {
        match alert.state {
            AlertState::Pending => pending += 1,
            AlertState::Firing => firing += 1,
            AlertState::Resolved => continue,
        }
        unknown += u64::from(alert.unknown.is_some());
    }
    let mut alerts = page.family("plimsoll_alerts", Kind::Gauge, "Alerts by their state.");
    alerts.add(&[("state", "pending")], pending as f64);
    alerts.add(&[("state", "firing")], firing as f64);
    let help = "Alerts that are active and whose inputs are missing.";
    page.gauge("plimsoll_alerts_unknown", unknown as f64, help);
    let counters = &view.counters;
    page.counter(
        "plimsoll_alerts_fired_total",
        counters.alerts_fired,
        "Alerts that began to fire.",
    );
    page.counter("plimsoll_alerts_resolved_total", counters.alerts_resolved, "Alerts that ended.");
    page.counter(
        "plimsoll_alerts_unknown_total",
        counters.alerts_unknown,
        "Alerts that lost their inputs.",
    );
    let help = "Actions that were decided, by what became of them.";
    let mut actions = page.family("plimsoll_actions_total", Kind::Counter, help);
    actions.add(&[("outcome", "sent")], counters.actions_sent as f64);
    actions.add(&[("outcome", "held")], counters.actions_held as f64);
}

fn of_docker(page: &mut Page, view: &View) {
    if let Some(is_up) = view.docker.as_ref().and_then(DockerState::is_up) {
        page.gauge("plimsoll_docker_up", flag(is_up), "Whether Docker tells what happens.");
        let help = "Lines of Docker's events that could not be read.";
        let lines = view.counters.docker_lines_unread;
        page.counter("plimsoll_docker_events_unreadable_total", lines, help);
    }
}

fn of_alertmanagers(page: &mut Page, view: &View) {
    page.gauge(
        "prometheus_notifications_alertmanagers_discovered",
        view.alertmanagers.len() as f64,
        "Alertmanager instances that alerts are posted to.",
    );
    let help = "Whether the last post to an Alertmanager was accepted; 1 before the first.";
    let mut up = page.family("plimsoll_alertmanager_up", Kind::Gauge, help);
    for instance in &view.alertmanagers {
        up.add(&[("alertmanager", &instance.url)], flag(instance.trouble.is_none()));
    }
    let help = "Alerts an Alertmanager refused for good, at each attempt.";
    let name = "plimsoll_alertmanager_alerts_refused_total";
    let mut refused = page.family(name, Kind::Counter, help);
    for instance in &view.alertmanagers {
        for (reason, count) in &instance.refused {
            refused.add(&[("alertmanager", &instance.url), ("reason", reason)], *count as f64);
        }
    }
    let help = "Posts to Alertmanager, by what became of them.";
    let mut posts = page.family("plimsoll_alertmanager_posts_total", Kind::Counter, help);
    posts.add(&[("outcome", "accepted")], view.counters.posts_accepted as f64);
    posts.add(&[("outcome", "failed")], view.counters.posts_failed as f64);
}

fn of_outbox(page: &mut Page, view: &View) {
    let outbox = &view.outbox;
    let gauges: [(&'static str, f64, &str); 5] = [
        ("plimsoll_outbox_waiting", outbox.waiting as f64, "Deliveries waiting."),
        ("plimsoll_outbox_bytes", outbox.bytes as f64, "Bytes of the bodies that wait."),
        (
            "plimsoll_outbox_oldest_seconds",
            outbox.oldest.as_secs_f64(),
            "Age of the oldest event that waits.",
        ),
        (
            "plimsoll_outbox_paused",
            flag(outbox.paused.is_some()),
            "Whether the sink refuses us as such and is only probed.",
        ),
        ("plimsoll_outbox_dead", outbox.dead as f64, "Deliveries given up and kept."),
    ];
    for (name, value, help) in gauges {
        page.family(name, Kind::Gauge, help).add(&[("sink", SINK)], value);
    }
    let counters: [(&'static str, u64, &str); 3] = [
        ("plimsoll_outbox_delivered_total", outbox.accepted, "Deliveries the sink accepted."),
        ("plimsoll_outbox_failures_total", outbox.failed, "Attempts that failed."),
        ("plimsoll_outbox_dead_total", outbox.given_up, "Deliveries refused for good."),
    ];
    for (name, value, help) in counters {
        page.family(name, Kind::Counter, help).add(&[("sink", SINK)], value as f64);
    }
}

fn of_journal(page: &mut Page, view: &View) {
    let failing = flag(view.journal.failing.is_some());
    page.gauge("plimsoll_journal_failing", failing, "Whether the last commit failed.");
    page.gauge(
        "plimsoll_journal_uncommitted_batches",
        view.journal.uncommitted as f64,
        "Batches handed to the journal that are not durable yet.",
    );
    page.counter(
        "plimsoll_journal_failures_total",
        view.counters.journal_failures,
        "Commits that failed; what they held is tried again.",
    );
    page.counter(
        "plimsoll_journal_unreadable_rows_total",
        view.counters.rows_unreadable,
        "Rows of the journal that could not be read at the start and were left where they are.",
    );
}

fn of_receipts(page: &mut Page, view: &View) {
    let help = "Receipts of the Control Plane that were taken, by what they say.";
    let mut taken = page.family("plimsoll_receipts_total", Kind::Counter, help);
    for decision in ["accepted", "declined", "done"] {
        let count = view.receipts.taken.get(decision).copied().unwrap_or_default();
        taken.add(&[("decision", decision)], count as f64);
    }
    let help = "Receipts that were refused, by reason.";
    let mut refused = page.family("plimsoll_receipts_refused_total", Kind::Counter, help);
    for reason in Refusal::ALL.map(Refusal::name) {
        let count = view.receipts.refused.get(reason).copied().unwrap_or_default();
        refused.add(&[("reason", reason)], count as f64);
    }
}

fn of_recorder(page: &mut Page, view: &View) {
    let Some(recorder) = &view.recorder else { return };
    let failing = flag(recorder.failing.is_some());
    let help = "Whether the last write of the flight recorder failed.";
    page.gauge("plimsoll_recorder_failing", failing, help);
    page.gauge("plimsoll_recorder_bytes", recorder.bytes as f64, "Bytes of recordings on disk.");
    let help = "Scrapes that were handed to the flight recorder.";
    page.counter("plimsoll_recorder_scrapes_total", recorder.scrapes, help);
    let help = "Scrapes it could not keep: its queue or the disk had no room.";
    page.counter("plimsoll_recorder_lost_total", recorder.lost, help);
    let help = "Writes of the flight recorder that failed.";
    page.counter("plimsoll_recorder_failures_total", recorder.failures, help);
}

fn of_audit(page: &mut Page, view: &View) {
    let audit = &view.audit;
    let failing = flag(audit.failing.is_some());
    page.gauge("plimsoll_audit_failing", failing, "Whether the last write of the audit failed.");
    let help = "The number of the newest record of the audit that is on disk.";
    page.gauge("plimsoll_audit_sequence", audit.sequence as f64, help);
    let help = "Records of the audit that were given up because the disk took none.";
    page.counter("plimsoll_audit_lost_total", audit.lost + audit.given_up, help);
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1000.0
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::base::LabelsBuilder;
    use crate::engine::{AlertmanagerView, Counters, DocumentView, OutboxView, RuleView};
    use crate::exposition::{Format, Limits, Scan, Selection, SeriesCache};

    fn view() -> View {
        let rule = RuleView {
            name: "r".to_owned(),
            query: "up".to_owned(),
            labels: Vec::new(),
            health: Health::Bad,
            last_error: Some("no".to_owned()),
            last_evaluation: None,
            evaluation_time: Duration::ZERO,
            series_fetched: 0,
            never_fires: true,
            recent: Vec::new(),
            alerting: None,
        };
        let group = GroupView {
            name: "g \"1\"".to_owned(),
            file: "rules/a.yml".to_owned(),
            interval: Duration::from_secs(5),
            limit: 0,
            last_evaluation: Some(Timestamp(1_700_000_000_500)),
            evaluation_time: Duration::from_millis(3),
            missed: 4,
            evaluations: 70,
            failures: 7,
            rules: vec![rule],
        };
        let outbox = OutboxView {
            waiting: 3,
            oldest: Duration::from_secs(301),
            given_up: 2,
            ..OutboxView::default()
        };
        let alertmanager = |url: &str, trouble: Option<&str>| AlertmanagerView {
            url: url.to_owned(),
            trouble: trouble.map(str::to_owned),
            refused: vec![("bad_alert", 0), ("too_large", 7)],
        };
        let age = Some(Duration::from_secs(90));
        let document = DocumentView { name: "plans", age, error: None, failures: 0 };
        View {
            documents: vec![document],
            groups: vec![Arc::new(group)],
            alertmanagers: vec![
                alertmanager("http://a:9093/", None),
                alertmanager("http://b:9093/", Some("refused")),
            ],
            docker: Some(DockerState {
                is_heard: true,
                is_silent: false,
                why: None,
                heard_until: None,
            }),
            counters: Counters { docker_lines_unread: 5, ..Counters::default() },
            outbox,
            reload_error: Some("no".to_owned()),
            ..View::default()
        }
    }

    fn text() -> String {
        let process = Process {
            started_at: Timestamp(1_000_000),
            cpu_seconds: Some(1.25),
            resident_bytes: Some(20 << 20),
            open_fds: Some(12),
            max_fds: Some(1024),
        };
        metrics_text(&view(), &process)
    }

    /// The names a scrape of the page yields.
    fn scanned(text: &str) -> BTreeSet<String> {
        let (mut cache, selection) = (SeriesCache::new(), Selection::all());
        let limits = Limits::default();
        let mut admit = |_: &mut LabelsBuilder| true;
        let mut scan = Scan::begin(&mut cache, &selection, Format::Text, &limits, &mut admit);
        scan.feed(text.as_bytes()).expect(text);
        let batch = scan.finish().expect(text);
        assert_eq!(batch.stats.duplicates, 0, "{text}");
        let samples = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(batch.new.len(), samples, "every line is a series of its own");
        batch.new.iter().map(|(_, labels)| labels.metric_name().to_owned()).collect()
    }

    #[test]
    fn the_page_passes_our_own_scanner() {
        let names = scanned(&text());
        assert!(names.len() > 40, "{names:?}");
        scanned(&metrics_text(&View::default(), &Process::default()));
    }

    #[test]
    fn figures_stand_under_the_names_that_rules_and_dashboards_read() {
        let text = text();
        let group = "rule_group=\"rules/a.yml;g \\\"1\\\"\"";
        for line in [
            "plimsoll_outbox_waiting{sink=\"control_plane\"} 3".to_owned(),
            "plimsoll_outbox_oldest_seconds{sink=\"control_plane\"} 301".to_owned(),
            "plimsoll_outbox_paused{sink=\"control_plane\"} 0".to_owned(),
            "plimsoll_outbox_dead_total{sink=\"control_plane\"} 2".to_owned(),
            "plimsoll_journal_failing 0".to_owned(),
            "plimsoll_docker_up 1".to_owned(),
            "plimsoll_docker_events_unreadable_total 5".to_owned(),
            "plimsoll_alertmanager_up{alertmanager=\"http://a:9093/\"} 1".to_owned(),
            "plimsoll_alertmanager_up{alertmanager=\"http://b:9093/\"} 0".to_owned(),
            "plimsoll_alertmanager_alerts_refused_total{alertmanager=\"http://a:9093/\",reason=\"too_large\"} 7"
                .to_owned(),
            "prometheus_config_last_reload_successful 0".to_owned(),
            format!("prometheus_rule_evaluations_total{{{group}}} 70"),
            format!("prometheus_rule_evaluation_failures_total{{{group}}} 7"),
            format!("prometheus_rule_group_iterations_missed_total{{{group}}} 4"),
            format!("prometheus_rule_group_last_duration_seconds{{{group}}} 0.003"),
            format!("prometheus_rule_group_interval_seconds{{{group}}} 5"),
            format!("plimsoll_rule_group_rules_without_series{{{group}}} 1"),
            "process_cpu_seconds_total 1.25".to_owned(),
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }

    /// What the shipped rules read about plimsoll itself is on the page.
    #[test]
    fn the_rules_about_plimsoll_find_their_inputs() {
        let names = scanned(&text());
        let rules = include_str!("../../rules/plimsoll.yml");
        let about_us =
            |word: &&str| word.starts_with("plimsoll_") || word.starts_with("prometheus_");
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let read: BTreeSet<&str> = rules.split(|c: char| !is_name(c)).filter(about_us).collect();
        assert!(read.len() >= 7, "{read:?}");
        for name in read {
            assert!(names.contains(name), "{name} is read and not written");
        }
    }
}
