//! Where in a query something stands, for people: line and column, and a mark under the text.

use super::ast::Span;

/// The line and the column of a byte of a query, both from 1. The column counts bytes: so do the
/// places in Prometheus's texts.
pub fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before.len() - line_start + 1)
}

/// The column of such a place in characters, as a mark under the line needs it.
pub fn in_characters(text: &str, (line, column): (usize, usize)) -> usize {
    let starts = line_of(text, line).char_indices().map(|(start, _)| start);
    starts.take_while(|start| start + 1 < column).count() + 1
}

/// The column in bytes of a place whose column counts characters.
pub fn in_bytes(text: &str, (line, column): (usize, usize)) -> usize {
    let before = line_of(text, line).chars().take(column - 1);
    before.map(char::len_utf8).sum::<usize>() + 1
}

/// A line of a query, from 1; an empty one where there is none.
fn line_of(text: &str, line: usize) -> &str {
    text.split('\n').nth(line - 1).unwrap_or_default()
}

/// How many characters of its first line a span takes; at least one, the place itself.
pub fn width(text: &str, span: Span) -> usize {
    let rest = text.get(span.start..span.end).unwrap_or_default();
    rest.lines().next().unwrap_or_default().chars().count().max(1)
}

/// So much of a line is shown; a longer one is cut around the place.
const WIDTH: usize = 100;

/// A line of a query, and below it a mark of so many characters from a column, in characters, on.
pub fn marked(text: &str, (line, column): (usize, usize), width: usize) -> String {
    let line = line_of(text, line);
    let (length, at) = (line.chars().count(), column - 1);
    let from = if length <= WIDTH { 0 } else { at.saturating_sub(WIDTH / 2).min(length - WIDTH) };
    let (before, after) =
        (if from > 0 { "…" } else { "" }, if from + WIDTH < length { "…" } else { "" });
    let shown: String = line.chars().skip(from).take(WIDTH).collect();
    let blank = |c: char| if c == '\t' { '\t' } else { ' ' };
    let indent: String = before.chars().chain(shown.chars().take(at - from)).map(blank).collect();
    let room = shown.chars().count().saturating_sub(at - from).max(1);
    format!("  {before}{shown}{after}\n  {indent}{}", "^".repeat(width.min(room)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_bytes_and_marks_characters() {
        let text = "sum(한)\n\t+ rate(x)";
        let of = |part: &str| {
            let start = text.find(part).expect(part);
            Span { start, end: start + part.len() }
        };
        assert_eq!(place(text, of(")").start), (1, 8));
        assert_eq!(place(text, of("rate").start), (2, 4));
        for (bytes, characters) in [(1, 1), (5, 5), (8, 6), (9, 7)] {
            assert_eq!(in_characters(text, (1, bytes)), characters, "{bytes}");
            assert_eq!(in_bytes(text, (1, characters)), bytes, "{characters}");
        }
        assert_eq!(in_characters(text, (1, 7)), 6, "within a character");
        assert_eq!((in_characters(text, (9, 4)), in_bytes(text, (9, 4))), (1, 1), "nowhere");
        assert_eq!(place(text, 1000), (2, 11), "the end");
        assert_eq!(width(text, of("한)\n\t+")), 2);
        assert_eq!(marked(text, (2, 4), 4), "  \t+ rate(x)\n  \t  ^^^^");
        assert_eq!(marked(text, (1, 5), 9), "  sum(한)\n      ^^");
        assert_eq!(marked("up", (1, 3), 1), "  up\n    ^");
        assert_eq!(marked("", (7, 1), 1), "  \n  ^");
        let long = format!("{}b{}", "a".repeat(1000), "c".repeat(1000));
        let want = format!("  …{}b{}…\n  {}^", "a".repeat(50), "c".repeat(49), " ".repeat(51));
        assert_eq!(marked(&long, (1, 1001), 1), want);
        let end = format!("  …{}\n  {}^", "c".repeat(100), " ".repeat(101));
        assert_eq!(marked(&long, (1, 2002), 1), end);
    }
}
