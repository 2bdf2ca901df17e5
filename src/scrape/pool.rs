//! All targets, each with its identity, its client and its cache.
//!
//! When a target is scraped is decided elsewhere; [`Scraper::scrape`] gives a future that runs on a
//! task of its own, shares nothing with other targets that can wait, and so delays none of them.
//! No target is scraped twice at once. Ids are kept over reloads and refreshed files for targets
//! that stay the same, and are never given to another one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::config::ScrapeConfig;
use super::error::{ScrapeError, ScrapeErrorKind as Kind};
use super::file_sd::FileTargets;
use super::session::{Plan, Session};
use super::target::{Identity, Target, targets};
use crate::base::{HashMap, Labels, TargetId, Timestamp};
use crate::endpoint::Pool;
use crate::exposition::{Batch, Room, Selection};
use crate::relabel;

/// What to scrape, and what of it anything can read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The jobs, in the order of the configuration.
    pub jobs: Vec<Arc<ScrapeConfig>>,
    /// What is kept of their pages. Jobs whose metric relabelling touches names are kept whole.
    pub selection: Arc<Selection>,
    /// Whether pages are handed on as they were sent, for the flight recorder.
    pub keep_pages: bool,
    /// `m2.vhost_label`: names that M2 may give the virtual host, the preferred first.
    pub vhost_labels: Arc<[String]>,
}

/// How a scrape ended. The synthetic series are made from this.
#[derive(Clone, PartialEq, Debug)]
pub struct ScrapeOutcome {
    /// Whose.
    pub target: TargetId,
    /// The wall time that was passed in when it began: that of samples without their own.
    pub started_at: Timestamp,
    /// How long it took (`scrape_duration_seconds`).
    pub duration: Duration,
    /// The samples (`up` is 1), or why there are none (`up` is 0).
    pub result: Result<Batch, ScrapeError>,
    /// The page of a good scrape, if pages are handed on.
    pub page: Option<KeptPage>,
}

/// A page as it was sent.
#[derive(Clone, Debug)]
pub struct KeptPage {
    /// Its target's labels.
    pub target: Labels,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What of it anything can read.
    pub selection: Arc<Selection>,
}

impl PartialEq for KeptPage {
    fn eq(&self, other: &KeptPage) -> bool {
        (&self.target, &self.bytes) == (&other.target, &other.bytes)
    }
}

/// All targets.
#[derive(Debug)]
pub struct Scraper {
    settings: Settings,
    /// One pool of clients per job, by its place in `settings`.
    pools: Vec<Arc<Pool>>,
    files: FileTargets,
    slots: BTreeMap<TargetId, Slot>,
    ids: HashMap<Identity, TargetId>,
    next_id: u32,
    /// The newest generation given out, and that of the last reload.
    generation: u64,
    reloaded: u64,
    unusable: u64,
    /// Of the series caches of all targets.
    room: Arc<Room>,
}

#[derive(Debug)]
struct Slot {
    plan: Arc<Plan>,
    /// Held for the whole of a scrape: who does not get it at once goes away.
    session: Arc<Mutex<Session>>,
}

impl Scraper {
    /// The targets of `settings` and `files`, and what is wrong with those left out, one line
    /// each.
    pub fn new(settings: Settings, files: FileTargets) -> (Scraper, Vec<String>) {
        let mut scraper = Scraper {
            settings: Settings { jobs: Vec::new(), ..settings.clone() },
            pools: Vec::new(),
            files: FileTargets::new(),
            slots: BTreeMap::new(),
            ids: HashMap::default(),
            next_id: 0,
            generation: 0,
            reloaded: 0,
            unusable: 0,
            room: Arc::default(),
        };
        let problems = scraper.reload(settings, files);
        (scraper, problems)
    }

    /// Takes new settings. Targets that stay keep their ids; every one begins a new epoch, because
    /// what is kept and how it is relabelled may have changed.
    pub fn reload(&mut self, settings: Settings, files: FileTargets) -> Vec<String> {
        self.pools = settings.jobs.iter().map(|_| Arc::new(Pool::default())).collect();
        self.settings = settings;
        self.files = files;
        self.generation += 1;
        self.reloaded = self.generation;
        self.rebuild()
    }

