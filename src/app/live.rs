//! A running plimsoll, from its parts to its end: wired once, for `run` and for `demo` alike.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::clock::Clock;
use super::config::Config;
use super::docker::DockerWatch;
use super::reload::Reloaded;
use super::run::{Crank, INBOX, Question};
use super::setup::{self, Parts};
use super::shell::Shell;
use super::switches::SwitchWatch;
use crate::base::Change;
use crate::collector;
use crate::engine::{Engine, Fact, View};
use crate::journal::{Journal, Opened, Pace};
use crate::scrape::Scraper;

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
    /// Who is told what happened.
    pub tell: Box<dyn FnMut(&Fact)>,
}

/// How the rest of the program reaches a running one.
pub struct Handles {
    /// What readers see.
    pub views: watch::Receiver<View>,
    /// What readers ask.
    pub questions: mpsc::Sender<Question>,
    /// New configurations, checked and built, or why there is none.
    pub reloads: mpsc::Sender<Reloaded>,
    /// Our own eyes, for those who want to see through them.
    pub collector: collector::Handle,
}

/// Wires everything; nothing happens before [`Crank::turn`]. Must run inside the runtime.
pub fn wire(start: Start) -> anyhow::Result<(Crank, Handles)> {
    let Start { config, host, clock, opened, checkpoint, tell } = start;
    let parts = setup::build(&config, &host)?;
    let Parts { setup, settings, collector, files, discovery, docker, switches, .. } = parts;
    let Parts { alertmanagers, reads_holds, dress, webhook, .. } = parts;
    let rows: Vec<Change> = opened
        .rows
        .into_iter()
        .flat_map(|(table, rows)| {
            rows.into_iter().map(move |(key, value)| Change { table, key, value: Some(value) })
        })
        .collect();
    let (notify, notices) = mpsc::unbounded_channel();
    let journal = Journal::start(opened.store, Pace::default(), move |notice| {
        notify.send(notice).ok();
    })?;
    let (inbox, events) = mpsc::channel(INBOX);
    let (scraper, problems) = Scraper::new(settings, files);
    for problem in problems {
        tracing::warn!(problem, "target");
    }
    let eyes = collector::Handle::start(collector.clone())?;
    if docker.is_some() {
        // Nobody yet, but they are asked for: containers are not to appear under their ids first.
        eyes.know(Arc::default());
    }
    let now = clock.now();
    let mut engine = Engine::new(setup, &rows, now, Box::new(move || clock.monotonic()));
    if let Some(bytes) = checkpoint.as_ref().and_then(|path| std::fs::read(path).ok())
        && let Err(error) = engine.restore_window(&bytes, now)
    {
        tracing::warn!(%error, "window checkpoint not used");
    }
    let mut watch = DockerWatch::default();
    watch.follow(docker, engine.docker_heard_until(), inbox.clone());
    let mut switch_watch = SwitchWatch::default();
    let switched = switch_watch.follow(switches, inbox.clone());
    let (questions, asked) = mpsc::channel(64);
    let (reloads, reloaded) = mpsc::channel(1);
    let (shown, views) = watch::channel(View::default());
    let crank = Crank {
        engine,
        shell: Shell {
            clock,
            scraper,
            collector: eyes.clone(),
            collects: collector,
            alertmanagers,
            reads_holds,
            dress,
            webhook,
            inbox,
        },
        docker: watch,
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
        checkpoint,
    };
    Ok((crank, Handles { views, questions, reloads, collector: eyes }))
}
