//! The command line: what was typed, what it means, what it answers with.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::clock::Clock;
use super::config::Config;
use super::demo;
use super::live::{Start, wire};
use super::setup;
use crate::journal::{self, StoreKind};

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
    /// Watch it work: a simulated host, everything else real, time sped up.
    Demo(demo::Options),
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let code = match args.command {
        Command::Run { config } => run(&config),
        Command::Demo(options) => demo::main(&options),
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
    let host = config.policy.host.clone().unwrap_or_default();
    let (dir, _) = setup::state_dir(&config, None);
    let kind = config.storage.kind.unwrap_or(StoreKind::Redb);
    let opened = journal::open(kind, &dir.join("journal"))?;
    let (crank, _handles) = wire(Start {
        config,
        host,
        clock: Clock::system(),
        opened,
        checkpoint: Some(dir.join("window")),
        tell: Box::new(|fact| tracing::info!(?fact)),
    })?;
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
