//! Which files a pattern of `rule_files` means.
//!
//! The syntax is that of Go's `path/filepath.Match`, which Prometheus uses: `*` and `?` stop at a
//! `/`, `[a-c]` and `[^a-c]` are classes, `\` takes the next character as it is. Only names are
//! compared here; the shell lists directories.

use std::iter::Peekable;
use std::str::Chars;

/// One part of a pattern.
enum Part {
    /// This character.
    Exactly(char),
    /// `?`
    Any,
    /// `*`
    Star,
    /// `[…]`: ranges, and whether they are excluded.
    Class(Vec<(char, char)>, bool),
}

/// Whether the whole of `path` matches; the error says why `pattern` is not a pattern.
pub fn glob_matches(pattern: &str, path: &str) -> Result<bool, String> {
    let parts = parts(pattern)?;
    let path: Vec<char> = path.chars().collect();
    let (mut part, mut at) = (0, 0);
    // Where to go on when the newest star has to take one character more.
    let mut retry: Option<(usize, usize)> = None;
    while part < parts.len() || at < path.len() {
        let here = path.get(at).copied();
        match (parts.get(part), here) {
            (Some(Part::Star), _) => {
                retry = Some((part, at));
                part += 1;
                continue;
            }
            (Some(one), Some(c)) if one.takes(c) => {
                part += 1;
                at += 1;
                continue;
            }
            _ => {}
        }
        // An earlier star cannot help: the newest one may begin anywhere the earlier could end,
        // and neither crosses a `/`.
        match retry {
            Some((star, from)) if path.get(from).is_some_and(|c| *c != '/') => {
                retry = Some((star, from + 1));
                part = star + 1;
                at = from + 1;
            }
            _ => return Ok(false),
        }
    }
    Ok(true)
}

impl Part {
    /// Whether this part takes the character; a star is handled where it can be tried again.
    fn takes(&self, c: char) -> bool {
        match self {
            Part::Exactly(wanted) => *wanted == c,
            Part::Any => c != '/',
            Part::Star => false,
            Part::Class(ranges, excluded) => {
                c != '/'
                    && ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *excluded
            }
        }
    }
}

fn parts(pattern: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '*' => Part::Star,
            '?' => Part::Any,
            '[' => class(&mut chars).ok_or_else(|| format!("`{pattern}`: a `[` is not closed"))?,
            '\\' => Part::Exactly(
                chars.next().ok_or_else(|| format!("`{pattern}`: nothing follows the `\\`"))?,
            ),
            c => Part::Exactly(c),
        });
    }
    Ok(parts)
}

/// The rest of a class. As in Go it holds at least one range, so `[]` is not closed.
fn class(chars: &mut Peekable<Chars<'_>>) -> Option<Part> {
    let excluded = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
        let low = class_char(chars)?;
        let high = match chars.next_if_eq(&'-') {
            Some(_) => class_char(chars)?,
            None => low,
        };
        ranges.push((low, high));
    }
    Some(Part::Class(ranges, excluded))
}

fn class_char(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '\\' => chars.next(),
        '-' | ']' => None,
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_go_does() {
        let cases = [
            ("rules/*.yml", "rules/a.yml", true),
            ("rules/*.yml", "rules/.yml", true),
            ("rules/*.yml", "rules/a.yaml", false),
            ("rules/*.yml", "rules/sub/a.yml", false),
            ("rules/*/a.yml", "rules/sub/a.yml", true),
            ("rules/*", "rules/a/b", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("a*b*c", "axbxbxc", true),
            ("a*b*c", "axbxbx", false),
            ("*a/b", "xa/b", true),
            ("*ab*", "aab", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[^a]x", "/x", false),
            ("[^a]*b", "/ab", false),
            ("[a\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("é*", "éa", true),
        ];
        for (pattern, path, want) in cases {
            assert_eq!(glob_matches(pattern, path), Ok(want), "{pattern} {path}");
        }
        for pattern in ["[", "[a", "[]", "[a-]", "[-]", "a\\"] {
            assert!(glob_matches(pattern, "a").is_err(), "{pattern}");
        }
    }

    #[test]
    fn many_stars_stay_quick() {
        let pattern = "a*".repeat(50) + "b";
        assert_eq!(glob_matches(&pattern, &"a".repeat(5000)), Ok(false));
    }
}
