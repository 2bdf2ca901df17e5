//! Any file is a rule file or a list of problems with places in it; what loads is ordered, and
//! what its rules read is known.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use plimsoll::promql::ParseOptions;
use plimsoll::rules::{LintOptions, check, load, order, reads, rule_order};

fuzz_target!(|text: &str| {
    let files = [("fuzz.yml".to_owned(), text.to_owned())];
    let (groups, problems) = load(&files, &ParseOptions::default());
    // YAML ends lines at returns, too.
    let lines = text.matches(['\n', '\r']).count() + 1;
    for problem in problems.iter() {
        assert!((1..=lines).contains(&problem.line), "{problem}");
        assert!(problem.column > 0 && !problem.message.is_empty(), "{problem}");
    }
    let options = LintOptions {
        scrape_interval: Duration::from_secs(15),
        evaluation_interval: Duration::from_secs(60),
        window_bytes: 64 << 20,
        exposed: None,
        disabled: Vec::new(),
        promql: ParseOptions::default(),
    };
    let linted = check(&files, &options);
    assert_eq!(linted.has_errors(), problems.has_errors());
    let mut ordered = order(&groups.iter().collect::<Vec<_>>());
    ordered.sort_unstable();
    assert!(ordered.into_iter().eq(0..groups.len()));
    for group in &groups {
        let mut ordered = rule_order(group);
        ordered.sort_unstable();
        assert!(ordered.into_iter().eq(0..group.rules.len()));
    }
    let _ = reads(&groups);
});
