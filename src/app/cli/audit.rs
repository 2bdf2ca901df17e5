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
use crate::audit::{HeadFault, Link, Record, Sought, kept};
use crate::base::{Timestamp, format_rfc3339, parse_duration};
use crate::ledger::{self, Lines};

/// Breaks that are told one by one.
const BREAKS_MAX: usize = 1000;

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
    let tenant = args.tenant.clone().map(kept);
    let is_wanted =
        |record: &Record| record.at >= since && (tenant.is_none() || record.tenant == tenant);
    let (mut shown, mut bad) = (0_u64, 0_u64);
    for line in ledger::since(&dir, since)? {
        match line?.found {
            Ok(link) if is_wanted(&link.record) => {
                let text = match out.format {
                    Format::Text => row(&link, out),
                    Format::Json => json_row(&link, shown == 0)?,
                };
                out.raw(text.as_bytes());
                shown += 1;
            }
            Ok(_) => {}
            Err(_) => bad += 1,
        }
    }
    if out.format == Format::Json {
        out.raw(if shown == 0 { b"[]\n" } else { b"\n]\n" });
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

/// A part of a list that is written as it is read: an audit need not fit into memory.
fn json_row(link: &Link, is_first: bool) -> anyhow::Result<String> {
    let row = serde_json::to_string(&Row::from(link))?;
    Ok(format!("{}\n  {row}", if is_first { "[" } else { "," }))
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
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    head_fault: Option<HeadFault>,
    /// The first of them.
    breaks: Vec<Broken>,
    /// How many more there are.
    breaks_left_out: u64,
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
    paths.sort();
    let mut lines = Lines::of(paths.clone());
    if paths.is_empty() {
        let dir = match folder(&args.file.config, environment, out) {
            Ok(dir) => dir,
            Err(code) => return Ok(code),
        };
        paths = ledger::list(&dir).with_context(|| dir.display().to_string())?;
        if paths.is_empty() {
            bail!("no audit in {}: plimsoll has not run with this configuration", dir.display());
        }
        lines = Lines::in_folder(&dir)?;
    }
    let verified =
        check(lines, paths.len(), args.head.map(|head| Sought::new(&head, args.sequence)))?;
    match out.format {
        Format::Json => out.json(&verified),
        Format::Text => tell(&verified, out),
    }
    Ok(if verified.is_whole() { exit::OK } else { exit::PROBLEMS })
}

fn check(mut lines: Lines, files: usize, mut sought: Option<Sought>) -> anyhow::Result<Verified> {
    let (mut breaks, mut breaks_left_out) = (Vec::new(), 0);
    while let Some(line) = lines.next().transpose()? {
        if let Some(sought) = &mut sought {
            sought.look(lines.check.chain.as_ref(), line.found.as_ref().ok());
        }
        if line.found.is_err() && breaks.len() >= BREAKS_MAX {
            breaks_left_out += 1;
        } else if let Err(broken) = line.found {
            let (file, why) = (line.path.display().to_string(), broken.to_string());
            breaks.push(Broken { file, line: line.number, why });
        }
    }
    let left_out = lines.left_out.map(|path| path.display().to_string());
    let (records, first) = (lines.check.records, lines.check.first);
    let (last, head) = lines.check.chain.map(|chain| (chain.sequence, chain.head)).unzip();
    let head_fault = sought.as_ref().and_then(|sought| sought.fault(first, last));
    let head_found = sought.map(|_| head_fault.is_none());
    Ok(Verified {
        files,
        records,
        first,
        last,
        head,
        head_found,
        head_fault,
        breaks,
        breaks_left_out,
        left_out,
    })
}

fn tell(verified: &Verified, out: &mut Out<'_>) {
    for Broken { file, line, why } in &verified.breaks {
        let bad = out.inked(Ink::Bad, "broken");
        out.raw(
            format!("{}: {bad}: {}\n", Out::plain(&format!("{file}:{line}")), Out::on_a_line(why))
                .as_bytes(),
        );
    }
    if verified.breaks_left_out > 0 {
        let more = verified.breaks_left_out;
        out.raw(format!("{}: at {more} lines more\n", out.inked(Ink::Bad, "broken")).as_bytes());
    }
    if let Some(file) = &verified.left_out {
        let note = out.inked(Ink::Note, "note");
        let why =
            "its last line has no line break and was left out: it is being written, or was added";
        out.raw(format!("{}: {note}: {why}\n", Out::plain(file)).as_bytes());
    }
    if let Some(fault) = verified.head_fault {
        let ink = if fault.is_innocent() { Ink::Note } else { Ink::Bad };
        out.raw(format!("{}: {fault}\n", out.inked(ink, fault.name())).as_bytes());
    }
    let is_innocent = verified.head_fault.is_some_and(HeadFault::is_innocent);
    let state = match verified.is_whole() {
        true => out.inked(Ink::Good, "whole"),
        false if is_innocent && verified.breaks.is_empty() => out.inked(Ink::Note, "not proven"),
        false => out.inked(Ink::Bad, "not whole"),
    };
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
    use crate::ledger::{LedgerConfig, Store};

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

    #[test]
    fn a_head_that_was_rotated_away_is_not_called_cut_off() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = LedgerConfig { dir: dir.path().to_owned(), file_bytes: 300, files: 2 };
        let mut store = Store::open(config).expect("opens").0;
        let heads: Vec<String> = (0..6)
            .map(|n| {
                let record = Record::new(Timestamp(n), Kind::SidecarStarted);
                store.append(&[record]).expect("written");
                store.chain().head.clone()
            })
            .collect();
        let said = |head: &str, sequence: Option<u64>| {
            let lines = Lines::in_folder(dir.path()).expect("listed");
            let verified = check(lines, 2, Some(Sought::new(head, sequence))).expect("read");
            let (mut data, mut talk) = (Vec::new(), Vec::new());
            let colours = (false, false);
            let mut out = Out { data: &mut data, talk: &mut talk, format: Format::Text, colours };
            tell(&verified, &mut out);
            (verified.is_whole(), String::from_utf8(data).expect("text"))
        };
        assert!(said(&heads[5], None).0 && said(&heads[3], Some(4)).0);
        for (head, sequence, words) in [
            (heads[0].clone(), Some(1), ["rotated away: ", "\nnot proven: 2 records (5 to 6)"]),
            (heads[0].clone(), None, ["not here: ", "\nnot proven: "]),
            ("f".repeat(64), Some(5), ["forged: record 5 has another hash", "\nnot whole: "]),
            (heads[5].clone() + "0", Some(7), ["cut off: ", "\nnot whole: "]),
        ] {
            let (is_whole, text) = said(&head, sequence);
            assert!(!is_whole && words.iter().all(|words| text.contains(words)), "{text}");
        }
    }

    #[test]
    fn many_breaks_are_counted() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("audit-00000000000000000001.jsonl");
        fs::write(&path, "no record\n".repeat(BREAKS_MAX + 5)).expect("written");
        let verified = check(Lines::of(vec![path]), 1, None).expect("read");
        assert_eq!((verified.breaks.len(), verified.breaks_left_out), (BREAKS_MAX, 5));
    }
}
