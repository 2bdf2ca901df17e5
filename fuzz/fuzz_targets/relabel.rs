//! Any rule is refused or applied without trouble, and the answer to "does it care about names" is
//! true: on that answer stands which lines of a body are read at all.
//!
//! Seven lines make a rule (action, regex, replacement, target label, separator, modulus, source
//! labels), as many rules as there are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll::base::{Labels, LabelsBuilder, METRIC_NAME};
use plimsoll::relabel::{Rule, RuleSpec, apply, reads_or_writes_name};

fuzz_target!(|input: &str| {
    let lines: Vec<&str> = input.lines().collect();
    let rules: Vec<Rule> =
        lines.chunks_exact(7).take(4).filter_map(|lines| Rule::new(spec(lines)).ok()).collect();
    let (a, b) = (relabelled(&rules, "a_total"), relabelled(&rules, "b"));
    if !reads_or_writes_name(&rules) {
        assert_eq!(a.is_some(), b.is_some());
        if let (Some(a), Some(b)) = (a, b) {
            assert_eq!((a.metric_name(), b.metric_name()), ("a_total", "b"));
            assert_eq!(a.without_name(), b.without_name());
        }
    }
});

fn spec(lines: &[&str]) -> RuleSpec {
    let written = |line: &str| (!line.is_empty()).then(|| line.to_owned());
    RuleSpec {
        action: written(lines[0]),
        regex: written(lines[1]),
        replacement: written(lines[2]),
        target_label: written(lines[3]),
        separator: written(lines[4]),
        modulus: lines[5].parse().ok(),
        source_labels: written(lines[6]).map(|line| line.split(' ').map(str::to_owned).collect()),
    }
}

fn relabelled(rules: &[Rule], name: &str) -> Option<Labels> {
    let pairs =
        [(METRIC_NAME, name), ("instance", "10.0.0.7:8080"), ("job", "cadvisor"), ("é", "ß")];
    let mut labels = LabelsBuilder::from(&Labels::from_pairs(pairs));
    apply(rules, &mut labels).then(|| labels.build())
}
