//! The collector on a thread of its own, and the way to reach it.
//!
//! Reading files blocks, and a file system may hang; so one thread owns the collector, everyone
//! else gives it commands (`inbox`) and waits no longer than they want to. Between commands the thread looks
//! at memory, for the peaks, if anyone reads them. Dropping every handle ends it.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::collect::{Collector, Settings};
use super::failure::Told;
use super::host::CollectError;
use super::inbox::{Command, Door, inbox};
use crate::base::Timestamp;
use crate::containers::{Inventory, KillsById};
use crate::exposition::Batch;

/// While the collector is off, or nobody reads peaks, its thread only waits.
const IDLE: Duration = Duration::from_secs(3600);
/// Nobody waits longer for a page.
const PAGE_WITHIN: Duration = Duration::from_secs(10);

/// The way to a collector. Of what is told and not asked the newest is what counts, so it waits in no
/// queue and is never lost.
#[derive(Clone, Debug)]
pub struct Handle {
    door: Door,
    settings: watch::Sender<Option<Settings>>,
    /// Who the containers are.
    known: watch::Sender<Option<Arc<Inventory>>>,
    /// OOM kills of each container, by everybody's word.
    kills: watch::Sender<Arc<KillsById>>,
    /// That series are to be announced anew.
    renewals: watch::Sender<()>,
}

/// What was told.
struct News {
    settings: watch::Receiver<Option<Settings>>,
    known: watch::Receiver<Option<Arc<Inventory>>>,
    kills: watch::Receiver<Arc<KillsById>>,
    renewals: watch::Receiver<()>,
}

impl Handle {
    /// Starts the thread; without settings the collector is off.
    pub fn start(settings: Option<Settings>) -> io::Result<Handle> {
        let (door, inbox) = inbox();
        let collector = settings.clone().map(Collector::new);
        let (settings, new_settings) = watch::channel(settings);
        let (known, newly_known) = watch::channel(None);
        let (kills, newly_counted) = watch::channel(Arc::default());
        let (renewals, renewed) = watch::channel(());
        let news = News {
            settings: new_settings,
            known: newly_known,
            kills: newly_counted,
            renewals: renewed,
        };
        thread::Builder::new()
            .name("collector".to_owned())
            .spawn(move || work(collector, |wait| inbox.next(wait), news))?;
        Ok(Handle { door, settings, known, kills, renewals })
    }

    /// Works by new settings, or not at all.
    pub fn configure(&self, settings: Option<Settings>) {
        self.settings.send_replace(settings);
        self.door.give(Command::Look).ok();
    }

    /// Tells who the containers are, for the next collection.
    pub fn know(&self, inventory: Arc<Inventory>) {
        self.known.send_replace(Some(inventory));
    }

    /// Tells how many OOM kills were counted of each container, for the next collection.
    pub fn know_kills(&self, counted: Arc<KillsById>) {
        self.kills.send_replace(counted);
    }

    /// Series are announced anew in the next batch.
    pub fn renew(&self) {
        self.renewals.send_replace(());
    }

    /// Collects once.
    pub async fn collect(&self, at: Timestamp, within: Duration) -> Result<Batch, CollectError> {
        self.ask(|reply| Command::Collect(at, reply), within).await
    }

    /// Everything there is, in the text format.
    pub async fn page(&self, at: Timestamp) -> Result<String, CollectError> {
        self.ask(|reply| Command::Page(at, reply), PAGE_WITHIN).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, CollectError>>) -> Command,
        within: Duration,
    ) -> Result<T, CollectError> {
        let (reply, mut answer) = oneshot::channel();
        self.door.give(command(reply))?;
        match tokio::time::timeout(within, &mut answer).await {
            Ok(answered) => answered.unwrap_or(Err(CollectError::Off)),
            Err(_) => last_word(&mut answer).unwrap_or(Err(CollectError::TimedOut(within))),
        }
    }
}

/// What was answered in the last moment; from now on whoever answers hears that nobody listens. What is
/// sent in between would be lost and held for taken, with the series it announces.
fn last_word<T>(answer: &mut oneshot::Receiver<T>) -> Option<T> {
    answer.close();
    answer.try_recv().ok()
}

