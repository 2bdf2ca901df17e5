//! `audit show|verify`: the audit's files, read beside a running plimsoll or without one.

use std::fs;
use std::io;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use serde::Serialize;

use super::super::clock::Clock;
use super::super::config::Environment;
use super::super::setup;
use super::args::{AuditCommand, AuditVerifyArgs, Format, PastArgs};
use super::out::{Ink, Out};
use super::{exit, finish, places};
use crate::audit::{Link, Record};
use crate::base::{Timestamp, format_rfc3339, parse_duration};
use crate::ledger::{self, Lines};

pub fn audit(command: AuditCommand, environment: &Environment, out: &mut Out<'_>) -> u8 {
    let outcome = match command {
        AuditCommand::Show(args) => show(&args, environment, out),
        AuditCommand::Verify(args) => verify(args, environment, out),
    };
    finish(outcome, out)
}

/// The folder of a configuration's audit; `Err` is the exit code.
pub fn folder(
    config: &std::path::Path,
    environment: &Environment,
    out: &mut Out<'_>,
) -> Result<PathBuf, u8> {
    let storage = places(config, out)?.storage;
    let (dir, _) = setup::state_dir(&storage, environment.state_directory.as_deref());
    let dir = setup::audit(&storage, &dir).dir;
    if fs::metadata(&dir).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
        let dir = dir.display();
        out.fail(&anyhow!("the audit in {dir} is closed to this user: run this as root"));
        return Err(exit::FAILED);
    }
    Ok(dir)
}

/// A time so long ago, from now.
pub fn time_ago(text: &str) -> anyhow::Result<Timestamp> {
    let back = parse_duration(text).map_err(|why| anyhow::anyhow!("--since: {why}"))?;
    Ok(Clock::system().now().wall - back)
}

fn show(args: &PastArgs, environment: &Environment, out: &mut Out<'_>) -> anyhow::Result<u8> {
    let since = time_ago(&args.since)?;
    let dir = match folder(&args.file.config, environment, out) {
        Ok(dir) => dir,
        Err(code) => return Ok(code),
    };
    let is_wanted = |record: &Record| {
        let of_tenant = |tenant: &String| record.tenant.as_ref() == Some(tenant);
        record.at >= since && args.tenant.as_ref().is_none_or(of_tenant)
    };
    let (mut shown, mut bad) = (Vec::new(), 0_u64);
    for line in ledger::since(&dir, since)? {
        match line?.found {
            Ok(link) if is_wanted(&link.record) && out.format == Format::Text => {
                let text = row(&link, out);
                out.raw(text.as_bytes());
            }
            Ok(link) if is_wanted(&link.record) => shown.push(link),
            Ok(_) => {}
            Err(_) => bad += 1,
        }
    }
    if out.format == Format::Json {
        out.json(&shown.iter().map(Row::from).collect::<Vec<_>>());
    }
    if bad > 0 {
        out.say(&format!("the chain is broken at {bad} lines; `plimsoll audit verify` says where"));
        return Ok(exit::PROBLEMS);
    }
    Ok(exit::OK)
}

/// A record with its number, as JSON.
#[derive(Serialize)]
struct Row<'a> {
    n: u64,
    #[serde(flatten)]
    record: &'a Record,
    hash: &'a str,
}

impl<'a> From<&'a Link> for Row<'a> {
    fn from(link: &'a Link) -> Row<'a> {
        Row { n: link.n, record: &link.record, hash: &link.hash }
    }
}

fn row(link: &Link, out: &Out<'_>) -> String {
    let record = &link.record;
    let at = format_rfc3339(record.at);
    let tenant = record.tenant.as_deref().unwrap_or("-");
    let kind = out.inked(Ink::Note, &format!("{:<22}", record.kind.name()));
    let head = Out::plain(&format!("{at} {:>7} ", link.n));
    let tail = Out::on_a_line(&format!(" {tenant:<16} {}", record.sentence()));
    format!("{head}{kind}{tail}\n")
}

/// What `audit verify` found.
#[derive(Serialize)]
struct Verified {
    files: usize,
    records: u64,
    first: Option<u64>,
    last: Option<u64>,
    head: Option<String>,
    /// Whether the head that was asked for is there, if one was.
    head_found: Option<bool>,
    breaks: Vec<Broken>,
    /// The file whose last line has no line break, and was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<String>,
}

