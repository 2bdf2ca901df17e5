//! The configuration under which both replays run: the tenants of the recorded host, and plans of
//! the size its containers had (an eighth of the real ones).

use plimsoll::engine::Setup;
use plimsoll::policy::Measurers;

use super::support;

const CONFIG: &str = "
global: {scrape_interval: 5s, evaluation_interval: 5s}
host: web-7
trust_labels: true
tenants:
  - match: {name: '(acme|globex|initech|cyberdyne|umbrella|stark|wayne|hooli|piper|aviato)-.*'}
    tenant: '$1'
    role: app
plans:
  free: {mem_limit: 64MiB, mem_soft: 32MiB, cpu_limit: 0.0625}
  pro: {mem_limit: 256MiB, mem_soft: 128MiB, cpu_limit: 0.1875}
  enterprise: {mem_limit: 1GiB, mem_soft: 512MiB, cpu_limit: 0.5}
alerting: {alertmanagers: [{static_configs: [{targets: ['127.0.0.1:9093']}]}]}
";

/// The shipped rules; every `for` of 10 minutes and more cut to `percent` of it, to fit a recording.
pub fn shipped_rules(percent: u32) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for name in ["containers", "m2", "plimsoll"] {
        let path = format!("{}/rules/{name}.yml", env!("CARGO_MANIFEST_DIR"));
        let mut text = std::fs::read_to_string(&path).expect("the rules are part of the tree");
        for minutes in [10, 15, 30] {
            let seconds = minutes * 60 * percent / 100;
            text = text.replace(&format!("for: {minutes}m\n"), &format!("for: {seconds}s\n"));
        }
        files.push((format!("rules/{name}.yml"), text));
    }
    files
}

/// The recorded host under the shipped rules, hurried like [`shipped_rules`].
pub fn recorded_host(percent: u32) -> Setup {
    recorded_under(&shipped_rules(percent))
}

/// The recorded host under these rule files.
pub fn recorded_under(rules: &[(String, String)]) -> Setup {
    let mut setup = support::setup(CONFIG, rules);
    // The targets are the test's own, and one of them is what a collector would have told.
    setup.identity.as_mut().expect("there are tenants").measurers = Measurers::Unnamed;
    setup
}
