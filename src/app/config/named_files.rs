//! Files of credentials and certificates that sections name: whether they are there.
//!
//! They are read again at each use, so that a rotated secret needs no reload; but a name that leads
//! nowhere on the day the configuration is read is a mistake in it. What is inside is not looked at.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::yaml::{Node, Problem, Problems};

/// The keys that name a file, by the section they stand in.
const KEYS: [(&str, &[&str]); 3] = [
    ("basic_auth", &["username_file", "password_file"]),
    ("authorization", &["credentials_file"]),
    ("tls_config", &["ca_file", "cert_file", "key_file"]),
];

/// The sections of which each item has such keys.
const LISTS: [&str; 3] = ["scrape_configs", "alerting.alertmanagers", "gates"];
/// The sections that have them themselves.
const SINGLE: [&str; 3] = ["docker", "plans_from", "tenants_from"];
/// Files that stand in no such section. Of the Control Plane's others, whoever reads them tells.
const OTHERS: [&str; 3] = ["mail.ca_file", "mail.password_file", "control_plane.bearer_token_file"];

/// Where systemd puts what `LoadCredential=` names, in a folder for each service, while it runs.
const CREDENTIALS: &str = "/run/credentials";
/// What to know of one that is not there.
pub(super) const YET_TO_COME: &str = "systemd puts it there for the service while it runs";

/// Reports every such file of the document `node` that cannot be read, where it is named. Relative
/// paths start at `base`.
pub(super) fn check(name: &str, node: &Node, base: &Path, problems: &mut Problems) {
    let at = |path: &str| path.split('.').try_fold(node, |node, key| node.get(key));
    let mut named: Vec<(String, &Node)> = Vec::new();
    for path in LISTS {
        for (index, item) in at(path).into_iter().flat_map(Node::items).enumerate() {
            named.extend(files_of(&format!("{path}[{index}]"), item));
        }
    }
    for path in SINGLE {
        named.extend(at(path).into_iter().flat_map(|item| files_of(path, item)));
    }
    named.extend(OTHERS.iter().filter_map(|path| Some(((*path).to_owned(), at(path)?))));
    for (path, file) in named {
        // Of an empty one its reader has told.
        let Some(place) = file.text().filter(|text| !text.is_empty()).map(|text| base.join(text))
        else {
            continue;
        };
        if let Some(why) = unreadable(&place) {
            let problem = Problem::in_file(name, file.at, format!("{path}: {why}"));
            let problem = match is_yet_to_come(&place) {
                true => problem.warning().hint(YET_TO_COME),
                false => problem.awaiting_file(),
            };
            problems.push(Problem { path, ..problem });
        }
    }
}

/// The files that the item at `path` names, each with its own path.
fn files_of<'n>(path: &str, item: &'n Node) -> Vec<(String, &'n Node)> {
    let keys = KEYS.iter().flat_map(|(section, keys)| keys.iter().map(move |key| (section, key)));
    let named = keys.filter_map(|(section, key)| {
        Some((format!("{path}.{section}.{key}"), item.get(section)?.get(key)?))
    });
    named.collect()
}

/// Whether it is a credential of a service that does not run: nobody but its process has it.
pub(super) fn is_yet_to_come(path: &Path) -> bool {
    let Ok(below) = path.strip_prefix(CREDENTIALS) else { return false };
    let mut names = below.components();
    let (Some(service), Some(_)) = (names.next(), names.next()) else { return false };
    let folder = fs::metadata(Path::new(CREDENTIALS).join(service));
    folder.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
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
