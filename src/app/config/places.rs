//! Where the plimsoll of a configuration file is, or what it left, whatever else stands in the file:
//! that may be an edit that is not in force, or name secrets that only the service can read.

use std::fs;
use std::io;
use std::path::Path;

use super::super::files;
use super::{Config, DEFAULT_FILE, StorageConfig, WebConfig};
use crate::yaml::{Cursor, Fields, Problems, parse};

/// What a command needs to find it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Places {
    /// Where state lives.
    pub storage: StorageConfig,
    /// Where it listens.
    pub web: WebConfig,
}

impl Config {
    /// Where it listens and where its state lives.
    pub fn places_of(path: &Path) -> Result<Places, Problems> {
        if is_absent(path) {
            return Ok(Places::default());
        }
        let base = path.parent().unwrap_or(Path::new(""));
        sections_of(path, |fields| Places {
            storage: fields
                .optional("storage", |at| StorageConfig::read(at, base))
                .unwrap_or_default(),
            web: fields.optional("web", WebConfig::read).unwrap_or_default(),
        })
    }

    /// Where it listens.
    pub fn web_of(path: &Path) -> Result<WebConfig, Problems> {
        sections_of(path, |fields| fields.optional("web", WebConfig::read).unwrap_or_default())
    }
}

/// What `read` takes of the document; its other sections may be anything.
fn sections_of<T>(path: &Path, read: impl FnOnce(&mut Fields<'_, '_>) -> T) -> Result<T, Problems> {
    let name = path.display().to_string();
    let mut problems = Problems::default();
    let node = match files::read(path) {
        Ok(text) => parse(&name, &text, &mut problems),
        Err(unreadable) => {
            problems.push(unreadable.problem(path));
            None
        }
    };
    let fields =
        node.as_ref().and_then(|node| Fields::open(Cursor::root(&name, node, &mut problems)));
    let found = fields.map(|mut fields| read(&mut fields));
    found.filter(|_| !problems.has_errors()).ok_or(problems)
}

/// Whether the defaults stand for this file: nobody named another, and there is none. One that cannot be
/// read, or a link that leads nowhere, is a mistake and no wish for the defaults.
pub fn is_absent(path: &Path) -> bool {
    path == Path::new(DEFAULT_FILE) && is_gone(path)
}

fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only a name that nothing has stands for the defaults: they would take everything away.
    #[test]
    fn a_file_that_is_there_and_cannot_be_read_is_not_replaced_by_the_defaults() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = |name: &str| dir.path().join(name);
        std::os::unix::fs::symlink("gone", file("dangling")).expect("made");
        fs::write(file("file"), "").expect("written");
        assert!(is_gone(&file("none")));
        for there in ["dangling", "file", "file/below"] {
            assert!(!is_gone(&file(there)), "{there}");
        }
    }
}
