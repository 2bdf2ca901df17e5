//! The tree looks at itself: layers, bans, sizes, dependencies, and what the shipped rules promise.
//!
//! Plain text and no dependency: a check that a reader can follow beats one that parses Rust. Each check is a function
//! from text to findings, so the tests below can show it a violation and see it found; it never runs another program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by rank: a module imports only from lower ranks, never sideways (ARCHITECTURE.md).
const RANKS: [(u8, &[&str]); 11] = [
    (0, &["base", "regex"]),
    (1, &["yaml", "relabel", "exposition", "window", "calendar"]),
    (2, &["promql"]),
    (3, &["audit", "template", "containers", "outbox"]),
    (4, &["rules"]),
    (5, &["alerts"]),
    (6, &["policy"]),
    (7, &["engine"]),
    (8, &["endpoint", "letter", "telemetry", "ruletest"]),
    (
        9,
        &[
            "scrape",
            "collector",
            "docker",
            "executor",
            "journal",
            "ledger",
            "mail",
            "probe",
            "recorder",
            "send",
            "http",
        ],
    ),
    (10, &["app"]),
];
/// Non-test lines: what to aim at, and what no file may pass.
const LINES_AIM: usize = 200;
const LINES_MAX: usize = 600;
const DEPENDENCIES_MAX: usize = 25;
const ACTIONS: [&str; 6] = ["none", "advise", "nudge", "restart", "decide", "rollback_advice"];
const SEVERITIES: [&str; 4] = ["critical", "warning", "info", "none"];
/// Structure changes that the adoption plan leaves out: no shipped text may advise one.
const NEVER_ADVISED: [&str; 4] = ["ProxySQL", "PyPy", "D1", "SocketIO container"];

