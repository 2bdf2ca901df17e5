//! The collector on a thread of its own, and the way to reach it.
//!
//! Reading files blocks, and a file system may hang; so one thread owns the collector, everyone
//! else sends it commands and waits no longer than they want to. Between commands the thread looks
//! at memory, for the peaks, if anyone reads them. Dropping every handle ends it.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::collect::{Collector, Settings};
use super::host::CollectError;
use crate::base::Timestamp;
use crate::containers::Inventory;
use crate::exposition::Batch;

/// Commands that wait: a collection, a page or two, and news. More means that it hangs.
const WAITING: usize = 16;
/// While the collector is off, or nobody reads peaks, its thread only waits.
const IDLE: Duration = Duration::from_secs(3600);
/// Nobody waits longer for a page.
const PAGE_WITHIN: Duration = Duration::from_secs(10);

enum Command {
    Configure(Option<Box<Settings>>),
    Collect(Timestamp, oneshot::Sender<Result<Batch, CollectError>>),
    Renew,
    Page(Timestamp, oneshot::Sender<Result<String, CollectError>>),
}

/// The way to a collector.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: SyncSender<Command>,
    /// Who the containers are. The newest is what counts, so it waits in no queue and is never lost.
    known: watch::Sender<Option<Arc<Inventory>>>,
}

impl Handle {
    /// Starts the thread; without settings the collector is off.
    pub fn start(settings: Option<Settings>) -> io::Result<Handle> {
        let (commands, inbox) = sync_channel(WAITING);
        let (known, news) = watch::channel(None);
        let collector = settings.map(Collector::new);
        thread::Builder::new()
            .name("collector".to_owned())
            .spawn(move || work(collector, &inbox, news))?;
        Ok(Handle { commands, known })
    }

    /// Works by new settings, or not at all.
    pub fn configure(&self, settings: Option<Settings>) {
        self.tell(Command::Configure(settings.map(Box::new)));
    }

    /// Tells who the containers are, for the next collection.
    pub fn know(&self, inventory: Arc<Inventory>) {
        self.known.send_replace(Some(inventory));
    }

    /// Series are announced anew in the next batch.
    pub fn renew(&self) {
        self.tell(Command::Renew);
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
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(command(reply)).map_err(|_| CollectError::Busy)?;
        match tokio::time::timeout(within, answer).await {
            Ok(answered) => answered.unwrap_or(Err(CollectError::Off)),
            Err(_) => Err(CollectError::TimedOut(within)),
        }
    }

    /// What finds no room is lost only while the thread hangs.
    fn tell(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            tracing::warn!("the collector hangs: it takes no news");
        }
    }
}

fn work(
    mut collector: Option<Collector>,
    inbox: &Receiver<Command>,
    mut known: watch::Receiver<Option<Arc<Inventory>>>,
) {
    let mut told = None;
    let mut told_hidden: BTreeSet<&str> = BTreeSet::new();
    let mut told_doubled = false;
    loop {
        let wait = collector.as_ref().and_then(Collector::sample_interval).unwrap_or(IDLE);
        let command = inbox.recv_timeout(wait);
        if known.has_changed().unwrap_or(false)
            && let (Some(collector), Some(inventory)) =
                (&mut collector, known.borrow_and_update().clone())
        {
            collector.know(inventory);
        }
        match command {
            Ok(command) => obey(&mut collector, &known, command),
            Err(RecvTimeoutError::Timeout) => collector.iter_mut().for_each(Collector::sample),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let trouble = collector.as_ref().and_then(Collector::trouble).map(|(count, _)| *count);
        if trouble != told {
            told = trouble;
            tell_trouble(collector.as_ref().and_then(Collector::trouble));
        }
        if let (false, Some((left, followed))) =
            (told_doubled, collector.as_ref().and_then(Collector::doubled))
        {
            told_doubled = true;
            tracing::warn!(left, followed, "two cgroups have the id of one container: one is left");
        }
        for what in collector.iter().flat_map(Collector::hidden) {
            if told_hidden.insert(what) {
                let hint = "docs/configuration.md, `collector`, says which rights show it";
                tracing::info!(
                    what,
                    hint,
                    "this process has no right to see something, and leaves it out"
                );
            }
        }
    }
}

/// `known` is who the containers are, for a collector that begins later.
fn obey(
    collector: &mut Option<Collector>,
    known: &watch::Receiver<Option<Arc<Inventory>>>,
    command: Command,
) {
    match (command, collector.as_mut()) {
        (Command::Configure(None), _) => *collector = None,
        (Command::Configure(Some(settings)), Some(collector)) => collector.reconfigure(*settings),
        (Command::Configure(Some(settings)), None) => {
            let begun = collector.insert(Collector::new(*settings));
            known.borrow().iter().for_each(|inventory| begun.know(Arc::clone(inventory)));
        }
        (Command::Collect(at, reply), Some(collector)) => {
            if reply.send(collector.collect(at)).is_err() {
                collector.was_lost();
            }
        }
        (Command::Page(at, reply), Some(collector)) => {
            reply.send(collector.page(at)).ok();
        }
        (Command::Renew, Some(collector)) => collector.renew(),
        // Whoever asked hears that it is off when the reply is dropped.
        (_, None) => {}
    }
}

fn tell_trouble(trouble: Option<&(usize, String)>) {
    match trouble {
        Some((containers, first)) => {
            tracing::warn!(containers, first, "files of containers cannot be read");
        }
        None => tracing::info!("every file of every container can be read again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Labels;
    use crate::collector::CollectorConfig;
    use crate::containers::{Container, ContainerId};
    use crate::exposition::Selection;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(60);

    /// A pipe where a file of the kernel should be: whoever opens it waits until somebody writes.
    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "only mkfifo makes a file that hangs")]
    async fn a_file_system_that_hangs_holds_up_nobody_but_the_collector() {
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
        let handle = Handle::start(Some(settings)).expect("a thread");
        let at = Timestamp(0);
        let first = handle.collect(at, SOON).await.expect_err("it hangs");
        assert!(matches!(first, CollectError::TimedOut(_)), "{first}");
        let mut asked = 0;
        while !matches!(handle.collect(at, SOON).await, Err(CollectError::Busy)) {
            asked += 1;
            assert!(asked <= WAITING, "what waits is bounded");
        }
        for n in 0..20 {
            let id = ContainerId::new(&"a".repeat(64)).expect("an id");
            let mut inventory = Inventory::new();
            inventory.put(Container::new(id, &format!("name-{n}"), at), at);
            handle.know(Arc::new(inventory));
        }
        std::fs::rename(&file, folder.join("pipe")).expect("moved");
        std::fs::write(&file, "4096\n").expect("written");
        std::fs::write(folder.join("pipe"), "").expect("whoever waits is let go");
        while matches!(handle.collect(at, LATE).await, Err(CollectError::Busy)) {
            tokio::task::yield_now().await;
        }
        let batch = handle.collect(at, LATE).await.expect("it goes on");
        assert!(!batch.points.is_empty());
        let page = handle.page(at).await.expect("a page");
        assert!(page.contains("name=\"name-19\""), "the last word counts: {page}");
        handle.configure(None);
        let off = handle.collect(at, LATE).await.expect_err("off");
        assert!(matches!(off, CollectError::Off), "{off}");
    }
}
