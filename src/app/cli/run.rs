//! `run`: the real thing, until a signal ends it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::super::api::Api;
use super::super::clock::Clock;
use super::super::config::{Config, Environment, hostname};
use super::super::live::{Start, wire};
use super::super::reload::Reloader;
use super::super::{process, serve, setup};
use super::args::{Format, LogLevel, RunArgs};
use super::out::Out;
use super::{exit, finish, runtime};
use crate::collector::CollectError;
use crate::http::{ApiError, ErrorKind};
use crate::journal::{self, StoreKind};
use crate::send::{Webhook, WebhookError};
use crate::yaml::Problems;
use crate::{http, telemetry};

/// From the stop signal to the end of the process, whatever hangs: docker and systemd send SIGKILL
/// after 10 s at the earliest.
const END_WITHIN: Duration = Duration::from_millis(9500);
/// As much as a main thread has: the stack that parsers' limits of nesting were chosen for.
const STACK_BYTES: usize = 8 << 20;

pub fn run(args: &RunArgs, environment: &Environment, out: &mut Out<'_>) -> u8 {
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return finish(Err(error), out),
    };
    let (config, problems) = Config::load_or_default(&args.file.config);
    let Some(config) = config else {
        out.say_problems(&problems);
        return refused(&problems, out);
    };
    if let Some((old, new)) = setup::left_behind(&config.storage, Path::new("")) {
        let whole = |path| std::path::absolute(&path).unwrap_or(path);
        out.fail(&anyhow!(
            "state is in `{}` and none in `{}`, where storage.path leads: a relative path starts from the \
             folder of the configuration file, no longer from the working directory. Move the folder, or write \
             the whole path",
            whole(old).display(),
            whole(new).display()
        ));
        return exit::BAD_CONFIG;
    }
    // A credential that is yet to come for whoever checks has to be there now.
    if let Some(Err(error)) = config.control_plane.as_ref().map(Webhook::new) {
        let awaits_file = matches!(error, WebhookError::File { .. });
        out.fail(&error.into());
        return if awaits_file { try_again(out) } else { exit::BAD_CONFIG };
    }
    start_log(args, environment.colour_err);
    if let Err(error) = process::raise_open_files() {
        tracing::warn!(%error, "the soft limit of open files stays as it is");
    }
    problems.iter().for_each(super::super::warn);
    let outcome = end_in_time(signals, args.file.config.clone(), config, environment.clone());
    finish(outcome.map(|()| exit::OK), out)
}

/// What a start ends with that its configuration does not allow. A file that cannot be read may be another's to write, a
/// moment later, so whoever started it should try again.
fn refused(problems: &Problems, out: &mut Out<'_>) -> u8 {
    if problems.await_files() { try_again(out) } else { exit::BAD_CONFIG }
}

fn try_again(out: &mut Out<'_>) -> u8 {
    let hint = "nothing but files that cannot be read: this ends a start that is tried again (exit code 1, not 78)";
    out.say(hint);
    exit::FAILED
}

fn start_log(args: &RunArgs, colour: bool) {
    let level = match args.log_level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
    };
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_target(false)
        // What cannot be written is lost: to say so on the same stream would panic.
        .log_internal_errors(false)
        .with_ansi(colour);
    match args.log_format {
        Format::Text => log.init(),
        Format::Json => log.json().flatten_event(true).init(),
    }
}

/// Signals, heard from the first moment on: by default a reload would end the process, and a stop not reach one that is the
/// first of its container. What comes while the configuration is read waits until that is done.
struct Signals {
    /// Of the main thread, which does nothing but listen.
    runtime: Runtime,
    stops: [Signal; 2],
    hangup: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Signals> {
        let runtime = runtime()?;
        let entered = runtime.enter();
        let stops = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let hangup = signal(SignalKind::hangup())?;
        drop(entered);
        Ok(Signals { runtime, stops, hangup })
    }
}