/// One tracked text file, by its path from the root of the repository.
#[derive(Clone)]
struct Source {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file below `dir`, apart from what `.gitignore` names at the root.
fn files(dir: &str) -> Vec<Source> {
    let ignored: Vec<String> = fs::read_to_string(root().join(".gitignore"))
        .expect(".gitignore is tracked")
        .lines()
        .map(|line| line.trim_matches('/').to_owned())
        .collect();
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root().join(dir)];
    while let Some(path) = open.pop() {
        let name = path.strip_prefix(root()).expect("below the root").display().to_string();
        if ignored.contains(&name) || name == ".git" {
            continue;
        }
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory of the tree can be listed");
            open.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push(Source { path: name, text });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn rust_sources() -> Vec<Source> {
    files("src").into_iter().filter(|source| source.path.ends_with(".rs")).collect()
}

/// The part of a file that ships: without its inline test module, which stands last.
fn shipped(text: &str) -> &str {
    let mut at = 0;
    while let Some(found) = text[at..].find("#[cfg(test)]") {
        let start = at + found;
        at = start + "#[cfg(test)]".len();
        let item = text[at..]
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with("#[") && !line.starts_with("//"));
        if item.is_some_and(|item| item.starts_with("mod ") && item.ends_with('{')) {
            return &text[..start];
        }
    }
    text
}

/// Without comments, so that a doc may link to any module.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

fn rank(module: &str) -> Option<u8> {
    RANKS.iter().find(|(_, modules)| modules.contains(&module)).map(|(rank, _)| *rank)
}

/// First names of what follows `crate::`: `a::b` gives a; `{a, b::{c, d}}` gives a and b.
fn first_names(tail: &str) -> Vec<&str> {
    let word =
        |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let Some(group) = tail.strip_prefix('{') else { return vec![&tail[..word(tail)]] };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                let part = group[start..at].trim();
                names.push(&part[..word(part)]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Modules that `path` names from the crate's root, by `crate::` or by enough `super::`.
fn imports(path: &str, text: &str) -> BTreeSet<String> {
    let code = without_comments(shipped(text));
    let depth = path.matches('/').count() - usize::from(path.ends_with("/mod.rs"));
    let up = "super::".repeat(depth);
    let mut found = BTreeSet::new();
    for prefix in ["crate::", up.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            found.extend(first_names(&code[at + prefix.len()..]).into_iter().map(str::to_owned));
        }
    }
    found.remove("self");
    found
}

/// What breaks the layer rule in one file, in words.
fn layer_faults(path: &str, text: &str) -> Vec<String> {
    let module = path.trim_start_matches("src/").split(['/', '.']).next().unwrap_or("");
    let Some(own) = rank(module) else {
        return vec![format!("{path}: module `{module}` has no rank; give it one in RANKS")];
    };
    let mut faults = Vec::new();
    for name in imports(path, text).iter().filter(|name| *name != module) {
        match rank(name) {
            None => faults.push(format!("{path}: `crate::{name}` has no rank")),
            Some(other) if other >= own => faults.push(format!(
                "{path}: `{module}` (rank {own}) imports `{name}` (rank {other}); only lower ranks"
            )),
            Some(_) => {}
        }
    }
    faults
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn modules_import_only_from_lower_ranks() {
    let sources = rust_sources();
    let inner = sources.iter().filter(|s| s.path != "src/lib.rs" && s.path != "src/main.rs");
    assert_none(&inner.flat_map(|s| layer_faults(&s.path, &s.text)).collect::<Vec<_>>());
}

#[test]
fn the_map_in_lib_rs_stands_in_layer_order() {
    let text = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let modules: Vec<&str> =
        text.lines().filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let ranks: Vec<_> = modules.iter().map(|module| rank(module)).collect();
    assert!(ranks.is_sorted() && !ranks.contains(&None), "{modules:?} have ranks {ranks:?}");
}

#[test]
fn a_broken_layer_is_seen_whatever_it_is_written_like() {
    let seen = |path: &str, text: &str| !layer_faults(path, text).is_empty();
    assert!(seen("src/window/mod.rs", "use crate::promql::ast;"), "upwards");
    assert!(seen("src/window/mod.rs", "use crate::relabel::Rule;"), "sideways");
    assert!(
        seen("src/window/mod.rs", "use crate::{base::Labels, engine::{Event, Step}};"),
        "in a group"
    );
    assert!(
        seen("src/window/mod.rs", "use crate::{\n    base::Labels,\n    engine,\n};"),
        "over lines"
    );
    assert!(seen("src/window/ring.rs", "fn f() { crate::alerts::book() }"), "without use");
    assert!(seen("src/window/mod.rs", "use super::engine::Event;"), "by super");
    assert!(seen("src/window/ring.rs", "use super::super::engine::Event;"), "by two supers");
    assert!(seen("src/window/mod.rs", "use crate::nowhere::X;"), "no such rank");
    assert!(seen("src/novel/mod.rs", ""), "a module without rank");
    assert!(!seen(
        "src/window/ring.rs",
        "use super::Series;\nuse crate::{base::{Labels, hash}, regex};"
    ));
    assert!(!seen("src/window/mod.rs", "//! Feeds [`crate::engine`].\nuse crate::window::ring;"));
    assert!(!seen(
        "src/window/mod.rs",
        "#[cfg(test)]\nmod tests {\n    use crate::engine::Event;\n}"
    ));
    assert!(seen("src/window/mod.rs", "#[cfg(test)]\nmod tests;\nuse crate::engine::Event;"));
}

#[test]
fn no_file_is_too_long_and_each_says_what_it_is() {
    let mut faults = Vec::new();
    for source in rust_sources() {
        let lines = shipped(&source.text).lines().count();
        if lines > LINES_AIM {
            println!("{}: {lines} non-test lines, aim {LINES_AIM}", source.path);
        }
        if lines > LINES_MAX {
            faults.push(format!("{}: {lines} non-test lines, at most {LINES_MAX}", source.path));
        }
        if !source.text.starts_with("//! ") {
            faults.push(format!("{}: does not begin with its `//!` doc", source.path));
        }
    }
    assert_none(&faults);
}

/// Files among `sources` whose text has one of `words`, apart from those below `home`.
fn outside(sources: &[Source], words: &[&str], home: &str, why: &str) -> Vec<String> {
    let is_test = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/");
    let strangers =
        sources.iter().filter(|source| !source.path.starts_with(home) && !is_test(&source.path));
    let mut faults = Vec::new();
    for source in strangers {
        let code = without_comments(shipped(&source.text));
        faults.extend(
            words
                .iter()
                .filter(|word| code.contains(**word))
                .map(|word| format!("{}: `{word}`: {why}", source.path)),
        );
    }
    faults
}

#[test]
fn unsafe_code_is_forbidden_in_both_roots() {
    for path in ["src/lib.rs", "src/main.rs"] {
        let text = fs::read_to_string(root().join(path)).expect(path);
        assert!(text.contains("#![forbid(unsafe_code)]"), "{path}");
    }
}

#[test]
fn only_the_journal_gives_receipts_and_only_the_clock_reads_time() {
    let sources = rust_sources();
    let receipt = outside(
        &sources,
        &["Receipt::of("],
        "src/journal/",
        "only a commit makes a receipt, else an edge could be sent before it is durable",
    );
    // Sockets have deadlines: the layer that owns them may ask tokio's clock how long is left.
    let timerless: Vec<Source> =
        sources.iter().filter(|source| !source.path.starts_with("src/scrape/")).cloned().collect();
    let monotonic = outside(
        &timerless,
        &["Instant::now(", ".elapsed()"],
        "src/app/clock.rs",
        "time is passed in",
    );
    let wall = outside(&sources, &["SystemTime::now("], "src/app/clock.rs", "time is passed in");
    assert_none(&[receipt, monotonic, wall].concat());
}

#[test]
fn every_bad_input_has_the_test_that_is_named() {
    let table = fs::read_to_string(root().join("tests/it/main.rs")).expect("it is there");
    let rows = table.lines().filter_map(|line| line.strip_prefix("//! | "));
    let named: Vec<&str> =
        rows.filter_map(|row| row.rsplit('`').find(|word| word.contains(".rs::"))).collect();
    assert!(named.len() > 12, "{named:?}");
    let missing = named.into_iter().filter(|named| {
        let (path, test) = named.split_once("::").expect("a test of a file");
        let text = fs::read_to_string(root().join(path)).unwrap_or_default();
        !text.contains(&format!("fn {test}("))
    });
    assert_none(&missing.map(str::to_owned).collect::<Vec<_>>());
}

#[test]
fn no_test_is_skipped() {
    let word = concat!("#[ign", "ore");
    let sources = [files("src"), files("tests"), files("benches")].concat();
    let skipped = sources.iter().filter(|source| source.text.contains(word));
    assert_none(&skipped.map(|s| format!("{}: {word}]", s.path)).collect::<Vec<_>>());
}

#[test]
fn bans_see_what_they_ban() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let found = |path: &str, text: &str| {
        !outside(&[source(path, text)], &["Receipt::of("], "src/journal/", "").is_empty()
    };
    assert!(found("src/engine/mod.rs", "let r = Receipt::of(3);"));
    assert!(!found("src/journal/redb.rs", "let r = Receipt::of(3);"));
    assert!(!found("src/engine/mod.rs", "#[cfg(test)]\nmod tests {\n Receipt::of(3);\n}"));
}

/// Faults of the manifest: too many direct dependencies, one without its reason, one with default features.
fn manifest_faults(manifest: &str) -> Vec<String> {
    let (mut section, mut above, mut count, mut faults) = ("", "", 0, Vec::new());
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") && line.contains('=') && !line.starts_with('#')
        {
            let name = line.split('=').next().unwrap_or("").trim();
            count += usize::from(section != "[dev-dependencies]");
            if !above.starts_with("# ") {
                faults
                    .push(format!("Cargo.toml: `{name}` has no comment above that says what for"));
            }
            if !line.contains("default-features = false") {
                faults.push(format!("Cargo.toml: `{name}` keeps its default features"));
            }
        }
        above = line;
    }
    if count > DEPENDENCIES_MAX {
        faults.push(format!("Cargo.toml: {count} direct dependencies, at most {DEPENDENCIES_MAX}"));
    }
    faults
}

#[test]
fn dependencies_are_few_and_each_has_its_reason() {
    assert_none(&manifest_faults(
        &fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml"),
    ));
    let good = "[dependencies]\n# why\na = { version = \"1\", default-features = false }\n";
    assert_eq!(manifest_faults(good).len(), 0);
    assert_eq!(manifest_faults(&good.replace("# why\n", "")).len(), 1, "no reason");
    assert_eq!(
        manifest_faults(&good.replace(", default-features = false", "")).len(),
        1,
        "defaults"
    );
    let many = format!("[dependencies]\n{}", good.replace("[dependencies]\n", "").repeat(26));
    assert_eq!(manifest_faults(&many).len(), 1, "too many");
}

/// Test targets that plain `cargo test` runs, by path: every file right below tests/ and every directory there
/// with a `main.rs`, unless Cargo.toml says `test = false`.
fn hermetic_targets(sources: &[Source], manifest: &str) -> Vec<String> {
    let tables = manifest.split("\n[").filter_map(|table| table.strip_prefix("[test]]\n"));
    let live: Vec<&str> = tables
        .filter(|table| table.contains("\ntest = false"))
        .filter_map(|table| {
            table.lines().find_map(|l| l.strip_prefix("name = \"")?.strip_suffix('"'))
        })
        .collect();
    let target = |path: &str| {
        let name = path.strip_prefix("tests/")?;
        let name = name.strip_suffix("/main.rs").or(name.strip_suffix(".rs"))?;
        (!name.contains('/') && !live.contains(&name)).then(|| path.to_owned())
    };
    sources.iter().filter_map(|source| target(&source.path)).collect()
}

/// The files a test target is made of: its root and, from `mod` and `#[path]`, what each of them includes.
fn included(sources: &[Source], root: &str) -> Vec<Source> {
    let (mut open, mut found) = (vec![PathBuf::from(root)], Vec::<Source>::new());
    while let Some(path) = open.pop() {
        let name = path.display().to_string();
        let Some(source) = sources.iter().find(|source| source.path == name) else { continue };
        if found.iter().any(|known| known.path == name) {
            continue;
        }
        let here = path.parent().expect("a file stands in a directory");
        let is_root = name == root || name.ends_with("/mod.rs");
        let below = if is_root { here.to_owned() } else { path.with_extension("") };
        let mut explicit: Option<&str> = None;
        for line in source.text.lines().map(str::trim) {
            let module = line.trim_start_matches("pub ").strip_prefix("mod ");
            if let Some(path) = line.strip_prefix("#[path = \"").and_then(|l| l.strip_suffix("\"]"))
            {
                explicit = Some(path);
            } else if let Some(module) = module.and_then(|module| module.strip_suffix(';')) {
                match explicit.take() {
                    Some(path) => open.push(flat(&here.join(path))),
                    None => open.extend([
                        below.join(format!("{module}.rs")),
                        below.join(module).join("mod.rs"),
                    ]),
                }
            }
        }
        found.push(source.clone());
    }
    found
}

/// A path without `..`.
fn flat(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        if part == std::path::Component::ParentDir {
            parts.pop()
        } else {
            parts.push(part);
            true
        };
    }
    parts
}

