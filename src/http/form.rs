//! Forms as Go reads them (`url.ParseQuery`, `Request.ParseMultipartForm`): a pair that cannot be
//! read is left out and the others count; whoever is strict about it is told what the first was.

use crate::base::quoted;

/// Pairs of names and values in the order they came, and what is wrong with the first that cannot be
/// read. Bytes that are no UTF-8 are U+FFFD, which PromQL refuses in any text.
#[derive(Default, PartialEq, Debug)]
pub(super) struct Form {
    pub(super) pairs: Vec<(String, String)>,
    pub(super) problem: Option<String>,
}

impl Form {
    /// Of a URL's query, or of a body of type `application/x-www-form-urlencoded`.
    pub(super) fn urlencoded(text: &[u8]) -> Form {
        let mut form = Form::default();
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            match read_pair(pair) {
                Ok(pair) => form.pairs.push(pair),
                Err(problem) => {
                    form.problem.get_or_insert(problem);
                }
            }
        }
        form
    }

    /// Adds what another form holds behind what is there.
    pub(super) fn extend(&mut self, other: Form) {
        self.pairs.extend(other.pairs);
        if let Some(problem) = other.problem {
            self.problem.get_or_insert(problem);
        }
    }
}

fn read_pair(pair: &[u8]) -> Result<(String, String), String> {
    if pair.contains(&b';') {
        return Err("invalid semicolon separator in query".to_owned());
    }
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((text(unescape(name, true)?), text(unescape(value, true)?)))
}

/// The bytes that a part of a URL stands for; in a query a plus sign is a blank.
pub(super) fn unescape(text: &[u8], in_query: bool) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' if in_query => bytes.push(b' '),
            b'%' => {
                let code = after.first_chunk::<2>().and_then(hex);
                let wrong = || {
                    let shown = String::from_utf8_lossy(&after[..after.len().min(2)]);
                    format!("invalid URL escape {}", quoted(&format!("%{shown}")))
                };
                bytes.push(code.ok_or_else(wrong)?);
                rest = &after[2..];
            }
            plain => bytes.push(*plain),
        }
    }
    Ok(bytes)
}

fn hex([high, low]: &[u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// The type of a body without its parameters, in lower case.
pub(super) fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The parts of a body of type `multipart/form-data` that are no files; none at all if it is broken
/// off or says no boundary.
pub(super) fn multipart(content_type: &str, body: &[u8]) -> Vec<(String, String)> {
    let Some(boundary) = parameter(content_type, "boundary").filter(|b| !b.is_empty()) else {
        return Vec::new();
    };
    let mut parts = Parts { rest: body, delimiter: format!("--{boundary}") };
    let mut pairs = Vec::new();
    parts.until_delimiter();
    loop {
        // Behind a delimiter: the end of its line, or `--` behind the last.
        if parts.rest.starts_with(b"--") {
            return pairs;
        }
        let Some((head, content)) = parts.next() else { return Vec::new() };
        let name = disposition(&head).filter(|_| pairs.len() < MAX_PARTS);
        if let Some(name) = name {
            pairs.push((name, String::from_utf8_lossy(content).into_owned()));
        }
    }
}

/// Go's bound on parts.
const MAX_PARTS: usize = 1000;

struct Parts<'a> {
    rest: &'a [u8],
    delimiter: String,
}

impl<'a> Parts<'a> {
    /// What stands before the next delimiter that begins a line, without that line's break; what
    /// follows it is left.
    fn until_delimiter(&mut self) -> Option<&'a [u8]> {
        let delimiter = self.delimiter.as_bytes();
        let starts = |at: &usize| *at == 0 || self.rest[at - 1] == b'\n';
        let at = memchr::memmem::find_iter(self.rest, delimiter).find(starts)?;
        let before = &self.rest[..at];
        self.rest = &self.rest[at + delimiter.len()..];
        let before = before.strip_suffix(b"\n").unwrap_or(before);
        Some(before.strip_suffix(b"\r").unwrap_or(before))
    }

    /// The lines at the head of the next part, and its content.
    fn next(&mut self) -> Option<(Vec<String>, &'a [u8])> {
        let mut head = Vec::new();
        self.line()?;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            head.push(String::from_utf8_lossy(line).into_owned());
        }
        Some((head, self.until_delimiter()?))
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// The field a part fills; `None` of a file.
fn disposition(head: &[String]) -> Option<String> {
    let value = head.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let plain = media_type(value) == "form-data" && parameter(value, "filename").is_none();
    plain.then(|| parameter(value, "name")).flatten()
}

/// `name=value` or `name="value"` behind a semicolon.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let (_, mut rest) = header.split_once(';')?;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim_end().to_owned(), &after[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after.split_once(';')?.1;
    }
}

/// The text up to the closing quote, its escapes resolved, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            plain => value.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent, the pairs in it, and what is wrong with the first that is none.
    type Row = (&'static [u8], &'static [(&'static str, &'static str)], Option<&'static str>);

    /// Each row is what Prometheus 2.42 took of it.
    #[test]
    fn what_cannot_be_read_is_left_out_and_the_first_is_named() {
        let cases: [Row; 10] = [
            (b"a=1&b=x+y%2Bz&c", &[("a", "1"), ("b", "x y+z"), ("c", "")], None),
            (b"&&a=b=c&", &[("a", "b=c")], None),
            (b"a=%zz&b=1", &[("b", "1")], Some("invalid URL escape \"%zz\"")),
            (b"a=%&b=%1&c=2", &[("c", "2")], Some("invalid URL escape \"%\"")),
            (b"a=x%1&b=2", &[("b", "2")], Some("invalid URL escape \"%1\"")),
            (b"%zz=1&b=2", &[("b", "2")], Some("invalid URL escape \"%zz\"")),
            (b"a=1;b=2&c=3", &[("c", "3")], Some("invalid semicolon separator in query")),
            (b"a=%3B", &[("a", ";")], None),
            (b"a=%ff%41", &[("a", "\u{fffd}A")], None),
            (b"", &[], None),
        ];
        for (text, pairs, problem) in cases {
            let form = Form::urlencoded(text);
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let want: Vec<_> = pairs.iter().map(own).collect();
            assert_eq!(form.pairs, want, "{}", text.escape_ascii());
            assert_eq!(form.problem.as_deref(), problem, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn parts_of_a_body_are_fields_unless_they_are_files() {
        let kind = "multipart/form-data; charset=utf-8; boundary=\"x y\"";
        let field = "--x y\r\nContent-Disposition: form-data; name=\"q\\\"1\"\r\n\r\na\r\n--b\r\n";
        let bare = "--x y\ncontent-disposition: Form-Data; name=t\n\n1\n";
        let file = "--x y\r\nContent-Disposition: form-data; name=f; filename=n\r\n\r\n1\r\n";
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let body = format!("preamble\r\n{field}{bare}{file}--x y--\r\nepilogue");
        let both = vec![own("q\"1", "a\r\n--b"), own("t", "1")];
        assert_eq!(multipart(kind, body.as_bytes()), both);
        let broken_off = format!("{field}{bare}");
        assert_eq!(multipart(kind, broken_off.as_bytes()), [], "as if nothing had come");
        assert_eq!(multipart("multipart/form-data", body.as_bytes()), []);
        assert_eq!(multipart(kind, b""), []);
        let many = format!("{}--x y--", bare.repeat(MAX_PARTS + 1));
        assert_eq!(multipart(kind, many.as_bytes()).len(), MAX_PARTS);
    }
}
