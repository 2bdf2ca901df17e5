//! Reading a map key by key, with everything that is wrong on one list.

use std::fmt::Display;

use super::node::{Key, Kind, Node, Position};
use super::problem::{Problem, Problems};
use crate::base::closest;

/// A node, the way to it, and where to complain. A reader is a function from this to a value:
/// `None` after it has reported why.
pub struct Cursor<'n, 'p> {
    /// The node.
    pub node: &'n Node,
    file: &'n str,
    path: String,
    problems: &'p mut Problems,
}

impl<'n, 'p> Cursor<'n, 'p> {
    /// The document itself.
    pub fn root(file: &'n str, node: &'n Node, problems: &'p mut Problems) -> Cursor<'n, 'p> {
        Cursor { node, file, path: String::new(), problems }
    }

    /// The file as the user named it.
    pub fn file(&self) -> &'n str {
        self.file
    }

    /// The way to this node: `groups[0].rules[1].expr`; empty for the document.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// An error at this node. The message is put behind the path.
    pub fn error(&mut self, message: impl Display) {
        let problem = self.problem(self.node.at, message);
        self.problems.push(problem);
    }

    /// An error at this node that says what to write instead.
    pub fn error_hint(&mut self, message: impl Display, hint: impl Into<String>) {
        let problem = self.problem(self.node.at, message).hint(hint);
        self.problems.push(problem);
    }

    /// A warning at this node.
    pub fn warning(&mut self, message: impl Display) {
        let problem = self.problem(self.node.at, message).warning();
        self.problems.push(problem);
    }

    /// A problem at any place in this file, under this path, ready to be pushed.
    pub fn problem(&self, at: Position, message: impl Display) -> Problem {
        let prefix = if self.path.is_empty() { "" } else { ": " };
        let message = format!("{}{prefix}{message}", self.path);
        Problem { path: self.path.clone(), ..Problem::in_file(self.file, at, message) }
    }

    /// Adds a problem as it is, for those whose message has its own beginning.
    pub fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The same place again, so that one node can be read twice.
    pub fn again(&mut self) -> Cursor<'n, '_> {
        Cursor {
            node: self.node,
            file: self.file,
            path: self.path.clone(),
            problems: self.problems,
        }
    }

    /// Reads every item of a list; items that do not read are left out. Nothing is an empty list.
    pub fn each_item<T>(
        &mut self,
        mut read: impl FnMut(Cursor<'n, '_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items: &'n [Node] = match &self.node.kind {
            Kind::Seq(items) => items,
            Kind::Null => &[],
            Kind::Scalar(scalar) => {
                let hint = format!("write `[{}]`", scalar.text);
                self.error_hint("must be a list, not a single value", hint);
                return None;
            }
            Kind::Map(_) => {
                self.error("must be a list, not a map");
                return None;
            }
        };
        let read = |(index, node)| read(self.child(node, format!("[{index}]")));
        Some(items.iter().enumerate().filter_map(read).collect())
    }

    /// Reads every entry of a map whose keys are names the user chose. Nothing is an empty map.
    pub fn each_entry<T>(
        &mut self,
        mut read: impl FnMut(&'n Key, Cursor<'n, '_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let entries: &'n [(Key, Node)] = match &self.node.kind {
            Kind::Map(entries) => entries,
            Kind::Null => &[],
            Kind::Scalar(_) | Kind::Seq(_) => {
                self.error(format!("must be a map, not {}", self.node.describe()));
                return None;
            }
        };
        let read = |(key, node): &'n (Key, Node)| read(key, self.child(node, step(&key.text)));
        Some(entries.iter().filter_map(read).collect())
    }

    fn child(&mut self, node: &'n Node, step: String) -> Cursor<'n, '_> {
        let path = format!("{}{step}", self.path);
        let path = path.strip_prefix('.').map(str::to_owned).unwrap_or(path);
        Cursor { node, file: self.file, path, problems: self.problems }
    }
}

/// `.key`, or `["a key"]` where a dot would mislead.
fn step(key: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(is_word) {
        format!(".{key}")
    } else {
        format!("[{key:?}]")
    }
}

/// A map whose keys are known to the program. Ask for each key once, then [`Fields::finish`], which
/// reports the keys nobody asked for.
#[must_use = "`finish` reports the unknown keys"]
pub struct Fields<'n, 'p> {
    at: Cursor<'n, 'p>,
    entries: &'n [(Key, Node)],
    asked: Vec<&'static str>,
}