/// Hermetic targets that reach beside the repository, where only our own machines have data.
fn reaching_out(sources: &[Source], manifest: &str) -> Vec<String> {
    let word = concat!("../sha", "red");
    let mut faults = Vec::new();
    for target in hermetic_targets(sources, manifest) {
        for source in included(sources, &target) {
            if without_comments(&source.text).contains(word) {
                let path = source.path;
                faults.push(format!("{target}: {path} reads {word} without `test = false`"));
            }
        }
    }
    faults
}

#[test]
fn tests_without_live_stay_inside_the_repository() {
    let sources = files("tests");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    assert_none(&reaching_out(&sources, &manifest));
    let blind: Vec<_> =
        hermetic_targets(&sources, "").iter().flat_map(|t| included(&sources, t)).collect();
    let unread = sources.iter().filter(|s| s.path.ends_with(".rs"));
    let unread = unread.filter(|s| !blind.iter().any(|read| read.path == s.path));
    assert_none(&unread.map(|s| format!("{}: belongs to no target", s.path)).collect::<Vec<_>>());
    let all = reaching_out(&sources, "");
    assert!(all.len() >= 5, "without the manifest's word the live targets are seen too: {all:?}");
}

/// Whether `text` names a directory that only one machine has.
fn names_a_machine(text: &str) -> bool {
    [concat!("/wo", "rk/"), concat!("/ro", "ot/")].iter().any(|word| {
        text.match_indices(word).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || ".-_~}".contains(c))
        })
    })
}

