//! What one target may cost: pages without end, repeats, and series nobody wants.

use std::sync::Arc;

use super::*;

/// Feeds lines until they are refused, a million at most.
fn refused(target: &mut Target, line: impl Fn(usize) -> String) -> Option<ScanError> {
    let mut admit = |_: &mut LabelsBuilder| true;
    let mut scan = Scan::begin(
        &mut target.cache,
        &target.selection,
        target.format,
        &target.limits,
        &mut admit,
    );
    (0..1_000_000).find_map(|no| scan.feed(line(no).as_bytes()).err())
}

#[test]
fn a_line_that_never_ends_is_not_held() {
    let mut target = Target::new();
    target.limits.line_length_limit = 1 << 20;
    let refused = refused(&mut target, |_| "x".repeat(1 << 16)).expect("is refused");
    assert_eq!(refused.problem, Problem::LineLength(1 << 20));
}

#[test]
fn a_page_of_endless_series_is_refused_and_not_held() {
    let series = |no| format!("a{{x=\"{no}\"}} 1\n");
    let long = |no| format!("a{{x=\"{no}{}\"}} 1\n", "v".repeat(100_000));
    let told = |no| format!("# HELP a{no} {}\n", "v".repeat(100_000));
    let again = |no| format!("a 1 {no}\n");
    let mut target = Target::new();
    target.limits = Limits::default().within(500, 1 << 20);
    target.scrape(b"a 1\nb 2\n").expect("is good");
    for (problem, line) in [
        (Problem::SeriesLimit(1000), &series as &dyn Fn(usize) -> String),
        (Problem::SeriesBytes(1 << 20), &long),
        (Problem::SeriesBytes(1 << 20), &told),
        (Problem::Repeats(2000), &again),
    ] {
        let error = refused(&mut target, line).expect("an endless page is refused");
        assert_eq!(error.problem, problem);
        assert!(error.to_string().contains("window.max_"), "{error}");
        assert!(target.cache.heap_bytes() < 10_000, "{problem:?} {}", target.cache.heap_bytes());
        let batch = target.scrape(b"a 1\nb 2\n").expect("is good");
        assert_eq!(Engine::default().read_anew(&batch), ["a 1", "b 2"], "and nothing is stuck");
    }
}

#[test]
fn a_full_page_stays_good_and_families_nobody_reads_do_not_count() {
    let mut target = Target::keeping(&["a"]);
    target.limits = Limits::default().within(500, 1 << 20);
    let page = |round: usize| -> String {
        let kept = (0..500).map(|no| format!("a{{x=\"{round}-{no}\"}} 1\n"));
        kept.chain((0..5_000).map(|no| format!("b{{x=\"{no}\"}} 1\n"))).collect()
    };
    for round in 0..30 {
        let batch = target.scrape(page(round).as_bytes()).expect("has room");
        assert_eq!(batch.points.len(), 500, "{round}");
        assert!(target.cache.entries.len() <= 500, "what is gone makes room");
    }
}

#[test]
fn series_that_relabelling_drops_are_not_remembered_without_end() {
    let mut target = Target::new();
    target.limits = Limits::default().within(500, 1 << 20);
    let body: String = (0..50_000).map(|no| format!("a{{x=\"{no}\"}} 1\n")).collect();
    for _ in 0..3 {
        let batch = target.scrape_cut(body.as_bytes(), &[], &mut |_| false).expect("is good");
        assert_eq!((batch.stats.samples_kept, batch.stats.samples_post_relabel), (50_000, 0));
        assert!(target.cache.entries.len() <= 501);
    }
    let error = target.scrape_cut(b"b 1\na{x=\"y\"} one\n", &[], &mut |_| false);
    assert_eq!(error.expect_err("is still validated").line, 2);
}

#[test]
fn repeats_without_a_time_are_not_held() {
    let mut target = Target::new();
    for round in 0..2 {
        let batch = target.scrape("up 1\n".repeat(10_000).as_bytes()).expect("is good");
        assert_eq!((batch.points.len(), batch.stats.duplicates), (1, 9_999), "{round}");
        assert_eq!(batch.stats.samples_post_relabel, 10_000, "as Prometheus counts them");
        assert!(batch.points.capacity() < 10);
        target.scrape(b"up 1\nbad\n").expect_err("is bad");
    }
}

#[test]
fn all_caches_share_one_room_and_the_largest_gives_way() {
    let room = Arc::new(Room::default());
    let limits = Limits::default().within(100_000, 1 << 20);
    let mut targets = [(); 4].map(|()| {
        let cache = SeriesCache::within(&room);
        Target { cache, limits: limits.clone(), ..Target::new() }
    });
    let page = |series: usize| -> Vec<u8> {
        (0..series).flat_map(|no| format!("a{{x=\"{no}\"}} 1\n").into_bytes()).collect()
    };
    let held = |targets: &[Target]| -> usize {
        targets.iter().map(|target| target.cache.heap_bytes()).sum()
    };
    let [large, small] = [page(3_000), page(500)];
    targets[0].scrape(&large).expect("there is room");
    let error = targets[1].scrape(&large).map(drop).expect_err("two of these are too much");
    assert_eq!(error.problem, Problem::SeriesBytes(1 << 20));
    assert!(error.to_string().contains("window.max_bytes"), "{error}");
    for target in &mut targets[1..] {
        target.scrape(&small).expect("a small one is failed for no other");
    }
    targets[0].scrape(&large).map(drop).expect_err("the largest gives way");
    for round in 0..3 {
        for target in &mut targets[1..] {
            target.scrape(&small).expect("the small ones stay");
        }
        targets[0].scrape(&large).map(drop).expect_err("as long as there is no room");
        assert!(held(&targets) < 1 << 20, "{round}: {}", held(&targets));
    }
    targets[0].scrape(&page(1_500)).expect("what fits is taken");
    drop(std::mem::take(&mut targets[3].cache));
    targets[0].scrape(&page(2_000)).expect("what is gone gives its room back");
}
