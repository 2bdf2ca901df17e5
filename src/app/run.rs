//! The loop: wait for something to happen, hand it to the engine, do what it says.
//!
//! Everything plimsoll ever does starts on one of these lines. The loop owns the engine; the rest of
//! the program reaches it only through the inbox.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::checkpoint::CheckpointWriter;
use super::docker::DockerWatch;
use super::documents::DocumentWatch;
use super::recording;
use super::reload::Reloaded;
use super::shell::Shell;
use super::switches::SwitchWatch;
use crate::audit::Record;
use crate::base::{Batch, Change, format_rfc3339};
use crate::engine::{Answer, Engine, Event, Fact, Flaws, Switches, TargetInfo, View};
use crate::executor::{Daemon, Executor};
use crate::journal::{Journal, Notice};
use crate::ledger::{Ledger, Unwritten};
use crate::scrape::file_sd::Refreshed;
use crate::send::Secrets;

/// Events that wait at most; senders wait beyond it.
pub const INBOX: usize = 1024;
/// From the stop signal to the end of the process.
const GRACE: Duration = Duration::from_secs(8);
/// At most so much of it goes to the last checkpoint.
const CHECKPOINT_GRACE: Duration = Duration::from_secs(3);
/// What the recorder has in memory is written in far less.
const RECORDER_GRACE: Duration = Duration::from_millis(500);
/// After the journal has used up what it may, this much is left for the audit.
const AUDIT_GRACE: Duration = Duration::from_secs(1);

/// A question from a reader of the API.
pub struct Question {
    /// What is asked; it gets its ticket here.
    pub event: Event,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
}

/// Everything the loop turns.
pub struct Crank {
    /// The state machine.
    pub engine: Engine,
    /// Its hands.
    pub shell: Shell,
    /// Its eye on Docker.
    pub docker: DockerWatch,
    /// Its eye on documents of plans and tenants.
    pub documents: DocumentWatch,
    /// Its eye on the files that hold actions.
    pub switches: SwitchWatch,
    /// What those files say at the start.
    pub switched: Switches,
    /// Its memory.
    pub journal: Journal,
    /// What happened, from the shell's tasks.
    pub inbox: mpsc::Receiver<Event>,
    /// What the journal says.
    pub notices: mpsc::UnboundedReceiver<Notice>,
    /// What target files say.
    pub discovery: mpsc::Receiver<Refreshed>,
    /// What readers ask.
    pub questions: mpsc::Receiver<Question>,
    /// New configurations, or why there is none.
    pub reloads: mpsc::Receiver<Reloaded>,
    /// What readers see.
    pub views: watch::Sender<View>,
    /// Who is told what happened.
    pub tell: Box<dyn FnMut(&Fact)>,
    /// Who may send receipts.
    pub secrets: watch::Sender<Option<Secrets>>,
    /// Its conscience, if one is kept.
    pub audit: Option<Ledger>,
    /// Where the local executor marks what it asked Docker for.
    pub executed: Option<PathBuf>,
    /// Writes the window to disk, if it is kept over restarts.
    pub checkpoint: Option<CheckpointWriter>,
}