#[test]
fn no_path_of_one_machine_is_tracked() {
    let named = files("").into_iter().filter(|source| names_a_machine(&source.text));
    assert_none(&named.map(|s| format!("{}: names a machine's path", s.path)).collect::<Vec<_>>());
    assert!(
        names_a_machine(concat!("see /wo", "rk/x")) && !names_a_machine(concat!("net/wo", "rk/x"))
    );
}

/// Alerts and records of one rule file: name, and the lines that belong to it.
fn rules_in<'a>(text: &'a str, kind: &str) -> Vec<(&'a str, String)> {
    let mut found: Vec<(&str, String)> = Vec::new();
    let mut open = false;
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        if let Some(rule) = line.trim_start().strip_prefix("- ") {
            let name = rule.strip_prefix(kind).map(str::trim);
            open = name.is_some();
            found.extend(name.map(|name| (name, String::new())));
        } else if let (true, Some((_, body))) = (open, found.last_mut()) {
            body.push_str(line);
            body.push('\n');
        }
    }
    found
}

/// What an alert must carry: a severity and an action of the closed lists, a summary and a description.
fn alert_faults(name: &str, body: &str) -> Vec<String> {
    let labels = body.lines().find_map(|l| l.trim().strip_prefix("labels: {")).unwrap_or("");
    let label = |key: &str| {
        let value =
            labels.split([',', '}']).find_map(|p| p.trim().strip_prefix(key)?.strip_prefix(": "));
        value.unwrap_or("").to_owned()
    };
    let mut faults = Vec::new();
    if !ACTIONS.contains(&label("action").as_str()) {
        faults.push(format!("{name}: action `{}`", label("action")));
    }
    if !SEVERITIES.contains(&label("severity").as_str()) {
        faults.push(format!("{name}: severity `{}`", label("severity")));
    }
    for key in ["summary:", "description:"] {
        if !body.lines().any(|line| line.trim().starts_with(key)) {
            faults.push(format!("{name}: no {key}"));
        }
    }
    let advised = NEVER_ADVISED.iter().filter(|word| body.contains(**word));
    faults.extend(advised.map(|word| format!("{name}: advises {word}")));
    faults
}

