//! The command line: what was typed, what it means, what it answers with.
//!
//! Each command is a function from its arguments to an exit code. Data goes to stdout, talk to
//! stderr; nothing is asked.

mod args;
mod ask;
mod audit;
mod case;
mod check;
mod explain;
mod exposed;
mod fixedcount;
mod frame;
mod health;
mod out;
mod outbox;
mod plans;
mod query;
mod replay;
mod run;
mod send_test;
mod signed;
mod story;
mod test_rules;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use serde::Serialize;

pub use self::args::Format;
use self::args::{Args, CaseCommand, Check, Command, Test};
use self::out::Out;
use super::config::{Config, Environment, Places};
use super::demo;

/// What a command ends with.
mod exit {
    /// All is well; stopped cleanly.
    pub const OK: u8 = 0;
    /// Failed while running.
    pub const FAILED: u8 = 1;
    /// A check found problems.
    pub const PROBLEMS: u8 = 2;
    /// The command line makes no sense (sysexits `EX_USAGE`).
    pub const USAGE: u8 = 64;
    /// Bad configuration (sysexits `EX_CONFIG`).
    pub const BAD_CONFIG: u8 = 78;
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let environment = Environment::read();
    let mut out = Out {
        data: &mut io::stdout(),
        talk: &mut io::stderr(),
        format: Format::Text,
        colours: (environment.colour_out, environment.colour_err),
    };
    ExitCode::from(execute(std::env::args_os(), &environment, &mut out))
}

/// Runs one command line.
fn execute(
    words: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    out: &mut Out<'_>,
) -> u8 {
    let args = match Args::try_parse_from(signed::queries_behind_dashes(words)) {
        Ok(args) => args,
        Err(answer) if answer.use_stderr() => {
            let text = answer.render();
            let text = if out.colours.1 { text.ansi().to_string() } else { text.to_string() };
            let _ = out.talk.write_all(text.as_bytes());
            return exit::USAGE;
        }
        // Help or the version was asked for: that is data.
        Err(answer) => {
            let text = answer.render();
            let text = if out.colours.0 { text.ansi().to_string() } else { text.to_string() };
            out.raw(text.as_bytes());
            return exit::OK;
        }
    };
    out.format = args.format;
    match args.command {
        Command::Run(args) => run::run(&args, environment, out),
        Command::Demo(options) => demo::main(&options, out.format, out.colours.0),
        Command::Check(Check::Config(args)) => check::config(&args, out),
        Command::Check(Check::Rules(args)) => check::rules(&args, out),
        Command::Test(Test::Rules(args)) => test_rules::test_rules(&args, out),
        Command::Healthcheck(args) => health::healthcheck(&args, out),
        Command::Outbox(command) => outbox::outbox(&command, environment, out),
        Command::Story(args) => story::story(&args, environment, out),
        Command::Audit(command) => audit::audit(command, environment, out),
        Command::SendTest(args) => send_test::send_test(&args, out),
        Command::Query(args) => query::query(&args, out),
        Command::Replay(args) => replay::replay_command(&args, out),
        Command::Plans(args) => plans::plans(&args, out),
        Command::Case(CaseCommand::Export(args)) => case::export(&args, environment, out),
        Command::FixedCount(args) => fixedcount::fixedcount(&args, out),
        Command::Explain(args) => explain::explain(&args, out),
        Command::Version => version(out),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "plimsoll", &mut script);
            out.raw(&script);
            exit::OK
        }
    }
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
    stores: &'static [&'static str],
}

fn version(out: &mut Out<'_>) -> u8 {
    let stores: &[&str] = if cfg!(feature = "sled") { &["redb", "sled"] } else { &["redb"] };
    let version = Version { version: env!("CARGO_PKG_VERSION"), stores };
    match out.format {
        Format::Json => out.json(&version),
        Format::Text => out.line(&format!("plimsoll {}", version.version)),
    }
    exit::OK
}

/// The configuration a command needs; says all that is wrong with it. `Err` is the exit code.
fn load(path: &Path, out: &mut Out<'_>) -> Result<Config, u8> {
    let (config, problems) = Config::load_or_default(path);
    config.ok_or_else(|| {
        out.say_problems(&problems);
        exit::BAD_CONFIG
    })
}

/// Where the plimsoll of a configuration file is, whatever else stands in it. `Err` is the exit code.
fn places(path: &Path, out: &mut Out<'_>) -> Result<Places, u8> {
    Config::places_of(path).map_err(|problems| {
        out.say_problems(&problems);
        exit::BAD_CONFIG
    })
}

/// The runtime of a command: everything on one thread, beside what blocks.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    use anyhow::Context;
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.context("the runtime did not start")
}

/// The exit code of a command that may fail; says why.
fn finish(outcome: anyhow::Result<u8>, out: &mut Out<'_>) -> u8 {
    outcome.unwrap_or_else(|error| {
        out.fail(&error);
        exit::FAILED
    })
}