impl<'n, 'p> Fields<'n, 'p> {
    /// Opens a map. Nothing is an empty map.
    pub fn open(mut at: Cursor<'n, 'p>) -> Option<Fields<'n, 'p>> {
        let entries: &'n [(Key, Node)] = match &at.node.kind {
            Kind::Map(entries) => entries,
            Kind::Null => &[],
            Kind::Scalar(_) | Kind::Seq(_) => {
                at.error(format!("must be a map, not {}", at.node.describe()));
                return None;
            }
        };
        Some(Fields { at, entries, asked: Vec::new() })
    }

    /// Reads a key that may be absent. A key without a value is absent, as in Prometheus.
    pub fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Cursor<'n, '_>) -> Option<T>,
    ) -> Option<T> {
        let node = self.ask(key)?;
        if node.kind == Kind::Null { None } else { read(self.at.child(node, step(key))) }
    }

    /// Reads a key that must be there. `None` also when its value does not read.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Cursor<'n, '_>) -> Option<T>,
    ) -> Option<T> {
        match self.ask(key) {
            Some(node) if node.kind != Kind::Null => read(self.at.child(node, step(key))),
            _ => {
                let at = self.key_at(key).unwrap_or(self.at.node.at);
                let problem = self.at.problem(at, format!("`{key}` is missing"));
                self.at.push(problem);
                None
            }
        }
    }

    /// Reads a key, or takes a value in its place.
    pub fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(Cursor<'n, '_>) -> Option<T>,
    ) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// Reads a list; absent it is empty, items that do not read are left out.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        read: impl FnMut(Cursor<'n, '_>) -> Option<T>,
    ) -> Vec<T> {
        self.optional(key, |mut at| at.each_item(read)).unwrap_or_default()
    }

    /// A key that Prometheus knows and plimsoll lacks: a warning that says what is lost.
    pub fn unsupported(&mut self, key: &'static str, lost: &str) {
        if self.ask(key).is_some() {
            let at = self.key_at(key).unwrap_or(self.at.node.at);
            let problem = self.at.problem(at, format!("`{key}` is not supported: {lost}"));
            self.at.push(problem.warning());
        }
    }

    /// Whether a key is there with a value. Does not count as asking for it.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(k, node)| k.text == key && node.kind != Kind::Null)
    }

    /// Where a key stands.
    pub fn key_at(&self, key: &str) -> Option<Position> {
        self.entries.iter().find(|(k, _)| k.text == key).map(|(k, _)| k.at)
    }

    /// The map itself, for checks that look at several keys.
    pub fn cursor(&mut self) -> &mut Cursor<'n, 'p> {
        &mut self.at
    }

    /// Reports every key that was not asked for.
    pub fn finish(mut self) {
        for (key, _) in self.entries {
            if self.asked.contains(&key.text.as_str()) {
                continue;
            }
            let problem = self.at.problem(key.at, format!("unknown key `{}`", key.text));
            let hint = match closest(&key.text, self.asked.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known keys: {}", self.asked.join(", ")),
            };
            self.at.push(problem.hint(hint));
        }
    }

    fn ask(&mut self, key: &'static str) -> Option<&'n Node> {
        self.asked.push(key);
        self.entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{parse, read};
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Job {
        name: String,
        limit: u32,
    }

    fn job(at: Cursor<'_, '_>) -> Option<Job> {
        let mut fields = Fields::open(at)?;
        let name = fields.required("name", read::string);
        let limit = fields.or("limit", 7, read::integer);
        fields.unsupported("basic_auth", "requests go without credentials");
        fields.finish();
        Some(Job { name: name?, limit })
    }

    fn check(text: &str, want: &str) {
        let mut problems = Problems::default();
        let node = parse("a.yml", text, &mut problems).expect(text);
        let jobs = Fields::open(Cursor::root("a.yml", &node, &mut problems)).map(|mut fields| {
            let jobs = fields.list("jobs", job);
            fields.finish();
            jobs
        });
        let jobs: Vec<String> =
            jobs.iter().flatten().map(|job| format!("{}={}", job.name, job.limit)).collect();
        let shown = format!("{}|{}", jobs.join(" "), problems.to_string().replace("a.yml:", ""));
        assert_eq!(shown.trim_end(), want, "{text:?}");
    }

    #[test]
    fn maps_are_read_and_every_problem_is_reported() {
        let cases = [
            ("", "|"),
            ("jobs:\n- name: a\n- {name: b, limit: 3}\n", "a=7 b=3|"),
            ("jobs:\n- name: a\n  limit:\n", "a=7|"),
            (
                "jobs:\n- limit: x\n- nam: b\n- name:\n",
                "|2:3: jobs[0]: `name` is missing\n\
                 2:10: jobs[0].limit: `x` is not a whole number between 0 and 4294967295\n\
                 3:3: jobs[1]: `name` is missing\n\
                 3:3: jobs[1]: unknown key `nam`; did you mean `name`?\n\
                 4:3: jobs[2]: `name` is missing",
            ),
            (
                "jobs:\n- name: a\n  basic_auth: {user: x}\n  zzz: 1\n",
                "a=7|3:3: warning: jobs[0]: `basic_auth` is not supported: requests go without \
                 credentials\n4:3: jobs[0]: unknown key `zzz`; known keys: name, limit, basic_auth",
            ),
            ("jobs: a\n", "|1:7: jobs: must be a list, not a single value; write `[a]`"),
            ("jobs: {a: b}\n", "|1:7: jobs: must be a list, not a map"),
            (
                "jobs: [a, [b]]\n",
                "|1:8: jobs[0]: must be a map, not a single value\n\
                                  1:11: jobs[1]: must be a map, not a list",
            ),
            ("- a\n", "|1:1: must be a map, not a list"),
        ];
        for (text, want) in cases {
            check(text, want);
        }
    }

    #[test]
    fn names_with_dots_are_quoted_in_the_path() {
        let mut problems = Problems::default();
        let node = parse("a.yml", "example.com: [1]\n", &mut problems).expect("reads");
        let mut paths = Vec::new();
        Cursor::root("a.yml", &node, &mut problems).each_entry(|key, mut at| {
            at.each_item(|at| {
                paths.push(format!("{} {}", key.text, at.path()));
                Some(())
            })
        });
        assert_eq!(paths, ["example.com [\"example.com\"][0]"]);
    }
}
