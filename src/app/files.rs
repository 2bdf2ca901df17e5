//! Files the program reads by itself: rule files by pattern, and the rules it carries within.

use std::path::{Path, PathBuf};

use crate::rules::glob_matches;

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
/// Wildcards stand for names in a folder (`*`, `?`, `[a-z]`), as Go's `filepath.Glob` has them.
pub fn expand(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![base.join(pattern)]);
    }
    glob_matches(pattern, "")?;
    let full = base.join(pattern);
    let mut found = vec![PathBuf::new()];
    for part in full.components() {
        let part = part.as_os_str().to_string_lossy().into_owned();
        if !part.contains(['*', '?', '[']) {
            found.iter_mut().for_each(|path| path.push(&part));
            continue;
        }
        let folders = std::mem::take(&mut found);
        for folder in folders {
            let Ok(entries) = std::fs::read_dir(if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &folder
            }) else {
                continue;
            };
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if glob_matches(&part, &name)? {
                    found.push(folder.join(&name));
                }
            }
        }
    }
    found.retain(|path| path.exists());
    found.sort();
    Ok(found)
}

/// Replaces a file whole: whoever opens it sees the old or the new one. Not durable by itself.
pub fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, bytes)?;
    std::fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    #[test]
    fn built_in_rules_are_good_rules() {
        let (groups, problems) = rules::load(&built_in_rules());
        assert!(problems.is_empty(), "{problems}");
        assert!(groups.iter().map(|group| group.rules.len()).sum::<usize>() > 10);
    }

    #[test]
    fn patterns_expand_in_order() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["b.yml", "a.yml", "c.yaml", "sub/d.yml"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
            std::fs::write(path, "").expect("written");
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
}