impl Crank {
    /// Turns until `stop`, then drains: no new work, what is decided is committed.
    pub async fn turn(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(stop);
        let clock = self.shell.clock;
        let mut open: BTreeMap<u64, oneshot::Sender<Answer>> = BTreeMap::new();
        let mut next_ticket = 0;
        // Before anything can be decided.
        self.handle(Event::Switches(self.switched.clone()), &mut open);
        self.handle(targets(&self.shell), &mut open);
        loop {
            let due = self.checkpoint.as_ref().and_then(CheckpointWriter::due);
            let view = self.engine.next_view();
            let others = due.into_iter().chain(view);
            let wakeup = others.fold(self.engine.next_wakeup(), Duration::min);
            let event = tokio::select! {
                biased;
                () = &mut stop => break,
                Some(notice) = self.notices.recv() => heard(notice),
                Some(event) = self.inbox.recv() => event,
                Some(Question { event, answer }) = self.questions.recv() => {
                    next_ticket += 1;
                    open.insert(next_ticket, answer);
                    with_ticket(event, next_ticket)
                }
                Some(refreshed) = self.discovery.recv() => self.discovered(refreshed),
                Some(reloaded) = self.reloads.recv() => match reloaded {
                    Ok(parts) => self.take_parts(*parts, &mut open),
                    Err(error) => Event::ReloadFailed(error),
                },
                () = clock.sleep_until(wakeup) => Event::Tick,
                Some(written) = written(self.checkpoint.as_mut()) => {
                    if let Some(checkpoint) = &mut self.checkpoint {
                        checkpoint.go_on(&self.engine, written);
                    }
                    continue;
                }
            };
            self.handle(event, &mut open);
            if let Some(checkpoint) = &mut self.checkpoint {
                checkpoint.begin(&self.engine, clock.monotonic());
            }
        }
        let stopped = clock.monotonic();
        let last = self.engine.end(clock.now());
        self.write_down(last.records, last.changes, &last.facts);
        if let Some(checkpoint) = self.checkpoint {
            checkpoint.finish(&self.engine, CHECKPOINT_GRACE).await;
        }
        let left = GRACE.saturating_sub(clock.monotonic().saturating_sub(stopped));
        let written = self.journal.close(left).await;
        if let Some(recorder) = &self.shell.recorder {
            recorder.close(RECORDER_GRACE).await;
        }
        if let Some(audit) = self.audit {
            tell_unwritten(&audit.close(AUDIT_GRACE).await);
        }
        written?;
        Ok(())
    }

    fn handle(&mut self, event: Event, open: &mut BTreeMap<u64, oneshot::Sender<Answer>>) {
        let now = self.shell.clock.now();
        self.shell.note_docker(&event);
        let step = self.engine.handle(now, event);
        for request in step.requests {
            self.shell.start(request);
        }
        self.write_down(step.records, step.changes, &step.facts);
        for answer in step.answers {
            if let Some(reader) = open.remove(&answer.ticket) {
                reader.send(answer).ok();
            }
        }
        if let Some(inventory) = self.engine.take_inventory(now) {
            self.shell.collector.know(inventory);
        }
        if let Some(kills) = self.engine.take_kills() {
            self.shell.collector.know_kills(kills);
        }
        if let Some(view) = self.engine.take_view(now) {
            self.views.send_replace(view);
        }
    }

    fn write_down(
        &mut self,
        records: Vec<Record>,
        changes: Option<(Batch, Vec<Change>)>,
        facts: &[Fact],
    ) {
        if let Some(audit) = &self.audit {
            audit.submit(records);
        }
        if let Some((batch, changes)) = changes {
            self.journal.submit(batch, changes);
        }
        for fact in facts {
            (self.tell)(fact);
        }
    }

    fn discovered(&mut self, refreshed: Refreshed) -> Event {
        self.shell.unreadable_files += refreshed.failures;
        for problem in refreshed.problems {
            tracing::warn!(problem, "target file");
        }
        if let Some(found) = refreshed.targets {
            for problem in self.shell.scraper.discovered(found) {
                tracing::warn!(problem, "target");
            }
        }
        targets(&self.shell)
    }

