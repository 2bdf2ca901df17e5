//! The command line: what was typed, what it means, what it answers with.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use super::api::Api;
use super::clock::Clock;
use super::config::Config;
use super::demo;
use super::live::{Start, wire};
use super::{serve, setup};
use crate::journal::{self, StoreKind};
use crate::{http, promql};

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
    match runtime.block_on(live(path, config)) {
        Ok(()) => OK,
        Err(error) => {
            eprintln!("{error:#}");
            FAILED
        }
    }
}

async fn live(path: &Path, config: Config) -> anyhow::Result<()> {
    let host = config.policy.host.clone().unwrap_or_default();
    let listener = serve::listen(&config.web).await?;
    let options = http::Options {
        enable_lifecycle: config.web.enable_lifecycle,
        promql: promql::ParseOptions::default(),
    };
    let (dir, _) = setup::state_dir(&config, None);
    let kind = config.storage.kind.unwrap_or(StoreKind::Redb);
    let opened = journal::open(kind, &dir.join("journal"))?;
    let clock = Clock::system();
    let default_step = config.global.evaluation_interval;
    let (crank, handles) = wire(Start {
        config: config.clone(),
        host,
        clock,
        opened,
        checkpoint: Some(dir.join("window")),
        tell: Box::new(|fact| tracing::info!(?fact)),
    })?;
    let api = Api {
        clock,
        views: handles.views,
        questions: handles.questions,
        default_step,
        metrics: Box::new(|_| String::new()),
        reload: serve::reloader(path.to_owned(), &config, handles.reloads),
    };
    serve::turn_and_serve(crank, listener, Arc::new(api), options, stop_signal()).await
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
