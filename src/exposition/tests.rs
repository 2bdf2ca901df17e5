//! The scanner against the syntax, against itself, and against hostile bodies.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::base::{Labels, LabelsBuilder, Timestamp};
use crate::regex::Pattern;

mod bounds;

/// A target: what lives from scrape to scrape.
struct Target {
    cache: SeriesCache,
    selection: Selection,
    format: Format,
    limits: Limits,
}

impl Target {
    fn new() -> Target {
        Target {
            cache: SeriesCache::new(),
            selection: Selection::all(),
            format: Format::Text,
            limits: Limits::default(),
        }
    }

    fn keeping(names: &[&str]) -> Target {
        let names = names.iter().map(|name| (*name).to_owned());
        Target { selection: Selection::only(names, Vec::new()), ..Target::new() }
    }

    fn scrape(&mut self, body: &[u8]) -> Result<Batch, ScanError> {
        self.scrape_cut(body, &[], &mut |_| true)
    }

    /// Scrapes a body that arrives cut at these places.
    fn scrape_cut(
        &mut self,
        body: &[u8],
        cuts: &[usize],
        admit: &mut Admit<'_>,
    ) -> Result<Batch, ScanError> {
        let cuts: BTreeSet<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
        let mut scan =
            Scan::begin(&mut self.cache, &self.selection, self.format, &self.limits, admit);
        let mut from = 0;
        for to in cuts.into_iter().chain([body.len()]) {
            scan.feed(&body[from..to])?;
            from = to;
        }
        scan.finish()
    }
}

/// What the engine would hold: labels by id, fed by each batch's `new`.
#[derive(Default)]
struct Engine {
    epoch: u64,
    labels: BTreeMap<u32, Labels>,
}

impl Engine {
    /// As [`Engine::read`], for a batch of which all but the ids was announced before.
    fn read_anew(&mut self, batch: &Batch) -> Vec<String> {
        let named = |name: &str| Labels::from_pairs([("__name__", name)]);
        self.epoch = batch.epoch;
        if batch.new.is_empty() {
            self.labels = BTreeMap::from([(0, named("a")), (1, named("b"))]);
        }
        self.read(batch)
    }

    /// The samples of a batch, as text, checking that every id was announced once.
    fn read(&mut self, batch: &Batch) -> Vec<String> {
        if batch.epoch != self.epoch {
            *self = Engine { epoch: batch.epoch, labels: BTreeMap::new() };
        }
        for (id, labels) in &batch.new {
            let before = self.labels.insert(*id, labels.clone());
            assert_eq!(before, None, "id {id} was announced twice in one epoch");
        }
        let written = |point: &Point| {
            let labels = self.labels.get(&point.id).expect("every point's id was announced");
            let at = point.at.map_or(String::new(), |at| format!(" @{}", at.as_millis()));
            format!("{labels} {}{at}", crate::base::format_value(point.value))
        };
        batch.points.iter().map(written).collect()
    }
}

fn samples(format: Format, body: &[u8]) -> Result<Vec<String>, ScanError> {
    let mut target = Target { format, ..Target::new() };
    Ok(Engine::default().read(&target.scrape(body)?))
}

