//! Comments that allow a lint for one rule: `# plimsoll: allow short-range` above it.
//!
//! YAML does not keep comments, so they are read from the lines of the file.

use super::lint::lint_names;
use crate::base::{HashMap, closest};
use crate::yaml::{Position, Problem, Problems};

/// How such a comment begins.
const ALLOW: &str = "plimsoll: allow ";

/// The lints that comments allow, by file and line of the comment.
pub(super) struct Allowed<'a> {
    files: HashMap<&'a str, Vec<Line<'a>>>,
}

/// What one line is.
enum Line<'a> {
    /// A comment, with the lints it allows.
    Comment {
        whole: &'a str,
        names: Vec<&'a str>,
    },
    Other,
}

impl<'a> Allowed<'a> {
    /// Reads the comments of all files; one that names no lint is a problem.
    pub fn read(files: &'a [(String, String)], problems: &mut Problems) -> Allowed<'a> {
        let mut allowed = Allowed { files: HashMap::default() };
        for (file, text) in files {
            let lines: Vec<Line<'a>> = text.lines().map(read_line).collect();
            for (index, line) in lines.iter().enumerate() {
                let Line::Comment { whole, names } = line else { continue };
                let unknown_names = names.iter().filter(|name| lint_names().all(|l| l != **name));
                unknown_names.for_each(|name| problems.push(unknown(file, index + 1, whole, name)));
            }
            allowed.files.insert(file.as_str(), lines);
        }
        allowed
    }

    /// Whether the comments right above a line of a file allow this lint.
    pub fn holds(&self, file: &str, line: usize, lint: &str) -> bool {
        let lines = self.files.get(file).map_or(&[][..], Vec::as_slice);
        let above = lines.get(..line.saturating_sub(1)).unwrap_or_default().iter().rev();
        let comments = above.map_while(|line| match line {
            Line::Comment { names, .. } => Some(names),
            Line::Other => None,
        });
        comments.flatten().any(|name| *name == lint)
    }
}

fn read_line(line: &str) -> Line<'_> {
    let Some(comment) = line.trim_start().strip_prefix('#') else { return Line::Other };
    let words = comment.trim_start().strip_prefix(ALLOW).unwrap_or_default();
    let names = words.split([',', ' ']).filter(|name| !name.is_empty()).collect();
    Line::Comment { whole: line, names }
}

fn unknown(file: &str, line: usize, whole: &str, name: &str) -> Problem {
    // It is a part of the line.
    let byte = name.as_ptr().addr() - whole.as_ptr().addr();
    let at = Position { line, column: whole[..byte].chars().count() + 1 };
    let problem = Problem::in_file(file, at, format!("`{name}` is not a lint")).warning();
    match closest(name, lint_names()) {
        Some(lint) => problem.hint(format!("did you mean `{lint}`?")),
        None => problem.hint("`plimsoll check rules --lints` names them all"),
    }
}
