//! The documents against the program: keys, events, modules and links named in prose exist, and none is left out.
//!
//! A reference that is nearly right costs more than none. Each check compares two sets of words, one read from a
//! document and one from the code, so that it fails in both directions.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use plimsoll::app::config::Config;
use plimsoll::audit::Kind;
use plimsoll::outbox::EventType;
use plimsoll::policy::HoldReason;
use plimsoll::yaml::Problems;

/// Where configuration is read, key by key.
const READERS: [&str; 14] = [
    "src/app/config/mod.rs",
    "src/app/config/actions.rs",
    "src/app/config/calendar.rs",
    "src/app/config/gates.rs",
    "src/app/config/mail.rs",
    "src/app/config/owners.rs",
    "src/app/config/places.rs",
    "src/app/config/policy.rs",
    "src/app/config/sections.rs",
    "src/collector/config.rs",
    "src/docker/config.rs",
    "src/endpoint/read.rs",
    "src/scrape/config.rs",
    "src/send/alertmanager.rs",
];

/// What stands before a key in those files: calls of `Fields`, and the tables and helpers around them.
const BEFORE_A_KEY: [&str; 7] =
    [".optional(", ".required(", ".or(", ".list(", "(text(", ", text(", "secret(&mut fields,"];

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The string literal that `tail` begins with.
fn literal(tail: &str) -> Option<&str> {
    tail.trim_start().strip_prefix('"')?.split('"').next()
}

/// Keys a reader asks for.
fn keys_read(code: &str) -> BTreeSet<String> {
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut keys = BTreeSet::new();
    for before in BEFORE_A_KEY {
        for (at, _) in code.match_indices(before) {
            let tail = &code[at + before.len()..];
            keys.extend(literal(tail).map(str::to_owned));
            if before.starts_with("secret") {
                let second = tail.split(',').nth(1).and_then(literal);
                keys.extend(second.map(str::to_owned));
            }
        }
    }
    let actions = code.match_indices("\", ActionKind::");
    keys.extend(actions.filter_map(|(at, _)| code[..at].rsplit('"').next().map(str::to_owned)));
    keys
}

/// First cells of a document's tables, without their backquotes.
fn first_cells(document: &str) -> BTreeSet<String> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next().map(str::to_owned)).collect()
}

fn assert_same(documented: &BTreeSet<String>, known: &BTreeSet<String>, what: &str) {
    let unknown: Vec<_> = documented.difference(known).collect();
    let missing: Vec<_> = known.difference(documented).collect();
    assert!(
        unknown.is_empty() && missing.is_empty(),
        "{what}: documented but not in the code: {unknown:?}; in the code but not documented: {missing:?}"
    );
}

#[test]
fn every_configuration_key_is_documented_and_every_documented_one_is_read() {
    let read: BTreeSet<String> = READERS.iter().flat_map(|path| keys_read(&text(path))).collect();
    assert!(read.len() > 80, "the reader of keys sees only {read:?}");
    assert_same(&first_cells(&text("docs/configuration.md")), &read, "docs/configuration.md");
}

#[test]
fn no_other_file_reads_configuration() {
    let folders = [
        "src/app/config",
        "src/collector",
        "src/endpoint",
        "src/scrape",
        "src/send",
        "src/mail",
        "src/relabel",
        "src/policy",
    ];
    let paths = folders.iter().flat_map(|folder| files(folder));
    let readers = paths.filter(|path| text(path).contains("Fields::open("));
    let strangers: Vec<_> = readers.filter(|path| !READERS.contains(&path.as_str())).collect();
    assert!(strangers.is_empty(), "add to READERS: {strangers:?}");
}

/// YAML on a page, block by block.
fn yaml_blocks(document: &str) -> Vec<&str> {
    let blocks = document.split("```yaml\n").skip(1);
    blocks.filter_map(|block| block.split("```").next()).collect()
}