#[test]
fn shipped_alerts_say_what_they_are_and_are_tested_both_ways() {
    let tests: String = files("tests/rules").iter().map(|source| source.text.as_str()).collect();
    let mut cases: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for case in tests.split("eval_time:").skip(1) {
        let name = case.split("alertname:").nth(1).unwrap_or("");
        let name = name.trim().split([',', '\n']).next().unwrap_or("");
        cases.entry(name).or_default()[usize::from(case.contains("exp_alerts: []"))] += 1;
    }
    let mut faults = Vec::new();
    for file in files("rules") {
        for (name, body) in rules_in(&file.text, "alert:") {
            faults.extend(alert_faults(name, &body));
            // plimsoll itself is of no layer.
            let layer = match file.path.as_str() {
                "rules/containers.yml" => Some("layer: app}"),
                "rules/m2.yml" => Some("layer: edge}"),
                _ => None,
            };
            if layer.is_some_and(|layer| !body.contains(layer)) {
                faults.push(format!("{name}: no {layer:?}"));
            }
            let [fires, silent] = cases.get(name).copied().unwrap_or_default();
            if fires == 0 || (silent == 0 && name != "Watchdog") {
                faults.push(format!("{name}: {fires} firing and {silent} silent cases"));
            }
        }
    }
    assert_none(&faults);
    let bad = "labels: {severity: loud, action: reboot}\nannotations:\n  summary: use PyPy";
    assert_eq!(alert_faults("x", bad).len(), 4, "{:?}", alert_faults("x", bad));
}

