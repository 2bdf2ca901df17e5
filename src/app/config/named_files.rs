//! Files of credentials and certificates that jobs and Alertmanagers name: whether they are there.
//!
//! They are read again at each use, so that a rotated secret needs no reload; but a name that leads
//! nowhere on the day the configuration is read is a mistake in it. What is inside is not looked at.

use std::fs::{self, File};
use std::path::Path;

use crate::yaml::{Node, Problem, Problems};

/// The keys that name a file, by the section they stand in.
const KEYS: [(&str, &[&str]); 3] = [
    ("basic_auth", &["username_file", "password_file"]),
    ("authorization", &["credentials_file"]),
    ("tls_config", &["ca_file", "cert_file", "key_file"]),
];

/// Reports every such file of the document `node` that cannot be read, where it is named. Relative
/// paths start at `base`.
pub(super) fn check(name: &str, node: &Node, base: &Path, problems: &mut Problems) {
    let jobs = node.get("scrape_configs");
    let alertmanagers = node.get("alerting").and_then(|alerting| alerting.get("alertmanagers"));
    for (path, list) in [("scrape_configs", jobs), ("alerting.alertmanagers", alertmanagers)] {
        for (index, item) in list.into_iter().flat_map(Node::items).enumerate() {
            for (key, file) in files_of(item) {
                let text = file.text();
                let Some(why) = text.and_then(|text| unreadable(&base.join(text))) else {
                    continue;
                };
                let path = format!("{path}[{index}].{key}");
                let problem = Problem::in_file(name, file.at, format!("{path}: {why}"));
                problems.push(Problem { path, ..problem });
            }
        }
    }
}

/// The files that a job or an Alertmanager names, each with its key.
fn files_of(item: &Node) -> impl Iterator<Item = (String, &Node)> {
    let keys = KEYS.iter().flat_map(|(section, keys)| keys.iter().map(move |key| (section, key)));
    keys.filter_map(|(section, key)| {
        Some((format!("{section}.{key}"), item.get(section)?.get(key)?))
    })
}

fn unreadable(path: &Path) -> Option<String> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Some(format!("`{shown}` is a directory, not a file")),
        // A pipe would wait for its writer.
        Ok(metadata) if !metadata.is_file() => None,
        Ok(_) => File::open(path).err().map(|error| format!("`{shown}` cannot be read: {error}")),
        Err(error) => Some(format!("`{shown}` cannot be read: {error}")),
    }
}