#[test]
fn yaml_in_documents_reads_without_a_problem() {
    for path in ["docs/configuration.md", "README.md"] {
        let document = text(path);
        let blocks = yaml_blocks(&document);
        assert!(!blocks.is_empty(), "{path} shows no configuration");
        for block in blocks {
            let mut problems = Problems::default();
            let config = Config::read(path, block, Path::new(""), &mut problems);
            // The secret's file is on the reader's machine, not on this one.
            let found = problems.iter().map(ToString::to_string);
            let found: Vec<String> =
                found.filter(|p| !p.contains("webhooks cannot be sent like this")).collect();
            assert!(found.is_empty(), "{path}:\n{found:?}\n{block}");
            assert!(config.is_some(), "{path}:\n{block}");
        }
    }
}

/// Names of metrics in string literals of a file, its tests left out.
fn metrics_written(path: &str) -> BTreeSet<String> {
    let code = text(path);
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let prefixes = ["plimsoll_", "prometheus_", "process_"];
    let literals = code.split('"').skip(1).step_by(2);
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let names =
        literals.filter(is_name).filter(|word| prefixes.iter().any(|p| word.starts_with(p)));
    names.map(str::to_owned).collect()
}

#[test]
fn every_metric_is_documented() {
    let document = text("docs/metrics.md");
    let (page, series) = document.split_once("## Series for rules").expect("two sections");
    let mut written = metrics_written("src/telemetry/metrics.rs");
    written.extend(metrics_written("src/engine/quality.rs"));
    written.extend(metrics_written("src/http/room.rs"));
    assert!(written.len() > 40, "{written:?}");
    assert_same(&first_cells(page), &written, "docs/metrics.md");
    let code =
        ["src/engine/level.rs", "src/policy/m2.rs", "src/policy/plan.rs", "src/policy/config.rs"];
    let code = code.into_iter().chain(["src/app/setup.rs", "src/engine/containers.rs"]);
    let code = code.chain(["src/engine/quality.rs", "src/policy/calendar.rs"]);
    let code =
        code.chain(["src/policy/register.rs", "src/engine/owners.rs", "src/engine/gates.rs"]);
    let code = code.chain(["src/engine/pinned.rs"]);
    let joined: BTreeSet<String> = code.flat_map(metrics_written).collect();
    assert_same(&first_cells(series), &joined, "docs/metrics.md, series for rules");
}

/// Names of plimsoll's own series in a rule file or a dashboard, comments left out.
fn series_read(path: &str) -> BTreeSet<String> {
    let text = text(path);
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    let is_own = |word: &&str| word.starts_with("plimsoll_") || word.starts_with("prometheus_");
    words.filter(is_own).map(str::to_owned).collect()
}

/// A rule over a series that nobody writes looks as healthy as one that has nothing to say.
#[test]
fn what_shipped_rules_and_panels_read_of_plimsoll_is_written() {
    let document = text("docs/metrics.md");
    let (_, series) = document.split_once("## Series for rules").expect("two sections");
    let mut written = first_cells(series);
    let collector = metrics_in("src/collector/columns.rs", "gauge ");
    written.extend(collector.into_iter().chain(metrics_in("src/collector/columns.rs", "counter ")));
    written.extend(metrics_written("src/collector/collect.rs"));
    let shipped = files("rules").into_iter().chain(files("grafana/dashboards"));
    let read: BTreeSet<String> = shipped.flat_map(|path| series_read(&path)).collect();
    assert!(read.len() > 20, "{read:?}");
    let unknown: Vec<_> = read.difference(&written).collect();
    assert!(unknown.is_empty(), "nothing writes {unknown:?}");
}