impl Verified {
    /// Whoever runs plimsoll has a record of its first start at least.
    fn is_whole(&self) -> bool {
        self.records > 0 && self.breaks.is_empty() && self.head_found != Some(false)
    }
}

#[derive(Serialize)]
struct Broken {
    file: String,
    line: u64,
    why: String,
}

fn verify(
    args: AuditVerifyArgs,
    environment: &Environment,
    out: &mut Out<'_>,
) -> anyhow::Result<u8> {
    let mut paths = args.files;
    if paths.is_empty() {
        let dir = match folder(&args.file.config, environment, out) {
            Ok(dir) => dir,
            Err(code) => return Ok(code),
        };
        paths = ledger::list(&dir).with_context(|| dir.display().to_string())?;
        if paths.is_empty() {
            bail!("no audit in {}: plimsoll has not run with this configuration", dir.display());
        }
    }
    paths.sort();
    let files = paths.len();
    let mut lines = Lines::of(paths);
    let (mut breaks, mut found) = (Vec::new(), false);
    for line in lines.by_ref() {
        let line = line?;
        match line.found {
            Ok(link) => found |= args.head.as_ref() == Some(&link.hash),
            Err(broken) => breaks.push(Broken {
                file: line.path.display().to_string(),
                line: line.number,
                why: broken.to_string(),
            }),
        }
    }
    let left_out = lines.left_out.map(|path| path.display().to_string());
    let check = lines.check;
    let (last, head) = check.chain.map(|chain| (chain.sequence, chain.head)).unzip();
    found |= head.is_some() && args.head == head;
    let head_found = args.head.as_ref().map(|_| found);
    let (records, first) = (check.records, check.first);
    let verified = Verified { files, records, first, last, head, head_found, breaks, left_out };
    match out.format {
        Format::Json => out.json(&verified),
        Format::Text => tell(&verified, out),
    }
    Ok(if verified.is_whole() { exit::OK } else { exit::PROBLEMS })
}

fn tell(verified: &Verified, out: &mut Out<'_>) {
    for Broken { file, line, why } in &verified.breaks {
        let bad = out.inked(Ink::Bad, "broken");
        out.raw(format!("{}: {bad}: {}\n", Out::plain(&format!("{file}:{line}")), why).as_bytes());
    }
    if let Some(file) = &verified.left_out {
        let note = out.inked(Ink::Note, "note");
        let why =
            "its last line has no line break and was left out: it is being written, or was added";
        out.raw(format!("{}: {note}: {why}\n", Out::plain(file)).as_bytes());
    }
    if verified.head_found == Some(false) {
        let bad = out.inked(Ink::Bad, "cut off");
        let last = verified.last.unwrap_or_default();
        let text = "no record has the head that was given; records were removed from the end";
        out.raw(format!("{bad}: {text} (the last one here is {last})\n").as_bytes());
    }
    let word = |good: bool| if good { Ink::Good } else { Ink::Bad };
    let whole = verified.is_whole();
    let state = out.inked(word(whole), if whole { "whole" } else { "not whole" });
    let Verified { files, records, .. } = verified;
    let (first, last) = (verified.first.unwrap_or_default(), verified.last.unwrap_or_default());
    let head = verified.head.as_deref().unwrap_or("none");
    let text = format!("{records} records ({first} to {last}) in {files} files, head {head}");
    out.raw(format!("{state}: {text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Kind;
    use crate::base::Timestamp;

    #[test]
    fn a_tenant_s_name_forges_no_row() {
        let (mut data, mut talk) = (Vec::new(), Vec::new());
        let out =
            Out { data: &mut data, talk: &mut talk, format: Format::Text, colours: (false, false) };
        let tenant = Some("acme\n2026-01-01T00:00:00Z 8 action.decided".to_owned());
        let record = Record { tenant, ..Record::new(Timestamp(0), Kind::ActionDecided) };
        let link = Link { n: 7, record, prev: String::new(), hash: String::new() };
        assert_eq!(row(&link, &out).lines().count(), 1);
    }
}
