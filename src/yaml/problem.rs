//! A problem in a file, and the list of all of them.

use std::fmt;

use serde::Serialize;

use super::node::Position;

/// Whether a file with the problem can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It cannot.
    Error,
    /// It can, but something does not do what it seems to.
    Warning,
}

/// One thing that is wrong in a file. Shown as `rules/a.yml:4:13: message; hint`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// The file as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Where in the document: `groups[0].rules[1].expr`; empty for the document itself.
    pub path: String,
    /// What is wrong; names the key or rule it is about, so that it stands alone.
    pub message: String,
    /// What to write instead, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the file can be used all the same.
    pub level: Level,
    /// Whether it is over once a file can be read that another program writes, as an agent writes credentials.
    #[serde(skip)]
    pub awaits_file: bool,
}

/// The problems found so far, over one file or many.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problem {
    /// An error about a whole file.
    pub fn in_file(file: &str, at: Position, message: impl Into<String>) -> Problem {
        Problem {
            file: file.to_owned(),
            line: at.line,
            column: at.column,
            path: String::new(),
            message: message.into(),
            hint: None,
            level: Level::Error,
            awaits_file: false,
        }
    }

    /// The same, of a file that may be readable a moment later.
    pub fn awaiting_file(self) -> Problem {
        Problem { awaits_file: true, ..self }
    }

    /// The same with a hint.
    pub fn hint(self, hint: impl Into<String>) -> Problem {
        Problem { hint: Some(hint.into()), ..self }
    }

    /// The same as a warning.
    pub fn warning(self) -> Problem {
        Problem { level: Level::Warning, ..self }
    }
}

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    /// Adds all of another list.
    pub fn extend(&mut self, others: Problems) {
        self.list.extend(others.list);
    }

    /// In the order they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// Whether there are none, not even warnings.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are, warnings included.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether any of them is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.level == Level::Error)
    }

    /// Whether there are errors, and each may pass by itself: a file that another program has yet to write.
    pub fn await_files(&self) -> bool {
        let mut errors = self.list.iter().filter(|problem| problem.level == Level::Error);
        self.has_errors() && errors.all(|problem| problem.awaits_file)
    }

    /// Brings the problems of each file into the order of its lines; files stay in their order of
    /// first mention.
    pub fn sort(&mut self) {
        let mut files: Vec<String> = Vec::new();
        for problem in &self.list {
            if !files.contains(&problem.file) {
                files.push(problem.file.clone());
            }
        }
        let rank = |file: &str| files.iter().position(|f| f == file);
        self.list.sort_by_key(|problem| (rank(&problem.file), problem.line, problem.column));
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if self.level == Level::Warning {
            f.write_str("warning: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// One problem a line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.iter().try_for_each(|problem| writeln!(f, "{problem}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_read_as_editors_expect_and_sort_by_line() {
        let at = |line, column| Position { line, column };
        let mut problems = Problems::default();
        problems.push(Problem::in_file("b.yml", at(9, 2), "late").hint("go earlier"));
        problems.push(Problem::in_file("a.yml", at(1, 1), "other file"));
        problems.push(Problem::in_file("b.yml", at(2, 7), "lost").warning());
        assert!(problems.has_errors());
        problems.sort();
        assert_eq!(
            problems.to_string(),
            "b.yml:2:7: warning: lost\nb.yml:9:2: late; go earlier\na.yml:1:1: other file\n"
        );
        assert_eq!(
            serde_json::to_string(problems.iter().next().expect("three")).expect("plain data"),
            r#"{"file":"b.yml","line":2,"column":7,"path":"","message":"lost","level":"warning"}"#
        );
    }

    #[test]
    fn warnings_alone_are_no_errors() {
        let mut problems = Problems::default();
        problems.push(Problem::in_file("a", Position { line: 1, column: 1 }, "x").warning());
        assert!(!problems.has_errors() && !problems.is_empty());
    }
}
