//! The line a problem is about, with a mark under the place.

use std::path::Path;

use super::super::files;
use crate::yaml::{Problem, Problems};

/// So much of a line is shown; a longer one is cut around the place.
const WIDTH: usize = 100;

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

#[cfg(test)]
mod tests {
    use super::*;

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
