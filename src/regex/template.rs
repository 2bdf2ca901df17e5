//! Replacement templates as Go's `Regexp.Expand` reads them: `$1`, `${1}`, `${name}`, `$$`.
//!
//! Written out rather than left to the crate `regex`, because a name may hold any letter in Go, and
//! a malformed `${` stays as it is.

/// What a template would have become is longer than allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong;

/// A text that stops growing.
pub(super) struct Bounded {
    pub(super) text: String,
    pub(super) max_bytes: usize,
}

impl Bounded {
    fn push(&mut self, more: &str) -> Result<(), TooLong> {
        if more.len() > self.max_bytes.saturating_sub(self.text.len()) {
            return Err(TooLong);
        }
        self.text.push_str(more);
        Ok(())
    }
}

/// Appends `template` to `out`, each reference replaced by what `group` says (a group that took no
/// part in the match, or does not exist, is empty).
pub(super) fn expand<'t>(
    template: &str,
    out: &mut Bounded,
    mut group: impl FnMut(GroupRef<'_>) -> Option<&'t str>,
) -> Result<(), TooLong> {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push(before)?;
        if let Some(after) = after.strip_prefix('$') {
            out.push("$")?;
            rest = after;
            continue;
        }
        match reference(after) {
            Some((reference, after)) => {
                out.push(group(reference).unwrap_or(""))?;
                rest = after;
            }
            None => {
                out.push("$")?;
                rest = after;
            }
        }
    }
    out.push(rest)
}

/// A group by its number or its name.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum GroupRef<'a> {
    /// `$0` is the whole match.
    Number(usize),
    Name(&'a str),
}

/// The reference that `text` (behind its `$`) starts with, and what follows.
fn reference(text: &str) -> Option<(GroupRef<'_>, &str)> {
    let braced = text.strip_prefix('{');
    let body = braced.unwrap_or(text);
    let end = body.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(body.len());
    let (name, after) = body.split_at(end);
    if name.is_empty() {
        return None;
    }
    let after = if braced.is_some() { after.strip_prefix('}')? } else { after };
    let numeric =
        name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    let number = name.parse().ok().filter(|_| numeric);
    Some((number.map_or(GroupRef::Name(name), GroupRef::Number), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_expand_as_in_go() {
        let cases = [
            ("$1", "ONE"),
            ("${1}abc", "ONEabc"),
            ("$1abc", ""),
            ("$name-x", "NAME-x"),
            ("${name}x", "NAMEx"),
            ("$$1", "$1"),
            ("a$", "a$"),
            ("${", "${"),
            ("${1", "${1"),
            ("$-", "$-"),
            ("$9|$0", "|ZERO"),
            ("$01", ""),
            ("plain", "plain"),
        ];
        for (template, want) in cases {
            let run = |max_bytes| {
                let mut out = Bounded { text: String::new(), max_bytes };
                let done = expand(template, &mut out, |group| match group {
                    GroupRef::Number(0) => Some("ZERO"),
                    GroupRef::Number(1) => Some("ONE"),
                    GroupRef::Name("name") => Some("NAME"),
                    _ => None,
                });
                done.map(|()| out.text)
            };
            assert_eq!(run(want.len()).as_deref(), Ok(want), "{template}");
            if !want.is_empty() {
                assert_eq!(run(want.len() - 1), Err(TooLong), "{template}");
            }
        }
    }
}