/// Works on a thread of its own, so that a disk that hangs cannot keep the process from ending.
fn end_in_time(
    signals: Signals,
    path: PathBuf,
    config: Config,
    environment: Environment,
) -> anyhow::Result<()> {
    let Signals { runtime: listener, stops: [mut term, mut int], hangup } = signals;
    let (stop, stopping) = oneshot::channel::<()>();
    let (tell, mut ended) = oneshot::channel();
    thread::Builder::new().name("plimsoll".to_owned()).stack_size(STACK_BYTES).spawn(
        move || {
            let worked = runtime().and_then(|runtime| {
                let stop = async move { drop(stopping.await) };
                let worked = runtime.block_on(live(path, config, &environment, (hangup, stop)));
                // What still blocks is left behind: everything that matters is committed.
                runtime.shutdown_background();
                worked
            });
            tell.send(worked).ok();
        },
    )?;
    listener.block_on(async {
        tokio::select! {
            worked = &mut ended => return worked.context("the program panicked")?,
            _ = term.recv() => {},
            _ = int.recv() => {},
        }
        stop.send(()).ok();
        let worked = tokio::time::timeout(END_WITHIN, ended).await;
        worked
            .context("something hangs; ended without waiting for it")?
            .context("the program panicked while it stopped")?
    })
}

async fn live(
    path: PathBuf,
    config: Config,
    environment: &Environment,
    (hangup, stop): (Signal, impl Future<Output = ()>),
) -> anyhow::Result<()> {
    let listener = serve::listen(&config.web).await?;
    let machine = hostname().unwrap_or_default();
    let host = config.policy.host.clone().unwrap_or_else(|| machine.clone());
    let dir = state_dir(&config, environment);
    let kind = config.storage.kind.unwrap_or(StoreKind::Redb);
    let opened = journal::open(kind, &dir.join("journal"))?;
    let clock = Clock::system();
    let (crank, handles) = wire(Start {
        config: config.clone(),
        host,
        clock,
        opened,
        checkpoint: Some(dir.join("window")),
        executed: Some(dir.join("executed")),
        audit: Some(setup::audit(&config.storage, &dir)),
        tell: Box::new(telemetry::record),
    })?;
    let reloader = Reloader::new(path, machine, &config, handles.reloads);
    tokio::spawn(reload_on_hangup(hangup, reloader.clone()));
    let started_at = clock.now().wall;
    let api = Api {
        clock,
        views: handles.views,
        questions: handles.questions,
        secrets: handles.secrets,
        audit: Some(dir.join("audit")),
        metrics: Box::new(move |view| telemetry::metrics_text(view, &process::look(started_at))),
        containers: Box::new(move |at| {
            let collector = handles.collector.clone();
            Box::pin(async move { collector.page(at).await.map_err(|error| no_page(&error)) })
        }),
        reload: Box::new(move || {
            let reloader = reloader.clone();
            Box::pin(async move { reloader.reload().await })
        }),
    };
    let options = http::Options { enable_lifecycle: config.web.enable_lifecycle };
    let rules: usize = config.groups.iter().map(|group| group.rules.len()).sum();
    let actions = config.policy.policy.mode.name();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), rules, actions, "plimsoll runs");
    serve::turn_and_serve(crank, listener, Arc::new(api), options, stop).await
}

/// What is late may come the next time; what is off or cannot be read does not.
fn no_page(error: &CollectError) -> ApiError {
    let kind = match error {
        CollectError::Busy | CollectError::BusyForPages | CollectError::TimedOut(_) => {
            ErrorKind::Timeout
        }
        CollectError::Root { .. } | CollectError::Unreadable { .. } | CollectError::Off => {
            ErrorKind::Unavailable
        }
    };
    ApiError::new(kind, error.to_string())
}

fn state_dir(config: &Config, environment: &Environment) -> PathBuf {
    let (dir, is_last_resort) =
        setup::state_dir(&config.storage, environment.state_directory.as_deref());
    if is_last_resort {
        let hint = "set storage.path, or let systemd make StateDirectory=plimsoll";
        tracing::warn!(dir = %dir.display(), hint, "state is kept in the working directory");
    }
    dir
}

/// The loop hears and tells how each reload ends.
async fn reload_on_hangup(mut hangup: Signal, reloader: Reloader) {
    while hangup.recv().await.is_some() {
        reloader.reload().await.ok();
    }
}
