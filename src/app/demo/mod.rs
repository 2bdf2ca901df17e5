//! `plimsoll demo`: the real program, watched at work on a simulated Docker host.
//!
//! Nothing of plimsoll is faked: the configuration is read as any other, the wiring is that of
//! `run`, every scrape, post and webhook is HTTP over loopback. Only the clock is fast, the journal
//! is in memory, and the four peers are puppets ([`fakes`]) of a small simulation ([`world`]). What
//! must happen is written down ([`story`]) and checked: the exit code says whether it did.

mod fakes;
mod footprint;
mod story;
mod teller;
mod world;

use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use tokio::sync::mpsc;

use self::fakes::{Addresses, Stage};
use self::story::{Happening, Story};
use self::teller::{Style, Teller};
use super::cli::Format;
use super::clock::Clock;
use super::config::Config;
use super::live::{Start, wire};
use crate::journal::{MemoryStore, Opened};
use crate::send::Secrets;
use crate::yaml::Problems;

/// The configuration, as a reader may copy it.
const CONFIG: &str = include_str!("plimsoll.yaml");
/// Every act of the story was played.
const OK: u8 = 0;
/// One was not, or the demo could not run.
const FAILED: u8 = 1;

/// How to watch.
#[derive(Args, Debug)]
pub struct Options {
    /// How many times faster than life, 1 to 200. The story takes 26 minutes of the host's life.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=200))]
    speed: u32,
}

/// Plays the story, as lines for people or as one JSON object per line; returns the exit code.
pub fn main(options: &Options, format: Format, colour: bool) -> u8 {
    let style = match format {
        Format::Json => Style::Json,
        Format::Text if colour => Style::Coloured,
        Format::Text => Style::Plain,
    };
    match play(options, style) {
        Ok(true) => OK,
        Ok(false) => FAILED,
        Err(error) => {
            writeln!(io::stderr(), "demo: {error:#}").ok();
            FAILED
        }
    }
}

fn play(options: &Options, style: Style) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(perform(options, style))
}

async fn perform(options: &Options, style: Style) -> anyhow::Result<bool> {
    let clock = Clock::fast(options.speed);
    let (tell, mut heard) = mpsc::unbounded_channel();
    let (see, mut seen) = mpsc::unbounded_channel();
    let secret = SecretFile::make()?;
    let addresses = Stage::new(clock, see)
        .open(secret.secrets.clone())
        .await
        .context("cannot listen on 127.0.0.1")?;
    let config = config(&addresses, &secret.path)?;
    let host = config.policy.host.clone().unwrap_or_default();
    let (crank, handles) = wire(Start {
        config,
        host,
        clock,
        opened: Opened { store: Box::new(MemoryStore::default()), rows: Vec::new() },
        checkpoint: None,
        executed: None,
        audit: None,
        tell: Box::new(move |fact| {
            tell.send((clock.now().wall, fact.clone())).ok();
        }),
    })?;
    // It has been read.
    drop(secret);
    let teller = Teller::new(io::stdout(), style, clock.now().wall);
    let mut story = Story::new(teller, clock.now().wall);
    story.open(options.speed);
    let deadline = clock.monotonic() + story::LONGEST;
    let told = async {
        while !story.is_over(handles.views.borrow().outbox.waiting) {
            let (at, happening) = tokio::select! {
                biased;
                Some((at, fact)) = heard.recv() => (at, Happening::Fact(fact)),
                Some((at, seen)) = seen.recv() => (at, Happening::Seen(seen)),
                () = clock.sleep_until(deadline) => break,
            };
            story.take(at, happening);
        }
    };
    crank.turn(told).await?;
    let took = clock.monotonic() / options.speed;
    let view = handles.views.borrow().clone();
    Ok(story.close(clock.now().wall, took, &view))
}

/// The demo's configuration, with the addresses of this run.
fn config(addresses: &Addresses, secret_file: &Path) -> anyhow::Result<Config> {
    let text = CONFIG
        .replace("CADVISOR", &addresses.cadvisor.to_string())
        .replace("M2'", &format!("{}'", addresses.m2))
        .replace("ALERTMANAGER", &addresses.alertmanager.to_string())
        .replace("CONTROL_PLANE", &addresses.control_plane.to_string())
        .replace("SECRET_FILE", &secret_file.display().to_string());
    let mut problems = Problems::default();
    let config = Config::read("plimsoll.yaml", &text, Path::new(""), &mut problems);
    match config {
        Some(config) if !problems.has_errors() => Ok(config),
        _ => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            bail!("its configuration is wrong:\n{}", problems.join("\n"))
        }
    }
}

/// A fresh signing key in a file of this user's own, gone when dropped: secrets are read from
/// files, in a demo too.
struct SecretFile {
    path: PathBuf,
    secrets: Secrets,
}

impl SecretFile {
    fn make() -> anyhow::Result<SecretFile> {
        let key: Vec<u8> = (0..4).flat_map(|_| random().to_le_bytes()).collect();
        let line = format!("whsec_{}", STANDARD.encode(key));
        let name = format!("plimsoll-demo-{:016x}", random());
        let path = std::env::temp_dir().join(name);
        let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        open.and_then(|mut file| file.write_all(line.as_bytes()))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        let secrets = Secrets::parse(&line)?;
        Ok(SecretFile { path, secrets })
    }
}

/// What the standard library seeds its hash maps with, hashed: good enough for a key that lives for
/// a minute between two ends of one process.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}
