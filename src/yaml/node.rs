//! The tree of a YAML document, every node with the place it was written at.

use std::fmt;

/// A place in a text file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// A value and where it stands. A value reached through an alias stands where its anchor does.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// Its first character; of a block map or list, its first key or dash.
    pub at: Position,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    /// Nothing after the key, `~` or `null`.
    Null,
    /// A text, a number, a boolean: whoever reads it decides.
    Scalar(Scalar),
    /// A list.
    Seq(Vec<Node>),
    /// A map in the order of the file, merge keys resolved, no key twice.
    Map(Vec<(Key, Node)>),
}

/// A key of a map and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Where it stands.
    pub at: Position,
}

/// A scalar: its text after unquoting and folding, and what is needed to find a character again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scalar {
    /// The text, otherwise as written: `014`, `1.10` and `yes` stay so.
    pub text: String,
    /// In quotes, a block, or tagged `!!str`: surely a text.
    pub quoted: bool,
    /// The source from the node's position on; `None` where it is the text itself.
    pub(super) raw: Option<String>,
    /// Which escapes `raw` has.
    pub(super) escapes: Escapes,
}

/// How a character may be written as something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Escapes {
    /// Plain and block scalars.
    None,
    /// `''` in single quotes.
    Doubled,
    /// Backslashes in double quotes.
    Backslash,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Node {
    /// What this is, for messages: `a list`.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Scalar(_) => "a single value",
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// The value of a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The items of a list; of anything else, none.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Seq(items) => items,
            _ => &[],
        }
    }

    /// Where the byte `offset` of a scalar's text was written. Exact in every style; between words
    /// it is the end of the word before. Of anything but a scalar, where it starts.
    ///
    /// Folding and indentation change white space only, so the n-th visible character of the text
    /// is the n-th of the source.
    pub fn position_of(&self, offset: usize) -> Position {
        let Kind::Scalar(scalar) = &self.kind else { return self.at };
        let before = scalar.text.get(..offset).unwrap_or(&scalar.text);
        let Some(raw) = &scalar.raw else {
            return Position { column: self.at.column + before.chars().count(), ..self.at };
        };
        let wanted = before.chars().filter(|c| !c.is_whitespace()).count();
        let on_visible =
            scalar.text[before.len()..].chars().next().is_some_and(|c| !c.is_whitespace());
        let mut visible = Visible { rest: raw, at: self.at, escapes: scalar.escapes };
        if scalar.escapes != Escapes::None {
            visible.step();
        }
        if on_visible {
            return visible.nth(wanted).map_or(self.at, |(start, _)| start);
        }
        let last = wanted.checked_sub(1).and_then(|n| visible.nth(n));
        last.map_or(self.at, |(_, end)| end)
    }
}

/// The visible characters of a scalar's source, each with its start and end.
struct Visible<'a> {
    rest: &'a str,
    at: Position,
    escapes: Escapes,
}

impl Visible<'_> {
    /// Takes one character of the source.
    fn step(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        self.at = match c {
            '\n' => Position { line: self.at.line + 1, column: 1 },
            _ => Position { column: self.at.column + 1, ..self.at },
        };
        Some(c)
    }

    /// Takes one character of the text, however it was written.
    fn decoded(&mut self) -> Option<char> {
        let c = self.step()?;
        match (self.escapes, c) {
            (Escapes::Doubled, '\'') => self.step(),
            (Escapes::Backslash, '\\') => self.escaped(),
            _ => Some(c),
        }
    }

    /// The character behind a backslash: only whether it is white space matters.
    fn escaped(&mut self) -> Option<char> {
        let digits = match self.step()? {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            't' | 'n' | 'v' | 'f' | 'r' | 'N' | '_' | 'L' | 'P' => return Some(' '),
            other => return Some(other),
        };
        let hex: String = (0..digits).filter_map(|_| self.step()).collect();
        u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32)
    }
}

impl Iterator for Visible<'_> {
    type Item = (Position, Position);

    fn next(&mut self) -> Option<(Position, Position)> {
        loop {
            let start = self.at;
            if !self.decoded()?.is_whitespace() {
                return Some((start, self.at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Problems, parse};

    /// The place of the first `$` of the scalar under `expr`.
    fn check(text: &str, want: &str) {
        let mut problems = Problems::default();
        let node = parse("a.yml", text, &mut problems).expect(text);
        let expr = node.get("expr").expect(text);
        let offset = expr.text().expect(text).find('$').expect(text);
        assert_eq!(expr.position_of(offset).to_string(), want, "{text:?}");
    }

    #[test]
    fn a_character_inside_a_scalar_is_found_again() {
        let cases = [
            ("expr: up + $", "1:12"),
            ("expr: é + $", "1:11"),
            ("expr: 'up + $'", "1:13"),
            ("expr: 'a''b $'", "1:13"),
            ("expr: \"a\\\"b\\tc\\u00e9\\n $\"", "1:24"),
            ("expr: \"a\\\n  b $\"", "2:5"),
            ("expr: up\n  + $", "2:5"),
            ("expr: 'up\n\n  + $'", "3:5"),
            ("expr: |\n    up\n      + $\n", "3:9"),
            ("expr: |\n\n\n  up\n\n  + $\n", "6:5"),
            ("expr: |2-\n    up\n  + $\n", "3:5"),
            ("expr: >-\n  up\n  + $\n", "3:5"),
            ("expr: >\n\n  up\n    more\n\n  + $\n", "6:5"),
            ("expr: |\r\n  up\r\n  + $\r\n", "3:5"),
            ("x: &x 'up + $'\nexpr: *x\n", "1:13"),
        ];
        for (text, want) in cases {
            check(text, want);
        }
    }

    #[test]
    fn the_end_of_a_scalar_is_behind_its_last_word() {
        let cases = [
            ("expr: 'up +'", 4, "1:12"),
            ("expr: |\n  up\n  +\n", 5, "3:4"),
            ("expr: |\n  up\n  +\n", 99, "3:4"),
            ("expr: ''", 0, "1:7"),
            ("expr: up", 2, "1:9"),
        ];
        for (text, offset, want) in cases {
            let node = parse("a.yml", text, &mut Problems::default()).expect(text);
            let expr = node.get("expr").expect(text);
            assert_eq!(expr.position_of(offset).to_string(), want, "{text:?}");
        }
    }
}