    /// Takes what the files hold now. Targets that stay keep their ids and epochs.
    pub fn discovered(&mut self, files: FileTargets) -> Vec<String> {
        self.files = files;
        self.rebuild()
    }

    /// Begins a new epoch for one target, whose ids the engine has lost.
    pub fn resync(&mut self, target: TargetId) {
        if let Some(slot) = self.slots.get_mut(&target) {
            self.generation += 1;
            let plan = Plan { generation: self.generation, ..Plan::clone(&slot.plan) };
            slot.plan = Arc::new(plan);
        }
    }

    /// Targets left out because an address or a label of theirs is wrong.
    pub fn unusable(&self) -> u64 {
        self.unusable
    }

    /// Every target, in the order of their ids.
    pub fn targets(&self) -> impl Iterator<Item = (TargetId, &Arc<Target>)> {
        self.slots.iter().map(|(id, slot)| (*id, &slot.plan.target))
    }

    /// Scrapes a target once: a future for a task of its own, which ends within the target's
    /// timeout. Nothing happens before it is polled.
    pub fn scrape(
        &self,
        target: TargetId,
        started_at: Timestamp,
    ) -> impl Future<Output = ScrapeOutcome> + Send + use<> {
        let slot =
            self.slots.get(&target).map(|slot| (Arc::clone(&slot.plan), Arc::clone(&slot.session)));
        async move {
            let began = Instant::now();
            let mut page = None;
            let result = match slot {
                Some((plan, session)) => match session.try_lock() {
                    Ok(mut session) => {
                        let mut bytes = plan.keep_pages.then(Vec::new);
                        let scraped = session.scrape(&plan, &mut bytes).await;
                        page = bytes.filter(|_| scraped.is_ok()).map(|bytes| KeptPage {
                            target: plan.target.labels.clone(),
                            bytes,
                            selection: Arc::clone(&plan.selection),
                        });
                        scraped
                    }
                    Err(_) => Err(ScrapeError::new(Kind::Busy, "its last scrape still runs")),
                },
                None => Err(ScrapeError::new(Kind::Gone, "the target is no longer configured")),
            };
            ScrapeOutcome { target, started_at, duration: began.elapsed(), result, page }
        }
    }