/// Advice of no one setting: to look, to move a tenant, or of several settings at once.
const ADVISE_NO_SETTING: [&str; 6] = [
    "ContainerCrashLooping",
    "DedicatedNodeHasSeveralTenants",
    "M2MissRatioHigh",
    "M2PagefxFailures",
    "SharedNodeReservationsExceedMemory",
    "TenantMemoryExhaustionSoon",
];

/// What no series tells of a setting, so that its advice leaves it out.
const UNKNOWN_OF_A_SETTING: [(&str, &str); 5] = [
    ("GunicornNeverRecycles", "current"),
    ("M2RtOverMemory", "recommended"),
    ("M2WhitelistHidesFamilies", "current"),
    ("TenantCpuThrottledBursty", "current"),
    ("TenantCpuThrottledBursty", "recommended"),
];

#[test]
fn shipped_advice_names_the_setting_what_it_is_and_what_it_should_be() {
    let mut faults = Vec::new();
    let mut unknown: Vec<(String, &str)> = Vec::new();
    for file in files("rules") {
        for (name, body) in rules_in(&file.text, "alert:") {
            if !body.contains("action: advise") {
                continue;
            }
            let has =
                |key: &str| body.lines().any(|line| line.trim().starts_with(&format!("{key}:")));
            if ADVISE_NO_SETTING.contains(&name) == has("variable") {
                faults.push(format!("{name}: a variable, or no setting?"));
            }
            if has("variable") {
                faults.extend((!has("why")).then(|| format!("{name}: no why")));
                let missing = ["current", "recommended"].into_iter().filter(|key| !has(key));
                unknown.extend(missing.map(|key| (name.to_owned(), key)));
            }
        }
    }
    assert_none(&faults);
    unknown.sort();
    let unknown: Vec<_> = unknown.iter().map(|(name, key)| (name.as_str(), *key)).collect();
    assert_eq!(unknown, UNKNOWN_OF_A_SETTING);
}

/// Names of recorded series (`container:…`, `m2:…`) that `text` reads.
fn recorded_names(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
        .filter(|word| word.starts_with("container:") || word.starts_with("m2:"))
        .filter(|word| word.split(':').nth(1).is_some_and(|rest| rest.len() > 3))
        .collect()
}

#[test]
fn every_recorded_series_that_is_read_is_recorded() {
    let sources = [files("rules"), files("grafana")].concat();
    let written: BTreeSet<&str> = sources
        .iter()
        .filter(|source| source.path.starts_with("rules/"))
        .flat_map(|source| rules_in(&source.text, "record:"))
        .map(|(name, _)| name)
        .collect();
    let read: BTreeSet<&str> = sources.iter().flat_map(|s| recorded_names(&s.text)).collect();
    let missing: Vec<_> =
        read.difference(&written).map(|name| format!("{name} is not recorded")).collect();
    assert!(read.len() > 10, "the reader of names sees only {read:?}");
    assert_none(&missing);
}
