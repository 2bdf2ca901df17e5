//! A page of metrics as the shell would scan it.

use crate::base::{Labels, LabelsBuilder, TargetId};
use crate::exposition::{Batch, Format, Limits, Scan, Selection, SeriesCache};

pub(super) fn labels_of(target: TargetId) -> Labels {
    Labels::from_pairs([("job", "j"), ("instance", &format!("i{}", target.0 % 2))])
}

pub(super) fn scan(
    cache: &mut SeriesCache,
    selection: &Selection,
    target: &Labels,
    page: &str,
) -> Batch {
    let limits = Limits::default();
    let mut admit = |labels: &mut LabelsBuilder| {
        for (name, value) in target.iter() {
            labels.set(name, value);
        }
        true
    };
    let mut scan = Scan::begin(cache, selection, Format::Text, &limits, &mut admit);
    scan.feed(page.as_bytes()).expect("a good page");
    scan.finish().expect("a whole page")
}