    fn rebuild(&mut self) -> Vec<String> {
        let mut old = std::mem::take(&mut self.slots);
        let mut problems = Vec::new();
        for (job, pool) in self.settings.jobs.iter().zip(&self.pools) {
            let groups = job.static_groups.iter();
            let groups = groups.chain(self.files.get(&job.job_name).into_iter().flatten());
            let (found, more) = targets(job, groups);
            problems.extend(more);
            let selection = match relabel::reads_or_writes_name(&job.metric_relabel) {
                true => Arc::new(Selection::all()),
                false => Arc::clone(&self.settings.selection),
            };
            for target in found {
                let id = *self.ids.entry(target.identity()).or_insert_with(|| {
                    self.next_id += 1;
                    TargetId(self.next_id)
                });
                let (session, generation) = match old.remove(&id) {
                    Some(slot) => (slot.session, slot.plan.generation.max(self.reloaded)),
                    None => (Arc::new(Mutex::new(Session::within(&self.room))), self.reloaded),
                };
                let plan = Plan {
                    target: Arc::new(target),
                    pool: Arc::clone(pool),
                    selection: Arc::clone(&selection),
                    keep_pages: self.settings.keep_pages,
                    vhost_labels: Arc::clone(&self.settings.vhost_labels),
                    generation,
                };
                self.slots.insert(id, Slot { plan: Arc::new(plan), session });
            }
        }
        let alive = &self.slots;
        self.ids.retain(|_, id| alive.contains_key(id));
        self.unusable = problems.len() as u64;
        problems
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex as StdMutex;

    use super::super::config::{GlobalConfig, scrape_configs};
    use super::super::testing::{Answer, serve};
    use super::*;
    use crate::yaml::{Cursor, Problems, parse};

    const NOW: Timestamp = Timestamp(1_000);

    fn settings(jobs: &str) -> Settings {
        let mut problems = Problems::default();
        let node = parse("a.yml", jobs, &mut problems).expect(jobs);
        let global = GlobalConfig::default();
        let jobs =
            scrape_configs(Cursor::root("a.yml", &node, &mut problems), &global, Path::new("/"));
        assert!(problems.is_empty(), "{problems}");
        Settings {
            jobs: jobs.expect("a list").into_iter().map(Arc::new).collect(),
            selection: Arc::new(Selection::all()),
            keep_pages: false,
            vhost_labels: Arc::from(["host".to_owned()]),
        }
    }

    fn scraper(jobs: &str) -> Scraper {
        let (scraper, problems) = Scraper::new(settings(jobs), FileTargets::new());
        assert_eq!(problems, Vec::<String>::new());
        scraper
    }

    /// A scraper of one target that answers with each page in turn, the last for ever.
    async fn of_pages(pages: &[&str], keys: &str) -> (Scraper, TargetId) {
        let pages: Vec<Vec<u8>> = pages.iter().map(|page| page.as_bytes().to_vec()).collect();
        let left = StdMutex::new(pages.into_iter().rev().collect::<Vec<_>>());
        let address = serve(move |_| {
            let mut left = left.lock().expect("unpoisoned");
            let page = if left.len() > 1 { left.pop() } else { left.last().cloned() };
            let page = page.expect("there is a last page");
            Answer::Owned([&b"HTTP/1.0 200 OK\r\n\r\n"[..], &page].concat())
        });
        let scraper = scraper(&format!(
            "- {{job_name: j, static_configs: [{{targets: ['{}'], labels: {{instance: i}}}}], {keys}}}",
            address.await
        ));
        let id = scraper.targets().next().expect("one target").0;
        (scraper, id)
    }

    async fn batch(scraper: &Scraper, id: TargetId) -> Batch {
        scraper.scrape(id, NOW).await.result.expect("a good page")
    }

    /// The labels of a page's series, as the engine learns them.
    async fn check_labels(page: &str, keys: &str, want: &[&str]) {
        let (scraper, id) = of_pages(&[page], keys).await;
        let batch = batch(&scraper, id).await;
        let got: Vec<String> = batch.new.iter().map(|(_, labels)| format!("{labels:?}")).collect();
        assert_eq!(got, want, "{page}");
    }

    #[tokio::test]
    async fn series_get_their_targets_labels() {
        let page = "a{x=\"1\"} 1\n";
        check_labels(page, "", &[r#"a{instance="i", job="j", x="1"}"#]).await;
        let page = "a{job=\"own\",exported_job=\"other\"} 1\n";
        let moved =
            r#"a{exported_exported_job="own", exported_job="other", instance="i", job="j"}"#;
        check_labels(page, "", &[moved]).await;
        let kept = r#"a{exported_job="other", instance="i", job="own"}"#;
        check_labels(page, "honor_labels: true", &[kept]).await;
        let page = "a 1\nb 1\n";
        let keys = "metric_relabel_configs: [{action: drop, source_labels: [__name__], regex: a}, \
                    {target_label: z, replacement: q, source_labels: [job]}]";
        check_labels(page, keys, &[r#"b{instance="i", job="j", z="q"}"#]).await;
        let page = "m2_cache_tcp_hit{host=\"v\"} 1\n";
        let want = r#"m2_cache_tcp_total{instance="i", job="j", result="hit", vhost="v"}"#;
        check_labels(page, "", &[want]).await;
    }

    #[tokio::test]
    async fn only_what_can_be_read_is_kept_unless_names_are_rewritten() {
        let only_b = || Arc::new(Selection::only(["b".to_owned()], Vec::new()));
        let rename = "metric_relabel_configs: [{source_labels: [__name__], regex: a, \
                      target_label: __name__, replacement: b}]";
        for (keys, want) in [("", 1), (rename, 2)] {
            let (mut scraper, id) = of_pages(&["a 1\nb 2\n"], keys).await;
            let settings = Settings { selection: only_b(), ..scraper.settings.clone() };
            scraper.reload(settings, FileTargets::new());
            let stats = batch(&scraper, id).await.stats;
            assert_eq!((stats.samples_kept, stats.samples_scraped()), (want, 2), "{keys}");
        }
    }

    #[tokio::test]
    async fn honor_timestamps_off_drops_them() {
        let page = "a 1 5000\na 2 6000\n";
        let (scraper, id) = of_pages(&[page], "").await;
        assert_eq!(batch(&scraper, id).await.points.len(), 2);
        let (scraper, id) = of_pages(&[page], "honor_timestamps: false").await;
        let points = batch(&scraper, id).await.points;
        assert_eq!(points.iter().map(|p| (p.value, p.at)).collect::<Vec<_>>(), [(1.0, None)]);
    }

    #[tokio::test]
    async fn a_bad_page_fails_alone_and_loses_nothing() {
        let good = "a 1\nb 2\n";
        let cases = [
            ("a 1\nc 3\nb{x=\"\n", "", Kind::Malformed, "line 3"),
            ("a 1\nc 3\nb 2", "", Kind::Malformed, "line 3"),
            ("<html>\n", "", Kind::Malformed, "line 1"),
            ("a 1\nb 2\nc 3\n", "sample_limit: 2", Kind::SampleLimit, "sample_limit"),
            ("c{l=\"v\"} 3\n", "label_limit: 3", Kind::LabelLimit, "label_limit"),
            ("a 1\nb 2\nccccccccc 3\n", "body_size_limit: 10", Kind::BodyLimit, "body_size_limit"),
        ];
        for (bad, keys, kind, words) in cases {
            let (scraper, id) = of_pages(&[good, bad, "a 1\nb 2\n"], keys).await;
            let first = batch(&scraper, id).await;
            assert_eq!((first.new.len(), first.stats.series_added), (2, 2));
            let outcome = scraper.scrape(id, NOW).await;
            let error = outcome.result.expect_err(bad);
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains(words), "`{words}` in: {error}");
            let third = batch(&scraper, id).await;
            assert_eq!((third.epoch, third.new.len(), third.points.len()), (first.epoch, 0, 2));
        }
    }

    #[tokio::test]
    async fn pages_that_cannot_be_text_name_their_type() {
        for (content_type, keys, fails) in [
            ("text/html; charset=utf-8", "", true),
            ("application/json", "", true),
            ("application/vnd.google.protobuf", "", true),
            ("application/json", "fallback_scrape_protocol: PrometheusText0.0.4", false),
            ("text/plain; version=0.0.4; escaping=underscores", "", false),
        ] {
            let address = serve(move |_| {
                let head = format!("HTTP/1.0 200 OK\r\nContent-Type: {content_type}\r\n\r\na 1\n");
                Answer::Owned(head.into_bytes())
            });
            let scraper = scraper(&format!(
                "- {{job_name: j, static_configs: [{{targets: ['{}']}}], {keys}}}",
                address.await
            ));
            let id = scraper.targets().next().expect("one target").0;
            match scraper.scrape(id, NOW).await.result {
                Err(error) => {
                    assert!(fails && error.kind == Kind::ContentType, "{error}");
                    assert!(error.message.contains(content_type), "{error}");
                }
                Ok(batch) => assert!(!fails && batch.points.len() == 1, "{content_type}"),
            }
        }
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_are_an_error_with_a_line() {
        let address =
            serve(|_| Answer::Bytes(b"HTTP/1.0 200 OK\r\n\r\nok 1\na{b=\"\xff\xfe\"} 1\n")).await;
        let scraper =
            scraper(&format!("- {{job_name: j, static_configs: [{{targets: ['{address}']}}]}}"));
        let error = scraper.scrape(TargetId(1), NOW).await.result.expect_err("not UTF-8");
        assert_eq!(error.kind, Kind::Malformed);
        assert!(error.message.contains("line 2"), "{error}");
    }

    #[tokio::test]
    async fn compressed_pages_are_read_and_bounded_after_decompression() {
        use std::io::Write;
        let page = |lines: usize| {
            let level = flate2::Compression::best();
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
            for line in 0..lines {
                writeln!(gzip, "a{{n=\"{line}\"}} 1").expect("into memory");
            }
            gzip.finish().expect("into memory")
        };
        let head = b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
        for (lines, good) in [(10, true), (100_000, false)] {
            let answer = [&head[..], &page(lines)].concat();
            let address = serve(move |request| {
                assert!(request.to_lowercase().contains("accept-encoding: gzip"), "{request}");
                Answer::Owned(answer.clone())
            });
            // 0.0.0.0 reaches this machine without being a loopback address.
            let scraper = scraper(&format!(
                "- {{job_name: j, static_configs: [{{targets: ['0.0.0.0:{}']}}], body_size_limit: 1MiB}}",
                address.await.port()
            ));
            let outcome = scraper.scrape(TargetId(1), NOW).await;
            match outcome.result {
                Ok(batch) => assert!(good && batch.points.len() == lines),
                Err(error) => assert!(!good && error.kind == Kind::BodyLimit, "{error}"),
            }
        }
    }

    #[tokio::test]
    async fn a_failed_page_tells_how_far_it_was_read() {
        for (page, keys, samples) in [
            ("a 1\nb 2\nc 3\nd 4\n", "sample_limit: 2", (4, 4)),
            ("a{l=\"v\"} 3\nb 1\n", "label_limit: 3", (1, 0)),
            ("a 1\nb 2\nc\nd 1\n", "", (2, 2)),
        ] {
            let (scraper, id) = of_pages(&[page], keys).await;
            let error = scraper.scrape(id, NOW).await.result.expect_err(page);
            assert_eq!(error.samples, samples, "{error}");
        }
    }

    #[tokio::test]
    async fn a_page_that_is_too_much_to_remember_fails_under_its_own_reason() {
        let page = "a 1\nb 1\nc 1\n";
        let (mut scraper, id) = of_pages(&[page], "").await;
        let mut settings = scraper.settings.clone();
        for job in &mut settings.jobs {
            let limits = job.limits.clone().within(1, 1 << 20);
            *job = Arc::new(ScrapeConfig { limits, ..ScrapeConfig::clone(job) });
        }
        scraper.reload(settings, FileTargets::new());
        let error = scraper.scrape(id, NOW).await.result.expect_err("is too much");
        assert_eq!((error.kind, error.kind.name()), (Kind::SeriesLimit, "series_limit"), "{error}");
    }

    #[tokio::test]
    async fn a_target_that_hangs_up_is_asked_once_and_a_kept_connection_that_is_gone_twice() {
        let heard = Arc::new(StdMutex::new(0));
        let hears = Arc::clone(&heard);
        let address = serve(move |_| {
            *hears.lock().expect("unpoisoned") += 1;
            Answer::Bytes(b"")
        });
        let of = |address| {
            scraper(&format!("- {{job_name: j, static_configs: [{{targets: ['{address}']}}]}}"))
        };
        let hangs_up = of(address.await);
        for round in 1..=3 {
            let error = hangs_up.scrape(TargetId(1), NOW).await.result.expect_err("no answer");
            assert_eq!((error.kind, *heard.lock().expect("unpoisoned")), (Kind::Connect, round));
        }
        let keeps = of(serve(|_| Answer::OncePerConnection).await);
        for _ in 0..3 {
            batch(&keeps, TargetId(1)).await;
        }
    }

    #[tokio::test]
    async fn a_dead_target_delays_no_other_and_is_not_scraped_twice() {
        let silent = serve(|_| Answer::Silence).await;
        let page = b"HTTP/1.0 200 OK\r\n\r\na 1\n";
        let good = serve(move |_| Answer::Bytes(page)).await;
        let scraper = scraper(&format!(
            "- {{job_name: j, scrape_timeout: 1s, static_configs: [{{targets: ['{silent}', '{good}']}}]}}"
        ));
        let slow = tokio::spawn(scraper.scrape(TargetId(1), NOW));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let other = scraper.scrape(TargetId(2), NOW).await;
        assert!(other.result.is_ok() && other.duration < Duration::from_millis(500));
        assert_eq!((other.target, other.started_at), (TargetId(2), NOW));
        let again = scraper.scrape(TargetId(1), NOW).await.result.expect_err("still running");
        assert_eq!(again.kind, Kind::Busy);
        let slow = slow.await.expect("no panic");
        assert_eq!(slow.result.expect_err("silent").kind, Kind::Timeout);
        assert!(slow.duration >= Duration::from_secs(1) && slow.duration < Duration::from_secs(2));
        let gone = scraper.scrape(TargetId(99), NOW).await.result.expect_err("unknown");
        assert_eq!(gone.kind, Kind::Gone);
    }

    #[tokio::test]
    async fn reloads_keep_ids_and_begin_epochs() {
        let (mut scraper, id) = of_pages(&["a 1\n"], "").await;
        let first = batch(&scraper, id).await;
        scraper.reload(scraper.settings.clone(), FileTargets::new());
        assert_eq!(scraper.targets().map(|(id, _)| id).collect::<Vec<_>>(), [id]);
        let second = batch(&scraper, id).await;
        assert!(second.epoch > first.epoch && second.new.len() == 1);
        scraper.resync(id);
        let third = batch(&scraper, id).await;
        assert!(third.epoch > second.epoch && third.new.len() == 1);
        scraper.discovered(FileTargets::new());
        let fourth = batch(&scraper, id).await;
        assert_eq!((fourth.epoch, fourth.new.len()), (third.epoch, 0));
    }

    #[tokio::test]
    async fn one_targets_new_epoch_is_no_others() {
        let page = serve(|_| Answer::Bytes(b"HTTP/1.0 200 OK\r\n\r\na 1\n")).await;
        let mut scraper = scraper(&format!(
            "- {{job_name: j, static_configs: [{{targets: ['{page}', 'localhost:{}']}}]}}",
            page.port()
        ));
        let before = batch(&scraper, TargetId(2)).await;
        scraper.resync(TargetId(1));
        scraper.discovered(FileTargets::new());
        let after = batch(&scraper, TargetId(2)).await;
        assert_eq!((after.epoch, after.new.len()), (before.epoch, 0));
    }

    #[test]
    fn ids_follow_targets_and_are_never_given_again() {
        let group = |address: &str| {
            let targets = vec![address.to_owned()];
            vec![crate::endpoint::TargetGroup { targets, labels: Labels::empty() }]
        };
        let files = |address: &str| FileTargets::from([("j".to_owned(), group(address))]);
        let mut scraper = scraper("- {job_name: j, static_configs: [{targets: ['a:1']}]}");
        let mut shown = |address: &str| {
            assert_eq!(scraper.discovered(files(address)), Vec::<String>::new());
            scraper.targets().map(|(id, t)| (id.0, t.shown_url())).collect::<Vec<_>>()
        };
        let a = (1, "http://a:1/metrics".to_owned());
        assert_eq!(shown("b:1"), [a.clone(), (2, "http://b:1/metrics".to_owned())]);
        assert_eq!(shown("c:1"), [a.clone(), (3, "http://c:1/metrics".to_owned())]);
        assert_eq!(shown("a:1"), std::slice::from_ref(&a), "found twice is one target");
        assert_eq!(shown("b:1"), [a.clone(), (4, "http://b:1/metrics".to_owned())]);
        let problems = scraper.discovered(files("x/y"));
        assert!(problems[0].contains("x/y"), "{problems:?}");
        assert_eq!((scraper.targets().count(), scraper.unusable()), (1, 1));
        scraper.discovered(files("b:1"));
        assert_eq!(scraper.unusable(), 0);
    }
}