impl News {
    /// Does as told.
    fn take(&mut self, collector: &mut Option<Collector>) {
        if is_new(&self.settings) {
            let settings = self.settings.borrow_and_update().clone();
            *collector = match (collector.take(), settings) {
                (Some(mut collector), Some(settings)) => {
                    collector.reconfigure(settings);
                    Some(collector)
                }
                (None, Some(settings)) => {
                    self.known.mark_changed();
                    self.kills.mark_changed();
                    Some(Collector::new(settings))
                }
                (_, None) => None,
            };
        }
        let Some(collector) = collector else { return };
        if is_new(&self.known) {
            let known = self.known.borrow_and_update().clone();
            known.into_iter().for_each(|inventory| collector.know(inventory));
        }
        if is_new(&self.kills) {
            collector.know_kills(Arc::clone(&self.kills.borrow_and_update()));
        }
        if is_new(&self.renewals) {
            self.renewals.mark_unchanged();
            collector.renew();
        }
    }
}

/// Whether there is something that was not taken yet.
fn is_new<T>(news: &watch::Receiver<T>) -> bool {
    news.has_changed().unwrap_or(false)
}

/// `next` waits so long for a command.
fn work(
    mut collector: Option<Collector>,
    mut next: impl FnMut(Duration) -> Result<Command, RecvTimeoutError>,
    mut news: News,
) {
    let mut told = Told::default();
    let mut told_hidden: BTreeSet<&str> = BTreeSet::new();
    let mut told_elsewhere = None;
    let (mut told_doubled, mut has_read) = (false, false);
    loop {
        let wait = collector.as_ref().and_then(Collector::sample_interval).unwrap_or(IDLE);
        let command = next(wait);
        news.take(&mut collector);
        // What a page alone reads is in the page.
        let is_collection = matches!(command, Ok(Command::Collect(..)));
        match command {
            Ok(command) => obey(collector.as_mut(), command),
            Err(RecvTimeoutError::Timeout) => collector.iter_mut().for_each(Collector::sample),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        match &collector {
            Some(collector) if is_collection => {
                tell_first(collector, &mut has_read);
                tell_trouble(collector, &mut told);
            }
            Some(_) => {}
            None => told = Told::default(),
        }
        if let (false, Some((left, followed))) =
            (told_doubled, collector.as_ref().and_then(Collector::doubled))
        {
            told_doubled = true;
            tracing::warn!(left, followed, "two cgroups have the id of one container: one is left");
        }
        let elsewhere = collector.as_ref().and_then(Collector::docker_elsewhere);
        if elsewhere != told_elsewhere.as_deref() {
            told_elsewhere = elsewhere.map(str::to_owned);
            tell_elsewhere(elsewhere);
        }
        for what in collector.iter().flat_map(Collector::hidden) {
            if told_hidden.insert(what) {
                let hint = "docs/configuration.md, `collector`, says which rights show it";
                tracing::info!(what, hint, "something cannot be seen from here, and is left out");
            }
        }
    }
}

/// Whoever asked hears that it is off when the reply is dropped.
fn obey(collector: Option<&mut Collector>, command: Command) {
    let Some(collector) = collector else { return };
    match command {
        Command::Look => {}
        Command::Collect(at, reply) => {
            if reply.send(collector.collect(at)).is_err() {
                collector.was_lost();
            }
        }
        Command::Page(at, reply) => {
            reply.send(collector.page(at)).ok();
        }
    }
}

fn tell_elsewhere(docker: Option<&str>) {
    match docker {
        Some(docker) => tracing::info!(
            docker,
            hint = "write a scrape of that machine's cAdvisor or plimsoll under `scrape_configs`",
            "Docker runs on another machine: names, events and OOM kills come from there, figures of its \
             containers do not"
        ),
        None => tracing::info!("Docker runs on this machine after all, or is not asked any more"),
    }
}

/// Says what there is to see, once that was seen.
fn tell_first(collector: &Collector, has_read: &mut bool) {
    let Some(cgroups) = collector.version().filter(|_| !*has_read) else { return };
    *has_read = true;
    let containers = collector.effort().containers;
    tracing::info!(containers, cgroups, "this host's containers are measured");
}

/// Names what fails in collections once.
fn tell_trouble(collector: &Collector, told: &mut Told) {
    let Some((containers, _)) = collector.trouble() else {
        if told.heals() {
            tracing::info!("every file of every container can be read again");
        }
        return;
    };
    let (files, more) = told.news(collector.failures());
    if !files.is_empty() {
        let files = files.join("; ");
        tracing::warn!(containers, files, more, "files of containers cannot be read");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::path::PathBuf;
    use std::sync::Mutex;

    use super::*;
    use crate::base::Labels;
    use crate::collector::CollectorConfig;
    use crate::containers::{Container, ContainerId};
    use crate::exposition::Selection;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(60);

    /// A collector, and the file that it reads.
    struct Hung {
        handle: Handle,
        settings: Settings,
        file: PathBuf,
        _dir: tempfile::TempDir,
    }

    /// A pipe where a file of the kernel should be: whoever opens it waits until somebody writes.
    #[expect(clippy::disallowed_methods, reason = "only mkfifo makes a file that hangs")]
    fn hung() -> Hung {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("cgroup.controllers"), "memory\n").expect("written");
        let folder = dir.path().join(format!("docker/{}", "a".repeat(64)));
        std::fs::create_dir_all(&folder).expect("made");
        let file = folder.join("memory.current");
        let made = std::process::Command::new("mkfifo").arg(&file).status().expect("runs");
        assert!(made.success());
        let config =
            CollectorConfig { cgroup_root: dir.path().to_owned(), ..CollectorConfig::default() };
        let selection = Arc::new(Selection::all());
        let settings = Settings { config, target: Labels::empty(), selection };
        let handle = Handle::start(Some(settings.clone())).expect("a thread");
        Hung { handle, settings, file, _dir: dir }
    }

    impl Hung {
        /// One collection hangs, and another waits: nothing more finds room.
        async fn fill(&self) {
            let at = Timestamp(0);
            for _ in 0..2 {
                let late = self.handle.collect(at, SOON).await.expect_err("it hangs");
                assert!(matches!(late, CollectError::TimedOut(_)), "{late}");
            }
            let refused = self.handle.collect(at, SOON).await.expect_err("it hangs");
            assert!(matches!(refused, CollectError::Busy), "what waits is bounded: {refused}");
        }

        /// Lets it go on, and collects.
        async fn let_go(&self) -> Result<Batch, CollectError> {
            let pipe = self.file.with_file_name("pipe");
            std::fs::rename(&self.file, &pipe).expect("moved");
            std::fs::write(&self.file, "4096\n").expect("written");
            std::fs::write(pipe, "").expect("whoever waits is let go");
            loop {
                match self.handle.collect(Timestamp(0), LATE).await {
                    Err(CollectError::Busy) => tokio::task::yield_now().await,
                    collected => return collected,
                }
            }
        }
    }

    #[tokio::test]
    async fn a_file_system_that_hangs_holds_up_nobody_but_the_collector() {
        let hung = hung();
        let handle = &hung.handle;
        hung.fill().await;
        let at = Timestamp(0);
        for n in 0..20 {
            let id = ContainerId::new(&"a".repeat(64)).expect("an id");
            let mut inventory = Inventory::new();
            inventory.put(Container::new(id, &format!("name-{n}"), at), at);
            handle.know(Arc::new(inventory));
        }
        let batch = hung.let_go().await.expect("it goes on");
        assert!(!batch.points.is_empty());
        let page = handle.page(at).await.expect("a page");
        assert!(page.contains("name=\"name-19\""), "the last word counts: {page}");
        handle.configure(None);
        let off = handle.collect(at, LATE).await.expect_err("off");
        assert!(matches!(off, CollectError::Off), "{off}");
        handle.configure(Some(hung.settings.clone()));
        handle.collect(at, LATE).await.expect("on");
        let page = handle.page(at).await.expect("a page");
        assert!(page.contains("name=\"name-19\""), "who began late knows, too: {page}");
    }

    #[tokio::test]
    async fn pages_that_hang_and_wait_take_no_collection_its_place() {
        let hung = hung();
        let ask = || {
            let handle = hung.handle.clone();
            tokio::spawn(async move { handle.page(Timestamp(0)).await })
        };
        let readers: Vec<_> = (0..40).map(|_| ask()).collect();
        tokio::task::yield_now().await;
        let late = hung.handle.collect(Timestamp(0), SOON).await.expect_err("a page hangs");
        assert!(matches!(late, CollectError::TimedOut(_)), "it waits in its place: {late}");
        let batch = hung.let_go().await.expect("collects");
        assert!(!batch.points.is_empty());
        let mut refused = 0;
        for reader in readers {
            match reader.await.expect("ends") {
                // The one that hung has read a pipe, which is no file of the kernel's.
                Ok(_) | Err(CollectError::Unreadable { .. }) => {}
                Err(CollectError::BusyForPages) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!((38..40).contains(&refused), "one page is made and one waits: {refused}");
    }

    #[tokio::test]
    async fn what_is_told_while_the_file_system_hangs_is_not_lost() {
        let one = hung();
        one.fill().await;
        let target = Labels::from_pairs([("instance", "another")]);
        one.handle.configure(None);
        one.handle.configure(Some(Settings { target, ..one.settings.clone() }));
        let batch = one.let_go().await.expect("collects");
        assert_eq!(batch.new[0].1.get("instance"), Some("another"));
        let at = Timestamp(0);
        let epoch = one.handle.collect(at, LATE).await.expect("collects").epoch;
        one.handle.renew();
        assert_eq!(one.handle.collect(at, LATE).await.expect("collects").epoch, epoch + 1);
        assert_eq!(one.handle.collect(at, LATE).await.expect("collects").epoch, epoch + 1);
        let other = hung();
        other.fill().await;
        other.handle.configure(None);
        let off = other.let_go().await.expect_err("off");
        assert!(matches!(off, CollectError::Off), "{off}");
    }

    #[test]
    fn an_answer_in_the_last_moment_is_taken_or_refused_and_never_lost() {
        let (reply, mut answer) = oneshot::channel();
        reply.send(7).expect("somebody listens");
        assert_eq!(last_word(&mut answer), Some(7));
        let (reply, mut answer) = oneshot::channel();
        assert_eq!(last_word(&mut answer), None);
        assert_eq!(reply.send(7), Err(7), "before it is dropped");
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Does these commands, and says what the log says.
    fn log_of(settings: &Settings, mut commands: VecDeque<Command>) -> String {
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        let mut next = || commands.pop_front().ok_or(RecvTimeoutError::Disconnected);
        let (_settings, settings_news) = watch::channel(None);
        let (_known, known) = watch::channel(None);
        let (_kills, kills) = watch::channel(Arc::default());
        let (_renewals, renewals) = watch::channel(());
        let news = News { settings: settings_news, known, kills, renewals };
        let collector = Some(Collector::new(settings.clone()));
        tracing::subscriber::with_default(subscriber.finish(), || {
            work(collector, |_| next(), news)
        });
        let text = log.0.lock().expect("no panic").clone();
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn the_log_names_what_fails_once_and_judges_by_collections() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("cgroup.controllers"), "memory\n").expect("written");
        for digit in ["a", "b"] {
            let folder = dir.path().join(format!("docker/{}", digit.repeat(64)));
            std::fs::create_dir_all(&folder).expect("made");
            for (file, text) in [("memory.current", "1"), ("memory.stat", "x"), ("io.stat", "x")] {
                std::fs::write(folder.join(file), text).expect("written");
            }
        }
        let config =
            CollectorConfig { cgroup_root: dir.path().to_owned(), ..CollectorConfig::default() };
        let log = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned());
            let selection = Arc::new(Selection::only(names, Vec::new()));
            let settings = Settings { config: config.clone(), target: Labels::empty(), selection };
            let mut commands = VecDeque::new();
            for at in [0, 5000, 10_000].map(Timestamp) {
                commands.push_back(Command::Collect(at, oneshot::channel().0));
                commands.push_back(Command::Page(at, oneshot::channel().0));
            }
            log_of(&settings, commands)
        };
        let quiet = log(&["container_memory_usage_bytes"]);
        assert!(!quiet.contains("WARN") && !quiet.contains("again"), "{quiet}");
        let told = log(&["container_memory_usage_bytes", "container_memory_rss"]);
        for digit in ["a", "b"] {
            let file = format!("{}/memory.stat", digit.repeat(64));
            assert_eq!(told.matches(&file).count(), 1, "{told}");
        }
        assert_eq!(told.matches("files of containers cannot be read").count(), 1, "{told}");
        assert!(!told.contains("again"), "{told}");
    }

    #[test]
    fn two_cgroups_of_one_id_are_told_once() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("cgroup.controllers"), "memory\n").expect("written");
        for folder in ["docker", "kata_overhead"] {
            let folder = dir.path().join(folder).join("a".repeat(64));
            std::fs::create_dir_all(&folder).expect("made");
            std::fs::write(folder.join("memory.current"), "1").expect("written");
        }
        let config =
            CollectorConfig { cgroup_root: dir.path().to_owned(), ..CollectorConfig::default() };
        let selection = Arc::new(Selection::all());
        let settings = Settings { config, target: Labels::empty(), selection };
        let collect = |at| Command::Collect(Timestamp(at), oneshot::channel().0);
        let told = log_of(&settings, [0, 5000, 10_000].map(collect).into());
        assert_eq!(told.matches("two cgroups have the id of one container").count(), 1, "{told}");
        assert!(told.contains("left=\"/kata_overhead/"), "{told}");
    }
}