    /// Takes a new configuration over, part by part; returns the event with the new targets.
    fn take_parts(
        &mut self,
        parts: super::setup::Parts,
        open: &mut BTreeMap<u64, oneshot::Sender<Answer>>,
    ) -> Event {
        for problem in self.shell.scraper.reload(parts.settings, parts.files) {
            tracing::warn!(problem, "target");
        }
        self.shell.unreadable_files += parts.unreadable_files;
        let since = self.engine.asks_docker_from(self.shell.clock.now());
        self.docker.follow(parts.docker, since, self.shell.inbox.clone());
        let running = self.shell.recorder.take();
        self.shell.recorder = recording::renew(running, parts.recorder, &self.shell.inbox);
        // A recorder that begins has to hear the series announced.
        self.shell.collector.configure(parts.collector.clone());
        self.shell.collects = parts.collector;
        self.shell.alertmanagers = parts.alertmanagers;
        self.shell.reads_holds = parts.reads_holds;
        self.shell.dress = parts.dress;
        self.secrets.send_replace(parts.webhook.as_ref().map(|webhook| webhook.secrets()));
        self.shell.webhook = parts.webhook;
        self.shell.prober = parts.prober;
        // Where no daemon is named any more the one before ends what it has begun.
        if parts.hand_at.is_some() {
            self.shell.executor = hand(parts.hand_at, self.executed.as_ref());
        }
        self.shell.executes = parts.executes;
        self.shell.mail = parts.mail;
        self.discovery = parts.discovery;
        self.documents.follow(parts.documents, &self.shell.inbox);
        let (files, switches) = parts.switches;
        self.switches.follow(files, switches.clone(), self.shell.inbox.clone());
        // The first event since the hands were changed: what it asks for is done by those it means.
        self.handle(Event::Reload { setup: Box::new(parts.setup), switches }, open);
        targets(&self.shell)
    }
}

/// Says what of the audit a stop left unwritten, if anything.
fn tell_unwritten(unwritten: &Unwritten) {
    let Unwritten { kinds, span, given_up, failing } = unwritten;
    if unwritten.records() == 0 {
        return;
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let (from, to) = span.map(|(from, to)| (format_rfc3339(from), format_rfc3339(to))).unzip();
    tracing::error!(
        records = unwritten.records(),
        given_up = *given_up,
        kinds = kinds.join(", "),
        from,
        to,
        error = failing.as_deref().unwrap_or("there was no time"),
        hint = "make room on the disk of `storage.path` before the next start: nobody writes these later",
        "the newest records of the audit are lost"
    );
}

/// What became of the part of a checkpoint that is being written, if there is a writer.
async fn written(checkpoint: Option<&mut CheckpointWriter>) -> Option<std::io::Result<()>> {
    Some(checkpoint?.written().await)
}

/// The local executor, where it can remember what it did; even without a daemon it knows what one was
/// asked for.
pub fn hand(daemon: Option<Daemon>, executed: Option<&PathBuf>) -> Option<Arc<Executor>> {
    executed.map(|dir| Arc::new(Executor::new(daemon, dir.clone())))
}

fn heard(notice: Notice) -> Event {
    match notice {
        Notice::Committed(receipt) => Event::Committed(receipt),
        Notice::Failed { error, .. } => Event::JournalFailing(error.to_string()),
    }
}

fn with_ticket(event: Event, ticket: u64) -> Event {
    match event {
        Event::Find { names, every, .. } => Event::Find { ticket, names, every },
        Event::Copy { wanted, max_samples, .. } => Event::Copy { ticket, wanted, max_samples },
        Event::List { wanted, max_series, .. } => Event::List { ticket, wanted, max_series },
        Event::Outbox { command, .. } => Event::Outbox { ticket, command },
        Event::Statement { id, statement, .. } => Event::Statement { ticket, id, statement },
        Event::StatementRefused { id, refusal, detail, .. } => {
            Event::StatementRefused { ticket, id, refusal, detail }
        }
        other => other,
    }
}

fn targets(shell: &Shell) -> Event {
    let active = shell.scraper.targets().map(|(id, target)| TargetInfo {
        id,
        labels: target.labels.clone(),
        discovered: target.discovered.clone(),
        url: target.shown_url(),
        interval: target.interval,
        timeout: target.timeout,
    });
    let active = active.chain(shell.collector_target()).collect();
    let flaws = Flaws {
        unusable_targets: shell.scraper.unusable(),
        unreadable_files: shell.unreadable_files,
    };
    Event::Targets { active, dropped: Vec::new(), flaws }
}
