//! What the tests share that drive the pure engine: a configuration from text, and a page as a batch.

use std::path::Path;

use plimsoll::app::config::Config;
use plimsoll::app::engine_setup;
use plimsoll::base::{Labels, LabelsBuilder};
use plimsoll::engine::Setup;
use plimsoll::exposition::{Batch, Format, Limits, Scan, Selection, SeriesCache, m2};
use plimsoll::outbox::OutboxConfig;
use plimsoll::promql::ParseOptions;
use plimsoll::rules;
use plimsoll::scrape::add_target_labels;
use plimsoll::yaml::Problems;

/// The Docker host of every test.
pub const HOST: &str = "web-7";

/// The setup of a configuration, with these rule files (name, text) in place of its own, and with an
/// edge lane (a configured one would need its secret's file).
pub fn setup(config: &str, rule_files: &[(String, String)]) -> Setup {
    let mut problems = Problems::default();
    let config = Config::read("plimsoll.yaml", config, Path::new("/"), &mut problems);
    assert!(!problems.has_errors(), "{problems}");
    let mut config = config.expect("without errors there is a configuration");
    let (groups, problems) = rules::load(rule_files, &ParseOptions::default());
    assert!(!problems.has_errors(), "{problems}");
    config.groups = groups;
    let outbox = OutboxConfig { host: HOST.to_owned(), ..OutboxConfig::default() };
    Setup { outbox: Some(outbox), ..engine_setup(&config, HOST) }
}

/// Scans a page as the scraper does: the target's labels on every series, M2's quirks made even.
pub fn scan(
    cache: &mut SeriesCache,
    selection: &Selection,
    target: &Labels,
    body: &[u8],
) -> Result<Batch, String> {
    let vhost_labels = ["vhost".to_owned(), "host".to_owned()];
    let limits = Limits::default();
    let mut admit = |labels: &mut LabelsBuilder| {
        m2::normalise(labels, &vhost_labels);
        add_target_labels(labels, target, false);
        true
    };
    let mut scan = Scan::begin(cache, selection, Format::Text, &limits, &mut admit);
    for chunk in body.chunks(16 << 10) {
        scan.feed(chunk).map_err(|error| error.to_string())?;
    }
    scan.finish().map_err(|error| error.to_string())
}