/// What stands behind a word of the collector's table of columns.
fn metrics_in(path: &str, word: &str) -> BTreeSet<String> {
    let code = text(path);
    let tails = code.lines().filter_map(|line| line.trim_start().strip_prefix(word));
    tails.filter_map(|tail| tail.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn every_event_is_documented() {
    let known = EventType::ALL.iter().map(|event_type| event_type.name().to_owned()).collect();
    let document = text("docs/webhooks.md");
    let table = document.split("## Events").nth(1).expect("a section on events");
    let table = table.split("\n## ").next().expect("its text");
    assert_same(&first_cells(table), &known, "docs/webhooks.md");
}

#[test]
fn every_setting_that_shipped_rules_advise_is_documented() {
    let document = text("docs/webhooks.md");
    let (_, table) = document.split_once("### Settings in advice").expect("a section on settings");
    let documented = first_cells(table.split("\n## ").next().expect("its text"));
    let rules = files("rules").iter().map(|path| text(path)).collect::<String>();
    let advised = rules.lines().filter_map(|line| line.trim().strip_prefix("variable: "));
    // What a template stands for there is the name of a plan.
    let plain = advised.map(|word| match (word.split_once("{{"), word.rsplit_once("}}")) {
        (Some((before, _)), Some((_, after))) => format!("{before}<plan>{after}"),
        _ => word.to_owned(),
    });
    let advised: BTreeSet<String> = plain.collect();
    assert!(advised.len() > 8, "{advised:?}");
    let unknown: Vec<_> = advised.difference(&documented).collect();
    assert!(unknown.is_empty(), "docs/webhooks.md does not list {unknown:?}");
}

#[test]
fn every_hold_is_documented_with_what_lifts_it() {
    let document = text("docs/judgement.md");
    let table = document.split("## Holds").nth(1).expect("a section on holds");
    let rows = table.split("\n## ").next().expect("its text").lines();
    let cells = rows.filter_map(|row| row.strip_prefix("| `")?.strip_suffix(" |"));
    let documented: Vec<(&str, &str)> = cells
        .map(|row| row.split_once("` |").expect("a name in backquotes"))
        .map(|(name, rest)| (name, rest.rsplit(" | ").next().expect("a last cell")))
        .collect();
    let known: Vec<_> = HoldReason::all().map(|hold| (hold.name(), hold.lifted_by())).collect();
    assert_eq!(documented, known);
}

#[test]
fn every_record_of_the_audit_is_documented() {
    let known = Kind::ALL.iter().map(|kind| kind.name().to_owned()).collect();
    let document = text("docs/audit.md");
    let table = document.split("## Records").nth(1).expect("a section on records");
    let told = first_cells(table).into_iter().filter(|cell| cell != "kind").collect();
    assert_same(&told, &known, "docs/audit.md");
}

/// A warning about what is shipped would teach people to skip warnings.
#[test]
fn shipped_rules_set_off_no_lint() {
    let files = ["rules/containers.yml", "rules/m2.yml", "rules/plimsoll.yml"];
    let texts = files.map(|file| (file.to_owned(), text(file)));
    let options = plimsoll::rules::LintOptions {
        scrape_interval: std::time::Duration::from_secs(5),
        evaluation_interval: std::time::Duration::from_secs(5),
        window_bytes: 64 << 20,
        exposed: None,
        promql: plimsoll::promql::ParseOptions::default(),
        disabled: Vec::new(),
    };
    let problems = plimsoll::rules::check(&texts, &options);
    assert!(problems.is_empty(), "{problems}");
}

#[test]
fn every_lint_is_documented() {
    let known = plimsoll::rules::lint_names().map(str::to_owned).collect();
    let document = text("docs/rules.md");
    let table = document.split("## Lints").nth(1).expect("a section on lints");
    let table = table.split("\n## ").next().expect("its text");
    assert_same(&first_cells(table), &known, "docs/rules.md");
}

#[test]
fn the_code_map_names_every_module() {
    let map = text("ARCHITECTURE.md");
    let map = map.split("## Code map").nth(1).expect("a code map");
    let named: BTreeSet<String> = map
        .split("\n## ")
        .next()
        .expect("its text")
        .lines()
        .filter_map(|line| line.strip_prefix("* `")?.split('`').next().map(str::to_owned))
        .collect();
    let lib = text("src/lib.rs");
    let modules = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let missing: Vec<_> = modules.filter(|module| !named.contains(*module)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md leaves out {missing:?}");
}

/// Files below a folder, by their path from the root of the repository.
fn files(folder: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root.join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("can be read").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let below = path.strip_prefix(root).expect("below the root");
                found.push(below.to_string_lossy().into_owned());
            }
        }
    }
    found
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents: Vec<String> = files("docs");
    documents.extend(["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(str::to_owned));
    let mut broken = Vec::new();
    for path in documents.iter().filter(|path| path.ends_with(".md")) {
        let document = text(path);
        let targets = document.split("](").skip(1).filter_map(|tail| tail.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().expect("split gives one part");
            let folder = Path::new(path).parent().expect("a file has a folder");
            if !root.join(folder).join(file).exists() {
                broken.push(format!("{path}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}
