//! The command line: what was typed, what it means, what it answers with.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::sync::{mpsc, watch};

use super::clock::Clock;
use super::config::Config;
use super::run::{Crank, INBOX};
use super::setup::{self, Parts};
use super::shell::Shell;
use crate::base::{Change, Now};
use crate::engine::{Engine, View};
use crate::journal::{self, Journal, Pace, StoreKind};
use crate::scrape::Scraper;

/// Stopped cleanly.
const OK: u8 = 0;
/// Failed while running.
const FAILED: u8 = 1;
/// Bad configuration (sysexits `EX_CONFIG`).
const BAD_CONFIG: u8 = 78;

/// The load line for a Docker host that carries paying tenants.
#[derive(Parser, Debug)]
#[command(name = "plimsoll", version, about, propagate_version = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run: scrape, judge, alert, act.
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = "plimsoll.yaml")]
        config: PathBuf,
    },
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let code = match args.command {
        Command::Run { config } => run(&config),
    };
    ExitCode::from(code)
}

fn run(path: &Path) -> u8 {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let (config, problems) = Config::load(path);
    for problem in problems.iter() {
        eprintln!("{problem}");
    }
    let Some(config) = config else { return BAD_CONFIG };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime did not start: {error}");
            return FAILED;
        }
    };
    match runtime.block_on(live(config)) {
        Ok(()) => OK,
        Err(error) => {
            eprintln!("{error:#}");
            FAILED
        }
    }
}

async fn live(config: Config) -> anyhow::Result<()> {
    let clock = Clock::system();
    let host = config.policy.host.clone().unwrap_or_default();
    let Parts { setup, settings, files, discovery, alertmanagers, dress, webhook } =
        setup::build(&config, &host)?;
    let (dir, _) = setup::state_dir(&config, None);
    let opened =
        journal::open(config.storage.kind.unwrap_or(StoreKind::Redb), &dir.join("journal"))?;
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
    let now: Now = clock.now();
    let mut engine = Engine::new(setup, &rows, now, Box::new(move || clock.monotonic()));
    let checkpoint = dir.join("window");
    if let Ok(bytes) = std::fs::read(&checkpoint)
        && let Err(error) = engine.restore_window(&bytes, now)
    {
        tracing::warn!(%error, "window checkpoint not used");
    }
    let (_questions, question_rx) = mpsc::channel(64);
    let (_reloads, reload_rx) = mpsc::channel(1);
    let (views, _view) = watch::channel(View::default());
    let crank = Crank {
        engine,
        shell: Shell { clock, scraper, alertmanagers, dress, webhook, inbox },
        journal,
        inbox: events,
        notices,
        discovery,
        questions: question_rx,
        reloads: reload_rx,
        views,
        tell: Box::new(|fact| tracing::info!(?fact)),
        checkpoint: Some(checkpoint),
    };
    crank.turn(stop_signal()).await
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
}