/// Each row: a body without its last newline, and its samples.
const GOOD: &[(&str, &[&str])] = &[
    ("", &[]),
    ("\n \n\t", &[]),
    ("up 1", &["up 1"]),
    ("up{} 1", &["up 1"]),
    ("  up\t 1  ", &["up 1"]),
    ("job:foo:rate5m 1", &["job:foo:rate5m 1"]),
    (r#"foo {a="b"} 1"#, &[r#"foo{a="b"} 1"#]),
    (r#"foo{a="b"}1"#, &[r#"foo{a="b"} 1"#]),
    (r#"foo{ a = "b" , c="d", } 1"#, &[r#"foo{a="b", c="d"} 1"#]),
    (r#"foo{c="d" a="b"} 1"#, &[r#"foo{a="b", c="d"} 1"#]),
    // Every character prometheus-parse stumbles over.
    (r#"foo{a="redis:x,db:y"} 1"#, &[r#"foo{a="redis:x,db:y"} 1"#]),
    (r#"foo{a="k=v"} 1"#, &[r#"foo{a="k=v"} 1"#]),
    (r#"foo{a="{{.Name}} #"} 1"#, &[r#"foo{a="{{.Name}} #"} 1"#]),
    (r#"{"foo.bar"} 1"#, &["foo.bar 1"]),
    (r#"{"foo.bar", "a b"="c"} 1"#, &[r#"foo.bar{a b="c"} 1"#]),
    (r#"{a="b","up"} 1"#, &[r#"up{a="b"} 1"#]),
    (r#"{__name__="up"} 1"#, &["up 1"]),
    (r#"foo{a="\"\\\n\x"} 1"#, &[r#"foo{a="\"\\\n\\x"} 1"#]),
    (r#"foo{a="x\\"} 1"#, &[r#"foo{a="x\\"} 1"#]),
    (r#"foo{a="",b="한"} 1"#, &[r#"foo{b="한"} 1"#]),
    ("up 1 1395066363000", &["up 1 @1395066363000"]),
    ("up 1 -62135596800000", &["up 1 @-62135596800000"]),
    ("up NaN\nup2 nan", &["up NaN", "up2 NaN"]),
    ("up +Inf\nup2 -Inf\nup3 inf", &["up +Inf", "up2 -Inf", "up3 +Inf"]),
    ("up 1.795312441e+09\nup2 -.5", &["up 1795312441", "up2 -0.5"]),
    ("up 1\r\nup2 2 5\r", &["up 1", "up2 2 @5"]),
    ("# TYPE up gauge\n# HELP up x\n#\n# any\n#up\nup 1", &["up 1"]),
    ("# EOF\nup 1", &["up 1"]),
    (r#"up 1 # {trace_id="x"} 0.5 1.2"#, &["up 1"]),
    (r#"up 1 123 # {trace_id="x"} 0.5"#, &["up 1 @123"]),
    // The first of two stays; only a newer timestamp makes a second sample.
    ("up 1\nup 2", &["up 1"]),
    ("up 1 10\nup 2 10\nup 3 11\nup 4 9", &["up 1 @10", "up 3 @11"]),
    ("up 1\nup 2 10", &["up 1"]),
    ("u{a=\"1\",b=\"2\"} 1\nu{b=\"2\",a=\"1\"} 2", &[r#"u{a="1", b="2"} 1"#]),
    // Names that start alike.
    (
        "up 1\nupp 2\nup{a=\"b\"} 3\nup {a=\"c\"} 4",
        &["up 1", "upp 2", "up{a=\"b\"} 3", "up{a=\"c\"} 4"],
    ),
];

#[test]
fn good_bodies_twice() {
    for (body, want) in GOOD {
        let mut target = Target::new();
        let mut engine = Engine::default();
        let body = format!("{body}\n");
        for round in ["unknown", "known"] {
            let batch = target.scrape(body.as_bytes()).unwrap_or_else(|e| panic!("{body}: {e}"));
            assert_eq!(engine.read(&batch), *want, "{round}: {body}");
            assert_eq!(batch.vanished, [] as [u32; 0]);
        }
    }
}

#[test]
fn bad_lines_fail_the_scrape_and_are_named() {
    // The bad line, the column, what is said.
    let cases: &[(&[u8], usize, &str)] = &[
        (b"up", 3, "expected a value"),
        (b"up ", 4, "expected a value"),
        (b"up{a=\"b\"}", 10, "expected a value"),
        (b"up abc", 4, "expected a number"),
        (b"up 1_0", 4, "expected a number"),
        (b"up 0x10", 4, "expected a number"),
        (b"up 1e400", 4, "expected a number"),
        (b"up 1 abc", 6, "expected a timestamp"),
        (b"up 1 1.5", 6, "expected a timestamp"),
        (b"up 1 +5", 6, "expected a timestamp"),
        (b"up 1 2 junk", 8, "expected the end"),
        (b"up 1 2 # junk", 8, "expected the end"),
        (b"up 1 # junk", 6, "expected the end"),
        (b"1up 1", 1, "expected a metric name"),
        (b"foo-bar 1", 1, "expected a metric name"),
        (b"<html> 1", 1, "expected a metric name"),
        (b"\x1f\x8b\x08", 1, "expected a metric name"),
        (b"up{a=\"b\" 1", 11, "missing closing }"),
        (b"up{a=\"b} 1", 6, "missing closing \""),
        (b"up{a=\"b\\\"} 1", 6, "missing closing \""),
        (b"up{a=b} 1", 6, "expected a label value"),
        (b"up{x:y=\"b\"} 1", 4, "expected a label name"),
        (b"up{1=\"b\"} 1", 4, "expected a label name"),
        (b"up{,} 1", 4, "expected a label name"),
        (b"up{a=\"b\",,} 1", 10, "expected a label name"),
        (b"up{\"\"=\"b\"} 1", 4, "expected a label name"),
        (b"up{a} 1", 5, "expected ="),
        (b"up{\"x\"} 1", 4, "already set"),
        (b"{\"x\",\"y\"} 1", 6, "already set"),
        (b"up{a=\"1\",a=\"2\"} 1", 1, "label name \"a\" is not unique"),
        (b"up{__name__=\"x\"} 1", 1, "is not unique"),
        (b"up{a=\"\xff\"} 1", 7, "invalid UTF-8"),
        (b"{a=\"b\"} 1", 1, "missing metric name"),
        (b"  up{a=b} 1", 8, "expected a label value"),
        (b"# TYPE up banana", 11, "invalid metric type"),
        (b"# HELP up \xff", 11, "help text"),
    ];
    for (line, column, want) in cases {
        let body = [b"# HELP x y\nok 1\n", *line, b"\nlater 2\n"].concat();
        let mut target = Target::new();
        let error = target.scrape(&body).expect_err(want);
        let shown = String::from_utf8_lossy(line);
        assert!(error.to_string().contains(want), "{shown}: {error}");
        assert_eq!((error.line, error.column), (3, *column), "{shown}: {error}");
        let batch = target.scrape(b"ok 1\n").expect("the next scrape is good");
        assert_eq!(batch.new.len(), 1, "what a failed scrape saw is announced again");
    }
}

#[test]
fn a_cut_body_is_refused() {
    for (body, want) in [
        (&b"up 1\nup2 12"[..], Some("cut off")),
        (b"up 1\nskipped 12", Some("cut off")),
        (b"up 1\n# HELP", Some("cut off")),
        (b"up 1\n# EO", Some("cut off")),
        (b"up 1\n# EOF", None),
        (b"up 1\n# EOF\r", None),
        (b"", None),
    ] {
        let outcome = Target::keeping(&["up", "up2"]).scrape(body);
        match (outcome, want) {
            (Ok(_), None) => {}
            (Err(error), Some(want)) => {
                assert!(error.to_string().contains(want), "{error}");
                assert_eq!(error.line, 2);
            }
            (outcome, _) => panic!("{:?}: {outcome:?}", String::from_utf8_lossy(body)),
        }
    }
}

#[test]
fn openmetrics_counts_seconds_and_ends() {
    let body = "# TYPE x counter\n# UNIT x_seconds seconds\nx_total 1 1.5 # {a=\"b\"} 1 2\n";
    let read = |end: &str| samples(Format::OpenMetrics, format!("{body}{end}").as_bytes());
    for blank in ["\n", "  \n", "\r\n"] {
        let error = read(&format!("{blank}# EOF\n")).expect_err("no blank lines in OpenMetrics");
        assert!(error.to_string().contains("not a blank line"), "{error}");
    }
    for end in ["# EOF\n", "# EOF", "# EOF\r\n"] {
        assert_eq!(read(end).expect(end), ["x_total 1 @1500"]);
    }
    for (end, want) in [
        ("", "does not end with # EOF"),
        ("# EOF\nx 1\n", "data after # EOF"),
        ("# EOF\nx_total 1 1.5\n", "data after # EOF"),
        ("x 1 NaN\n# EOF\n", "expected a timestamp"),
    ] {
        let error = read(end).expect_err(want).to_string();
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn unwanted_families_are_counted_and_not_read() {
    let body = b"# TYPE a gauge\na 1\n# TYPE b banana\nb{x=\"1\"} no number\nb{x=\"2\" 2\n\
        # TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 2\nab 3\n{\"b\"} 4\n{\"a\",x=\"y\"} 5\n";
    let mut target = Target::keeping(&["a", "h_sum"]);
    let batch = target.scrape(body).expect("is good where it is read");
    assert_eq!(Engine::default().read(&batch), ["a 1", "h_sum 2", r#"a{x="y"} 5"#]);
    let stats = batch.stats;
    assert_eq!((stats.samples_kept, stats.samples_skipped), (3, 5));
    assert_eq!(stats.samples_scraped(), 8);
    assert_eq!((stats.lines, stats.bytes), (11, body.len() as u64));
    let families: Vec<&str> = batch.metadata.iter().map(|(family, _)| family.as_str()).collect();
    assert_eq!(families, ["a", "h"]);
}

#[test]
fn patterns_select_too() {
    let keep = Pattern::new("container_(memory|cpu)_.*").expect("compiles");
    let selection = Selection::only([], vec![keep]);
    let mut target = Target { selection, ..Target::new() };
    let body = b"container_cpu_x 1\ncontainer_fs_x 2\ncontainer_memory_x 3\n";
    let batch = target.scrape(body).expect("is good");
    assert_eq!(batch.points.len(), 2);
}

#[test]
fn metadata_is_told_when_it_changes() {
    let mut target = Target::new();
    let mut told = |body: &str| target.scrape(body.as_bytes()).map(|batch| batch.metadata);
    let first = told("# HELP up is it\n# TYPE up gauge\nup 1\n").expect("is good");
    let known = Metadata { kind: MetricKind::Gauge, help: "is it".to_owned(), unit: String::new() };
    assert_eq!(first, [("up".to_owned(), known.clone())]);
    assert_eq!(told("# HELP up is it\n# TYPE up gauge\nup 1\n"), Ok(vec![]));
    assert!(told("# HELP up other\nbad\n").is_err());
    let changed = told("# HELP up other\n# UNIT up s\nup 1\n").expect("is good");
    let now = Metadata { help: "other".to_owned(), unit: "s".to_owned(), ..known };
    assert_eq!(changed, [("up".to_owned(), now)], "the failed scrape taught nothing");
}

#[test]
fn series_come_vanish_and_return() {
    let mut target = Target::new();
    let first = target.scrape(b"a 1\nb 1\nc 1\n").expect("is good");
    assert_eq!((first.new.len(), first.stats.series_added), (3, 3));
    let b = first.points[1].id;
    let second = target.scrape(b"c 1\na 1\n").expect("is good");
    assert_eq!((second.new.len(), &*second.vanished), (0, &[b][..]));
    assert!(target.scrape(b"a 1\nb 1\nbad\n").is_err());
    let third = target.scrape(b"a 1\nc 1\nb 1\n").expect("is good");
    assert!(third.new.is_empty() && third.vanished.is_empty(), "its id is still known");
    assert_eq!((third.points[2].id, third.stats.series_added), (b, 1));
    target.cache.reset();
    let fourth = target.scrape(b"a 1\n").expect("is good");
    assert_eq!((fourth.epoch, fourth.new.len()), (third.epoch + 1, 1));
}

#[test]
fn an_expected_series_is_not_taken_for_one_that_starts_alike() {
    for (before, after, want) in [
        ("up 1", "up {a=\"b\"} 2", "up{a=\"b\"} 2"),
        ("up 1", "up{a=\"b\"} 2", "up{a=\"b\"} 2"),
        ("up 1", "upp 2", "upp 2"),
        ("up{a=\"b\"} 1", "up{a=\"b\"}2", "up{a=\"b\"} 2"),
        ("up{a=\"b\"} 1", "up{a=\"b\",c=\"d\"} 2", "up{a=\"b\", c=\"d\"} 2"),
    ] {
        let mut target = Target::new();
        let mut engine = Engine::default();
        engine.read(&target.scrape(format!("{before}\n").as_bytes()).expect(before));
        let batch = target.scrape(format!("{after}\n").as_bytes());
        assert_eq!(engine.read(&batch.expect(after)), [want], "{after}");
    }
    let mut target = Target { format: Format::OpenMetrics, ..Target::new() };
    target.scrape(b"a 1\nb 2\n# EOF\n").expect("is good");
    let error = target.scrape(b"a 1\n# EOF\nb 2\n").expect_err("`b` is expected, but too late");
    assert_eq!((error.line, error.problem), (3, Problem::AfterEof));
}

#[test]
fn a_scan_may_be_held_across_an_await() {
    fn is_send<T: Send>() {}
    is_send::<Scan<'_>>();
}

#[test]
fn a_series_unseen_for_ten_scrapes_is_forgotten() {
    let mut target = Target::new();
    target.scrape(b"a 1\nb 1\nb{x=\"y\"} 1\n").expect("is good");
    for _ in 0..9 {
        // Seen in failed scrapes only: that keeps nothing alive.
        assert!(target.scrape(b"b 1\nbad\n").is_err());
        target.scrape(b"a 1\n").expect("is good");
    }
    assert_eq!(target.cache.len(), 3);
    assert!(target.scrape(b"b 1\nbad\n").is_err());
    target.scrape(b"a 1\n").expect("is good");
    assert_eq!(target.cache.len(), 1);
    let back = target.scrape(b"a 1\nb 1\n").expect("is good");
    assert_eq!(back.new.len(), 1, "a forgotten series is announced under a new id");
    assert_eq!(back.new[0].0, 3, "ids are never used twice");
}

#[test]
fn what_stays_is_found_after_others_were_forgotten() {
    let mut target = Target::new();
    let mut engine = Engine::default();
    let first = target.scrape(b"# TYPE gone gauge\ngone 1\na 1\nb 1\nc 1\n").expect("is good");
    engine.read(&first);
    for _ in 0..10 {
        let batch = target.scrape(b"a 2\nb 3\nc 4\n").expect("is good");
        assert_eq!(engine.read(&batch), ["a 2", "b 3", "c 4"]);
    }
    assert_eq!(target.cache.len(), 3);
    let turned = target.scrape(b"c 5\n# TYPE gone gauge\ngone 6\nb 7\na 8\n").expect("is good");
    assert_eq!(engine.read(&turned), ["c 5", "gone 6", "b 7", "a 8"]);
    assert_eq!(turned.metadata, first.metadata, "metadata is forgotten and told again as well");
}

#[test]
fn an_abandoned_scan_leaves_nothing() {
    let mut target = Target::new();
    target.scrape(b"a 1\n").expect("is good");
    let limits = Limits::default();
    let mut admit = |_: &mut LabelsBuilder| true;
    let selection = Selection::all();
    let mut scan = Scan::begin(&mut target.cache, &selection, Format::Text, &limits, &mut admit);
    scan.feed(b"b 1\nc 1\n").expect("is good");
    drop(scan);
    let batch = target.scrape(b"a 1\nc 2\n").expect("is good");
    assert_eq!(batch.new.len(), 1);
    assert_eq!(target.cache.len(), 2, "`b` was never committed");
}

#[test]
fn an_error_ends_the_scan() {
    let mut target = Target::new();
    let limits = Limits::default();
    let mut admit = |_: &mut LabelsBuilder| true;
    let selection = Selection::all();
    let mut scan = Scan::begin(&mut target.cache, &selection, Format::Text, &limits, &mut admit);
    let error = scan.feed(b"a 1\nbad\n").expect_err("is bad");
    assert_eq!(scan.feed(b"b 1\n"), Err(error.clone()));
    assert_eq!(scan.finish(), Err(error));
    assert!(target.cache.is_empty() && target.cache.heap_bytes() < 10_000);
}

#[test]
fn relabelling_is_asked_once_and_remembered() {
    let mut target = Target::new();
    let mut asked = 0;
    let mut admit = |labels: &mut LabelsBuilder| {
        asked += 1;
        labels.remove("pod").set("job", "j");
        labels.get("__name__") != "dropped"
    };
    let body = b"a{pod=\"1\"} 1\na{pod=\"2\"} 2\ndropped 3\n";
    for _ in 0..25 {
        let batch = target.scrape_cut(body, &[], &mut admit).expect("is good");
        assert_eq!(batch.points.len(), 1, "two spellings of one series are one");
        assert_eq!((batch.stats.samples_kept, batch.stats.samples_post_relabel), (3, 2));
        assert_eq!(batch.stats.duplicates, 1);
    }
    assert_eq!(asked, 3);
    let nameless = &mut |labels: &mut LabelsBuilder| !labels.remove("__name__").get("x").is_empty();
    let outcome = Target::new().scrape_cut(b"a{x=\"y\"} 1\n", &[], nameless);
    assert_eq!(outcome.expect_err("has no name").problem, Problem::NoName);
    let empty = &mut |labels: &mut LabelsBuilder| {
        labels.remove("__name__");
        true
    };
    let outcome = Target::new().scrape_cut(b"a 1\n", &[], empty).expect("no labels: dropped");
    assert!(outcome.points.is_empty());
}

#[test]
fn limits_name_the_setting_and_the_line() {
    let none = Limits::default();
    let long = "v".repeat(10 << 20);
    let cases = [
        (
            Limits { body_size_limit: 10, ..none.clone() },
            "ok 1\nup 123456\n",
            "body_size_limit: 10",
            1,
        ),
        (Limits { sample_limit: 1, ..none.clone() }, "ok 1\nup 1\n", "sample_limit: 1", 2),
        (
            Limits { label_limit: 2, ..none.clone() },
            "ok{a=\"b\"} 1\nup{a=\"b\",c=\"d\"} 1\n",
            "label_limit exceeded (metric: up, number of labels: 3, limit: 2)",
            2,
        ),
        (
            Limits { label_name_length_limit: 8, ..none.clone() },
            "ok 1\nup{abcdefghi=\"b\"} 1\n",
            "label_name_length_limit exceeded (metric: up, label name: abcdefghi, length: 9, limit: 8)",
            2,
        ),
        (
            Limits { label_value_length_limit: 100, ..none.clone() },
            &format!("ok 1\nup{{a=\"{long}\"}} 1\n"),
            "label_value_length_limit exceeded (metric: up, label name: a, value: \"vvv",
            2,
        ),
        (
            Limits { line_length_limit: 1000, ..none.clone() },
            &format!("ok 1\nup{{a=\"{long}\"}} 1\n"),
            "line_length_limit (1000 bytes)",
            2,
        ),
    ];
    for (limits, body, want, line) in cases {
        let mut target = Target { limits: limits.clone(), ..Target::new() };
        for cuts in [&[][..], &[7, 20, 5000]] {
            let error = target.scrape_cut(body.as_bytes(), cuts, &mut |_| true).expect_err(want);
            let said = error.to_string();
            assert!(said.contains(want) && said.len() < 500, "{said}");
            assert!(error.line == line || want.contains("body_size"), "{said}");
        }
    }
}

#[test]
fn sparse_ids_begin_a_new_epoch() {
    let mut target = Target::new();
    let mut engine = Engine::default();
    let mut epochs = BTreeSet::new();
    for round in 0..30 {
        let body: String = (0..4_000).map(|no| format!("a{{x=\"{round}-{no}\"}} 1\n")).collect();
        let body = if round < 18 { body } else { "a 1\n".to_owned() };
        let batch = target.scrape(body.as_bytes()).expect("is good");
        engine.read(&batch);
        epochs.insert(batch.epoch);
    }
    assert_eq!(epochs.len(), 2, "72 000 ids, one alive");
}

/// Pieces from which bodies are put together, so that most are nearly good.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "up",
            "up{",
            "}",
            " ",
            "1",
            "\n",
            "\r\n",
            "a=\"b\"",
            ",",
            "\"",
            "\\",
            "# TYPE up gauge\n",
            "# EOF",
            "{\"x y\"}",
            " 1.5e3 17\n",
            "#",
            "\t",
            "NaN\n",
            "h{le=\"+Inf\"} 3\n",
            " # {} 1\n",
            "up 1\n",
            "up{a=\"b\"} 2 7\n",
            "b{c=\"\\\"\"} 3\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_cut_gives_the_same_batch(
        bodies in prop::collection::vec(pieces(), 1..4),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        openmetrics in any::<bool>(),
    ) {
        let format = if openmetrics { Format::OpenMetrics } else { Format::Text };
        let mut whole = Target { format, ..Target::keeping(&["up", "b", "x y"]) };
        let mut cut = Target { format, ..Target::keeping(&["up", "b", "x y"]) };
        for body in &bodies {
            let expected = whole.scrape(body);
            let got = cut.scrape_cut(body, &cuts, &mut |_| true);
            // As text, because a NaN is not equal to itself.
            prop_assert_eq!(format!("{got:?}"), format!("{expected:?}"));
        }
    }

    #[test]
    fn a_cache_changes_nothing_but_the_ids(bodies in prop::collection::vec(pieces(), 1..6)) {
        let mut target = Target::new();
        let mut engine = Engine::default();
        for body in &bodies {
            let fresh = samples(Format::Text, body);
            let cached = target.scrape(body).map(|batch| engine.read(&batch));
            prop_assert_eq!(cached, fresh);
        }
    }

    #[test]
    fn any_label_value_survives(value in "\\PC*|[\\\\\"\n{},=# ]*", at in any::<i32>()) {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let body = format!("x{{a=\"{escaped}\"}} 1 {at}\n");
        let batch = Target::new().scrape(body.as_bytes()).expect("is good");
        prop_assert_eq!(batch.new[0].1.get("a").unwrap_or(""), value);
        prop_assert_eq!(batch.points[0].at, Some(Timestamp(i64::from(at))));
    }
}
