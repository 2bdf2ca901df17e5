//! Files the program reads by itself: rule files by pattern, and the rules it carries within.

use std::fs::{self, File};
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::rules::glob_matches;
use crate::yaml::{Position, Problem};

/// The largest text that is read: a hundred times the largest rule file known, and small enough to
/// refuse before it hurts.
const MAX_BYTES: u64 = 16 << 20;

/// Why a file cannot be read, and where in it, if that can be said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// The first byte that is not text.
    pub at: Option<Position>,
    /// What is wrong, for people.
    pub why: String,
}

impl Unreadable {
    /// The same as a problem of that file.
    pub fn problem(self, path: &Path) -> Problem {
        let at = self.at.unwrap_or(Position { line: 1, column: 1 });
        Problem::in_file(&path.display().to_string(), at, self.why)
    }
}

/// Reads a text whole. Only regular files: a pipe or a device could keep the program waiting.
pub fn read(path: &Path) -> Result<String, Unreadable> {
    let bad = |why: String| Unreadable { at: None, why };
    let refused = |error: std::io::Error| bad(format!("cannot be read: {error}"));
    let about = fs::metadata(path).map_err(refused)?;
    if about.is_dir() {
        return Err(bad("is a directory, not a file".to_owned()));
    }
    if !about.is_file() {
        return Err(bad("is not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(refused)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(bad(format!("is larger than {} MiB", MAX_BYTES >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
        let line = text.rsplit('\n').next().unwrap_or_default();
        let at =
            Position { line: text.matches('\n').count() + 1, column: line.chars().count() + 1 };
        let byte = error.as_bytes()[good];
        Unreadable { at: Some(at), why: format!("is not UTF-8: byte 0x{byte:02x}") }
    })
}

/// The rules that load when no `rule_files` are named, with the names they have in the source.
pub fn built_in_rules() -> Vec<(String, String)> {
    [
        ("rules/containers.yml", include_str!("../../rules/containers.yml")),
        ("rules/m2.yml", include_str!("../../rules/m2.yml")),
        ("rules/plimsoll.yml", include_str!("../../rules/plimsoll.yml")),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .to_vec()
}

/// The files a pattern matches, in order. A pattern without wildcards is itself, there or not.
/// Wildcards stand for names in a folder (`*`, `?`, `[a-z]`), as Go's `filepath.Glob` has them; but where a
/// folder could not be looked into and nothing else was found, that is said: there may be something in it.
pub fn expand(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![base.join(pattern)]);
    }
    glob_matches(pattern, "")?;
    let full = base.join(pattern);
    let mut unseen = None;
    let mut found = vec![PathBuf::new()];
    for part in full.components() {
        let part = part.as_os_str().to_string_lossy().into_owned();
        if !part.contains(['*', '?', '[']) {
            found.iter_mut().for_each(|path| path.push(&part));
            continue;
        }
        let folders = std::mem::take(&mut found);
        for folder in folders {
            let place = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
            let entries = match fs::read_dir(place) {
                Ok(entries) => entries,
                Err(error) if matches!(error.kind(), NotFound | NotADirectory) => continue,
                Err(error) => {
                    let place = place.display();
                    unseen.get_or_insert(format!("`{pattern}`: `{place}` cannot be read: {error}"));
                    continue;
                }
            };
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if glob_matches(&part, &name)? {
                    found.push(folder.join(&name));
                }
            }
        }
    }
    // A link that leads nowhere is a name that matches; whoever reads it says what is wrong.
    found.retain(|path| fs::symlink_metadata(path).is_ok());
    found.sort();
    match unseen {
        Some(why) if found.is_empty() => Err(why),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    #[test]
    fn built_in_rules_are_good_rules() {
        let (groups, problems) =
            rules::load(&built_in_rules(), &crate::promql::ParseOptions::default());
        assert!(problems.is_empty(), "{problems}");
        assert!(groups.iter().map(|group| group.rules.len()).sum::<usize>() > 10);
    }

    #[test]
    fn what_cannot_be_read_says_why_and_where() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        let why = |name: &str| read(&path(name)).expect_err(name);
        fs::write(path("latin1.yml"), b"a: 1\nb: \xc3\xa4\xe4\n").expect("written");
        let at = Some(Position { line: 2, column: 5 });
        assert_eq!(why("latin1.yml"), Unreadable { at, why: "is not UTF-8: byte 0xe4".to_owned() });
        fs::create_dir(path("folder")).expect("made");
        assert_eq!(why("folder").why, "is a directory, not a file");
        assert_eq!(why("gone").why, "cannot be read: No such file or directory (os error 2)");
        let large = File::create(path("large")).expect("made");
        large.set_len(MAX_BYTES + 1).expect("sparse");
        assert_eq!(why("large").why, "is larger than 16 MiB");
        assert_eq!(read(Path::new("/dev/zero")).expect_err("endless").why, "is not a regular file");
    }

    #[test]
    fn patterns_expand_in_order() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["b.yml", "a.yml", "c.yaml", "sub/d.yml"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("has one")).expect("made");
            fs::write(path, "").expect("written");
        }
        let names = |pattern: &str| -> Vec<String> {
            let found = expand(dir.path(), pattern).expect(pattern);
            let strip = |path: &PathBuf| {
                path.strip_prefix(dir.path()).expect("inside").display().to_string()
            };
            found.iter().map(strip).collect()
        };
        assert_eq!(names("*.yml"), ["a.yml", "b.yml"]);
        assert_eq!(names("*/*.yml"), ["sub/d.yml"]);
        assert_eq!(names("no*"), [""; 0]);
        assert_eq!(names("missing.yml"), ["missing.yml"], "to be reported as missing");
        assert!(expand(dir.path(), "[").is_err());
    }

    /// Rules that are there and cannot be had are not rules that nobody wrote.
    #[test]
    fn a_match_that_leads_nowhere_is_a_match_and_a_folder_that_cannot_be_read_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, path(name)).expect("made");
        link("gone", "a.yml");
        fs::write(path("b.yml"), "").expect("written");
        assert_eq!(expand(dir.path(), "*.yml"), Ok(vec![path("a.yml"), path("b.yml")]));
        assert_eq!(expand(dir.path(), "*/x.yml"), Ok(Vec::new()), "files are no folders");
        link("loop", "loop");
        let why = expand(dir.path(), "loop/*.yml").expect_err("nobody can look into it");
        assert!(why.contains("loop` cannot be read: ") && why.starts_with("`loop/*.yml`"), "{why}");
        assert_eq!(expand(dir.path(), "none/*.yml"), Ok(Vec::new()));
        assert_eq!(expand(dir.path(), "lo*/*.yml"), Err(why.replace("loop/*", "lo*/*")));
        assert_eq!(expand(dir.path(), "[bl]*"), Ok(vec![path("b.yml"), path("loop")]));
    }
}
