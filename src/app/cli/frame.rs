//! The line a problem is about, with a mark under the place; not a line that may hold a secret,
//! because what is checked is also checked where others read: in a log, by a CI.

use std::path::Path;

use super::super::files;
use crate::base::closest;
use crate::yaml::{Problem, Problems};

/// So much of a line is shown; a longer one is cut around the place.
const WIDTH: usize = 100;

/// Keys whose values are secrets, in whatever words they stand (`bearer_token`). Not files of them.
const SECRET: [&str; 6] = ["password", "passwd", "credential", "secret", "token", "key"];
/// How a webhook's secret begins.
const WEBHOOK_SECRET: &str = "whsec_";

/// The frame of each problem, in their order; empty where the file cannot be read (again).
pub fn frames(problems: &Problems) -> Vec<String> {
    let mut last: Option<(&str, Option<String>)> = None;
    let frame = |problem: &'_ Problem, text: &str| frame(text, problem.line, problem.column);
    let mut all = Vec::with_capacity(problems.len());
    for problem in problems {
        if last.as_ref().is_none_or(|(file, _)| *file != problem.file) {
            last = Some((&problem.file, files::read(Path::new(&problem.file)).ok()));
        }
        let text = last.as_ref().and_then(|(_, text)| text.as_deref());
        all.push(text.map(|text| frame(problem, text)).unwrap_or_default());
    }
    all
}

/// A line with its number, and a mark under the column; both count from 1.
fn frame(text: &str, line: usize, column: usize) -> String {
    let Some(whole) = text.lines().nth(line.saturating_sub(1)) else { return String::new() };
    if is_secret(text, line) {
        return format!("  {line} | (not shown: it may hold a secret)\n");
    }
    let at = column.saturating_sub(1);
    let length = whole.chars().count();
    let from = if length <= WIDTH { 0 } else { at.saturating_sub(WIDTH / 2).min(length - WIDTH) };
    let shown: String = whole.chars().skip(from).take(WIDTH).collect();
    let (before, after) =
        (if from > 0 { "…" } else { "" }, if from + WIDTH < length { "…" } else { "" });
    let number = line.to_string();
    let blank = " ".repeat(number.len());
    let indent = " ".repeat(at - from + before.chars().count());
    let shown = shown.replace('\t', " ");
    format!("  {number} | {before}{}{after}\n  {blank} | {indent}^\n", shown.trim_end())
}

/// Whether a line may hold a secret: it has a key, a word of a webhook or a URL's user, or it goes on
/// with the value of a key above it.
fn is_secret(text: &str, line: usize) -> bool {
    let mut lines: Vec<&str> = text.lines().take(line).collect();
    let Some(own) = lines.pop() else { return false };
    let has_auth = |word: &str| word.contains("auth");
    if own.contains(WEBHOOK_SECRET)
        || has_user(own)
        || keys(own)
            .any(|(word, rest)| names_secret(&word) || (has_auth(&word) && !rest.is_empty()))
    {
        return true;
    }
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut within = indent(own);
    for above in lines.into_iter().rev().filter(|line| !line.trim().is_empty()) {
        if indent(above) < within {
            within = indent(above);
            if keys(above).any(|(word, _)| names_secret(&word)) {
                return true;
            }
        }
    }
    false
}

/// Words before a `:` or, as in a URL's query, a `=`, in small letters, and what follows.
fn keys(line: &str) -> impl Iterator<Item = (String, &str)> {
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    line.match_indices([':', '=']).map(move |(at, _)| {
        let before = line[..at].trim_end_matches(['"', '\'', ' ']);
        let word = before.rsplit(|c| !is_of_word(c)).next().unwrap_or("");
        (word.to_lowercase(), line[at + 1..].trim())
    })
}

/// A misspelt key names a secret as well: that it is misspelt may be the problem.
fn names_secret(word: &str) -> bool {
    !word.ends_with("_file")
        && (SECRET.iter().any(|secret| word.contains(secret)) || closest(word, SECRET).is_some())
}

/// Whether a URL of the line has a user: `http://user:password@host`.
fn has_user(line: &str) -> bool {
    let mut after = line.split("://").skip(1);
    after
        .any(|rest| rest.split(['/', ' ', '"', '\'']).next().is_some_and(|host| host.contains('@')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_frame_shows_what_may_be_a_secret() {
        for text in [
            "    password: hunter2",
            "    'password' : hunter2",
            "    \"Passwd\": hunter2",
            "a: {basic_auth: {username: u, password: hunter2}, x: 1}",
            "    pasword: hunter2",
            "    bearer_token: hunter2",
            "    authorization: Bearer hunter2",
            "    basic_auth: u:hunter2",
            "url: https://u:hunter2@host/x",
            "url: https://host/x?access_token=hunter2",
            "secrets: [hunter2]",
            "- whsec_hunter2",
            "key: hunter2",
            "password:\n  hunter2",
            "credentials: |\n  a\n\n    b\n  hunter2",
            "a: {password:\n  hunter2}",
        ] {
            let line = text.lines().count();
            let shown = frame(text, line, 3);
            assert!(!shown.contains("hunter2"), "{text}: {shown}");
            assert!(shown.contains("not shown"), "{text}: {shown}");
        }
        for text in [
            "    password_file: /run/pw",
            "  basic_auth:",
            "  basic_auth:\n    username: u",
            "password: x\nother: 1",
            "  - expr: rate(token_total[1m]) > 1",
            "url: https://host/x@y",
        ] {
            let shown = frame(text, text.lines().count(), 3);
            assert!(shown.contains('^'), "{text}: {shown}");
        }
    }

    #[test]
    fn a_frame_marks_the_place_and_cuts_what_is_long() {
        assert_eq!(frame("a\n\tb: cé\n", 2, 5), "  2 |  b: cé\n    |     ^\n");
        assert_eq!(frame("a", 7, 1), "");
        let long = format!("{}X{}", "a".repeat(300), "b".repeat(300));
        let shown = frame(&long, 1, 301);
        let mut lines = shown.lines();
        let (code, mark) = (lines.next().expect("code"), lines.next().expect("mark"));
        assert_eq!(code.chars().nth(mark.chars().count() - 1), Some('X'), "{shown}");
        assert!(code.chars().count() < WIDTH + 10, "{shown}");
        let end = frame(&long, 1, 602);
        assert!(end.ends_with("b\n    | …^\n") || end.contains('^'), "{end}");
    }
}
