//! A running plimsoll, from its parts to its end: wired once, for `run` and for `demo` alike.

use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::sync::{mpsc, watch};

use super::checkpoint::CheckpointWriter;
use super::clock::Clock;
use super::config::Config;
use super::docker::DockerWatch;
use super::documents::DocumentWatch;
use super::receipts::SecretsWatch;
use super::recording;
use super::reload::Reloaded;
use super::run::{Crank, INBOX, Question, hand};
use super::setup::{self, Parts};
use super::shell::Shell;
use super::switches::SwitchWatch;
use crate::audit::{Kind, Record};
use crate::base::{Change, Now, Table, Timestamp};
use crate::collector;
use crate::engine::{Engine, Event, Fact, Setup, View};
use crate::journal::{Journal, Opened, Pace, Rows};
use crate::ledger::{self, Ledger, LedgerConfig};
use crate::scrape::file_sd::FileTargets;
use crate::scrape::{Scraper, Settings};

/// What a run needs besides its configuration.
pub struct Start {
    /// The configuration.
    pub config: Config,
    /// The Docker host's name.
    pub host: String,
    /// The clocks.
    pub clock: Clock,
    /// The journal, opened and read.
    pub opened: Opened,
    /// Where the window is kept over restarts, if it is.
    pub checkpoint: Option<PathBuf>,
    /// Where the local executor marks what it asked Docker for, if it may run.
    pub executed: Option<PathBuf>,
    /// Who is told what happened.
    pub tell: Box<dyn FnMut(&Fact)>,
    /// Where the audit is kept, if it is.
    pub audit: Option<LedgerConfig>,
}

/// How the rest of the program reaches a running one.
pub struct Handles {
    /// What readers see.
    pub views: watch::Receiver<View>,
    /// What readers ask.
    pub questions: mpsc::Sender<Question>,
    /// New configurations, checked and built, or why there is none.
    pub reloads: mpsc::Sender<Reloaded>,
    /// Who may send receipts.
    pub secrets: SecretsWatch,
    /// Our own eyes, for those who want to see through them.
    pub collector: collector::Handle,
}

/// Wires everything; nothing happens before [`Crank::turn`]. Must run inside the runtime.
pub fn wire(start: Start) -> anyhow::Result<(Crank, Handles)> {
    let Start { config, host, clock, opened, checkpoint, executed, tell, audit } = start;
    let parts = setup::build(&config, &host)?;
    let Parts { setup, settings, collector, files, discovery, docker, switches, .. } = parts;
    let Parts { unreadable_files, documents, alertmanagers, reads_holds, recorder, .. } = parts;
    let Parts { dress, webhook, prober, hand_at, executes, mail, .. } = parts;
    let rows = remembered(opened.rows);
    let (notify, notices) = mpsc::unbounded_channel();
    let journal = Journal::start(opened.store, Pace::default(), move |notice| {
        notify.send(notice).ok();
    })?;
    let (inbox, events) = mpsc::channel(INBOX);
    let now = clock.now();
    let (shown, views) = watch::channel(before_the_first_round(&setup));
    let audit = audit.map(|config| open_audit(config, now.wall, inbox.clone())).transpose()?;
    let eyes = collector::Handle::start(collector.clone())?;
    let mut engine = Engine::new(setup, &rows, now, Box::new(move || clock.monotonic()));
    if docker.is_some() {
        // Whoever they were before, or nobody yet: containers are not to appear under their ids first.
        eyes.know(engine.inventory());
    }
    restore(&mut engine, checkpoint.as_deref(), now);
    let checkpoint =
        checkpoint.map(|path| CheckpointWriter::start(path, clock.monotonic())).transpose()?;
    let mut watch = DockerWatch::default();
    watch.follow(docker, engine.asks_docker_from(now), inbox.clone());
    let mut switch_watch = SwitchWatch::default();
    let (held_by, switched) = switches;
    switch_watch.follow(held_by, switched.clone(), inbox.clone());
    let mut document_watch = DocumentWatch::default();
    document_watch.follow(documents, &inbox);
    let recorder = recorder.and_then(|config| recording::start(Some(config), None, &inbox));
    let (questions, asked) = mpsc::channel(64);
    let (reloads, reloaded) = mpsc::channel(1);
    let (secrets, known) = watch::channel(webhook.as_ref().map(|webhook| webhook.secrets()));
    let crank = Crank {
        engine,
        shell: Shell {
            clock,
            scraper: scraper(settings, files),
            collector: eyes.clone(),
            collects: collector,
            alertmanagers,
            reads_holds,
            recorder,
            dress,
            webhook,
            prober,
            executor: hand(hand_at, executed.as_ref()),
            executes,
            mail,
            unreadable_files,
            inbox,
        },
        docker: watch,
        documents: document_watch,
        switches: switch_watch,
        switched,
        journal,
        inbox: events,
        notices,
        discovery,
        questions: asked,
        reloads: reloaded,
        views: shown,
        tell,
        executed,
        checkpoint,
        audit,
        secrets,
    };
    Ok((crank, Handles { views, questions, reloads, secrets: known, collector: eyes }))
}

/// What readers see until there is more: what is in force is known already.
fn before_the_first_round(setup: &Setup) -> View {
    View { promql: setup.eval.features, ..View::default() }
}

/// The scraper; what it cannot scrape is told.
fn scraper(settings: Settings, files: FileTargets) -> Scraper {
    let (scraper, problems) = Scraper::new(settings, files);
    for problem in problems {
        tracing::warn!(problem, "target");
    }
    scraper
}

/// Fills the window from the checkpoint, if there is one that can be used.
fn restore(engine: &mut Engine, checkpoint: Option<&Path>, now: Now) {
    if let Some(bytes) = checkpoint.and_then(|path| std::fs::read(path).ok())
        && let Err(error) = engine.restore_window(&bytes, now)
    {
        tracing::warn!(%error, "window checkpoint not used");
    }
}

/// The rows of the journal as the changes that would make them.
fn remembered(rows: Rows) -> Vec<Change> {
    let of_table = |(table, rows): (Table, Vec<(String, Vec<u8>)>)| {
        rows.into_iter().map(move |(key, value)| Change { table, key, value: Some(value) })
    };
    rows.into_iter().flat_map(of_table).collect()
}

/// Opens the audit; what a crash has left of its end is told and becomes its next record.
fn open_audit(
    config: LedgerConfig,
    at: Timestamp,
    inbox: mpsc::Sender<Event>,
) -> anyhow::Result<Ledger> {
    let dir = config.dir.display().to_string();
    let opened = ledger::Store::open(config);
    let (store, resumed) = opened.with_context(|| format!("cannot open the audit in {dir}"))?;
    // For a full inbox it is said again.
    let tell = move |state| inbox.try_send(Event::Audited(state)).is_ok();
    let ledger = Ledger::start(store, tell)?;
    if let Some(ledger::Resumed { cut_bytes, reason }) = resumed {
        tracing::warn!(dir, cut_bytes, reason, "the end of the audit was not whole; it goes on");
        let record = Record::new(at, Kind::AuditResumed);
        ledger.submit(vec![Record { count: Some(cut_bytes), reason: Some(reason), ..record }]);
    }
    Ok(ledger)
}
