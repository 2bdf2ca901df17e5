//! Regular expressions as Prometheus means them: RE2 syntax, anchored at both ends, `.` matching
//! newlines.
//!
//! The crate `regex` descends from RE2 but differs where label matchers live: it rejects some
//! patterns Go accepts and reads `[a&&b]` as a set operation. [`Pattern::new`] translates first.
//! Matching is linear in the input, so a hostile pattern cannot hang an evaluation. Most matchers
//! people write are a literal, a list of literals or `.*`; those are compared, never compiled.
//! What is compiled is bounded in size, one pattern by [`MAX_COMPILED_BYTES`] and all those of one
//! query by a [`Budget`]: `(\pL{20}){50}` is a dozen characters and megabytes.

mod height;
mod template;
mod translate;

use std::borrow::Cow;
use std::fmt;

use template::{Bounded, GroupRef};

pub use template::TooLong;

/// How large one pattern may become when it is compiled. A list of a thousand container names with
/// escaped dots takes about half of it.
pub const MAX_COMPILED_BYTES: usize = 1 << 20;
/// The longest pattern that is compiled at all: a longer one would not fit when compiled, and its
/// classes alone could take seconds to read. Lists of plain words are never compiled.
const MAX_SOURCE_BYTES: usize = 64 << 10;
/// Sizes a pattern is tried at, so that it is charged about what it takes. Each is four times the
/// one before: the attempts that fail cost a third of the one that succeeds.
const SIZES: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, MAX_COMPILED_BYTES];
/// The crate's own bound on nesting: none, for how high a tree may be is counted as Go counts.
const MAX_NESTING: u32 = u32::MAX;
/// What a pattern remembers of texts it has seen, per thread that uses it.
const MAX_CACHE_BYTES: usize = MAX_COMPILED_BYTES;

/// What all compiled patterns of one query may take together, in bytes.
#[derive(Debug)]
pub struct Budget {
    left: usize,
}

impl Budget {
    /// The most one query's patterns may take.
    pub const BYTES: usize = 4 << 20;

    /// A budget of which nothing is spent.
    pub fn new() -> Budget {
        Budget { left: Budget::BYTES }
    }
}

impl Default for Budget {
    fn default() -> Budget {
        Budget::new()
    }
}

/// Why a pattern is refused, in one line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatternError {
    /// It is no RE2.
    #[error("{0}")]
    Bad(String),
    /// It nests deeper than Go lets it.
    #[error("{0}")]
    TooDeep(String),
    /// It, or all of one query together, would take more than allowed.
    #[error("{0}")]
    TooLarge(String),
}

impl PatternError {
    /// What can be done about it.
    pub fn hint(&self) -> &'static str {
        match self {
            PatternError::Bad(_) => {
                "patterns are RE2; for the character itself write `\\\\.` (in backquotes `\\.`), and so \
                 for `* + ? ( ) [ ] { } ^ $ |`"
            }
            PatternError::TooDeep(_) => "use fewer brackets",
            PatternError::TooLarge(_) => "repeat fewer times, or use shorter patterns",
        }
    }
}

/// A compiled pattern that remembers how it was written.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    matcher: Matcher,
}

#[derive(Clone)]
enum Matcher {
    /// `.*`, perhaps in a group: everything.
    Any(Group),
    /// `.+`, perhaps in a group: everything but the empty text.
    NonEmpty(Group),
    /// `a|b|c`, perhaps in a group: the whole text is one of these, sorted.
    OneOf(Vec<String>, Group),
    /// Matches the whole text.
    Anchored(regex::Regex),
    /// Matches somewhere in the text.
    Unanchored(regex::Regex),
}

/// Whether a pattern that needs no compiling stands in a capturing group, so that `$1` is the text.
#[derive(Clone, Copy, PartialEq)]
enum Group {
    Captures,
    None,
}

impl Pattern {
    /// Compiles an RE2 pattern that must match the whole text; `.` matches newlines. The error is
    /// one line, ready to be put behind a position.
    pub fn new(source: &str) -> Result<Pattern, String> {
        Pattern::within(source, &mut Budget::new()).map_err(|error| error.to_string())
    }

    /// As [`Pattern::new`], out of what is left of a budget.
    pub fn within(source: &str, budget: &mut Budget) -> Result<Pattern, PatternError> {
        let matcher = match simple(source) {
            Some(matcher) => matcher,
            None => Matcher::Anchored(compile(source, budget, true)?),
        };
        Ok(Pattern { source: source.to_owned(), matcher })
    }

    /// Compiles an RE2 pattern that may match anywhere, as the template functions `match` and
    /// `reReplaceAll` use it; `.` does not match a newline unless the pattern says `(?s)`.
    pub fn unanchored(source: &str) -> Result<Pattern, String> {
        let compiled = compile(source, &mut Budget::new(), false);
        let compiled = compiled.map_err(|error| error.to_string())?;
        Ok(Pattern { source: source.to_owned(), matcher: Matcher::Unanchored(compiled) })
    }

    /// The pattern as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the whole of `text` matches; of an unanchored pattern, any part of it.
    pub fn is_match(&self, text: &str) -> bool {
        match &self.matcher {
            Matcher::Any(_) => true,
            Matcher::NonEmpty(_) => !text.is_empty(),
            Matcher::OneOf(words, _) => words.binary_search_by(|word| (**word).cmp(text)).is_ok(),
            Matcher::Anchored(compiled) | Matcher::Unanchored(compiled) => compiled.is_match(text),
        }
    }

    /// If the text matches: `template` with `$1`, `${1}`, `${name}` and `$$` expanded from the
    /// groups of the first match, as Go's `Regexp.Expand` does.
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        self.expand_within(text, template, usize::MAX).map(|expanded| expanded.unwrap_or_default())
    }

    /// As [`Pattern::expand`], but never more than so many bytes: an error if it would be.
    pub fn expand_within(
        &self,
        text: &str,
        template: &str,
        max_bytes: usize,
    ) -> Option<Result<String, TooLong>> {
        let mut out = Bounded { text: String::new(), max_bytes };
        let expanded = match &self.matcher {
            Matcher::Any(group) | Matcher::NonEmpty(group) | Matcher::OneOf(_, group) => {
                if !self.is_match(text) {
                    return None;
                }
                template::expand(template, &mut out, |wanted| match wanted {
                    GroupRef::Number(0) => Some(text),
                    GroupRef::Number(1) if *group == Group::Captures => Some(text),
                    _ => None,
                })
            }
            Matcher::Anchored(compiled) | Matcher::Unanchored(compiled) => {
                expand_captures(&compiled.captures(text)?, template, &mut out)
            }
        };
        Some(expanded.map(|()| out.text))
    }

    /// Whether `template` names only groups that the pattern has: others expand to nothing.
    pub fn has_groups_of(&self, template: &str) -> bool {
        let mut has_all = true;
        let mut out = Bounded { text: String::new(), max_bytes: usize::MAX };
        let expanded = template::expand(template, &mut out, |group| {
            has_all &= self.has_group(group);
            None
        });
        expanded.is_ok() && has_all
    }

    fn has_group(&self, wanted: GroupRef<'_>) -> bool {
        match (&self.matcher, wanted) {
            (Matcher::Anchored(compiled) | Matcher::Unanchored(compiled), wanted) => match wanted {
                GroupRef::Number(number) => number < compiled.captures_len(),
                GroupRef::Name(name) => compiled.capture_names().flatten().any(|own| own == name),
            },
            (_, GroupRef::Number(0)) => true,
            (Matcher::Any(group) | Matcher::NonEmpty(group) | Matcher::OneOf(_, group), wanted) => {
                wanted == GroupRef::Number(1) && *group == Group::Captures
            }
        }
    }

    /// `text` with every match replaced by the expanded template, as Go's `ReplaceAllString`.
    pub fn replace_all(&self, text: &str, template: &str) -> String {
        let (Matcher::Anchored(compiled) | Matcher::Unanchored(compiled)) = &self.matcher else {
            return self.expand(text, template).unwrap_or_else(|| text.to_owned());
        };
        let replace = |captures: &regex::Captures<'_>| {
            let mut out = Bounded { text: String::new(), max_bytes: usize::MAX };
            // Without a bound there is no error.
            let _ = expand_captures(captures, template, &mut out);
            out.text
        };
        compiled.replace_all(text, replace).into_owned()
    }

    fn is_anchored(&self) -> bool {
        !matches!(self.matcher, Matcher::Unanchored(_))
    }
}

fn compile(
    source: &str,
    budget: &mut Budget,
    anchored: bool,
) -> Result<regex::Regex, PatternError> {
    let named = |problem: &str| format!("bad regular expression `{}`: {problem}", cut(source));
    let large = |problem: &str| PatternError::TooLarge(named(problem));
    if source.len() > MAX_SOURCE_BYTES {
        let problem = format!("{} bytes long; at most {MAX_SOURCE_BYTES}", source.len());
        return Err(large(&problem));
    }
    let (translated, height) = translate::translate(source).map_err(PatternError::Bad)?;
    if height.whole(anchored) > height::MAX_HEIGHT {
        let problem = translate::problem("expression nests too deeply", source);
        return Err(PatternError::TooDeep(problem));
    }
    let pattern = if anchored { format!("^(?s:{translated})$") } else { translated };
    for size in SIZES {
        if size > budget.left {
            let most = Budget::BYTES >> 20;
            let problem =
                format!("the patterns of one query take more than {most} MiB when compiled");
            return Err(large(&problem));
        }
        let compiled = regex::RegexBuilder::new(&pattern)
            .size_limit(size)
            .dfa_size_limit(MAX_CACHE_BYTES)
            .nest_limit(MAX_NESTING)
            .build();
        match compiled {
            Ok(compiled) => {
                budget.left -= size;
                return Ok(compiled);
            }
            Err(regex::Error::CompiledTooBig(_)) => {}
            // What else the translation lets through.
            Err(error) => {
                let problem = translate::problem(&cut(&one_line(&error)), source);
                return Err(PatternError::Bad(problem));
            }
        }
    }
    let most = MAX_COMPILED_BYTES >> 20;
    Err(large(&format!("it takes more than {most} MiB when compiled")))
}

/// So much of a text as a message needs, to know it again.
fn cut(text: &str) -> Cow<'_, str> {
    const MAX_BYTES: usize = 100;
    if text.len() <= MAX_BYTES {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(MAX_BYTES)]))
}

/// The crate draws a picture over several lines; its last line is the problem in words.
fn one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

fn expand_captures(
    captures: &regex::Captures<'_>,
    template: &str,
    out: &mut Bounded,
) -> Result<(), TooLong> {
    template::expand(template, out, |group| {
        let found = match group {
            GroupRef::Number(number) => captures.get(number),
            GroupRef::Name(name) => captures.name(name),
        };
        found.map(|found| found.as_str())
    })
}

/// The matcher of a pattern that means no more than comparing texts.
fn simple(source: &str) -> Option<Matcher> {
    let in_group = source.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let (body, group) = match in_group {
        Some(body) => match body.strip_prefix("?:") {
            Some(body) => (body, Group::None),
            None => (body, Group::Captures),
        },
        None => (source, Group::None),
    };
    match body {
        ".*" => return Some(Matcher::Any(group)),
        ".+" => return Some(Matcher::NonEmpty(group)),
        _ => {}
    }
    if body.contains(|c| r"\.+*?()[]{}^$".contains(c)) {
        return None;
    }
    let mut words: Vec<String> = body.split('|').map(str::to_owned).collect();
    words.sort_unstable();
    Some(Matcher::OneOf(words, group))
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.source == other.source && self.is_anchored() == other.is_anchored()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Go 1.22's `regexp` says of `^(?s:pattern)$`: texts that match and texts that do not.
    /// The first rows are differences between RE2 and the crate.
    const MATCHES: &[(&str, &[&str], &[&str])] = &[
        ("[[]", &["["], &["", "[["]),
        ("{", &["{"], &[""]),
        ("a{", &["a{"], &["a", "aa"]),
        ("{{", &["{{"], &["{"]),
        ("x{1,2", &["x{1,2"], &["x", "xx"]),
        ("a{01}", &["a{01}"], &["a"]),
        ("a{1,2}b{2}c{1,}", &["abbc", "aabbcc"], &["abc", "bbc"]),
        ("a{,3}", &["a{,3}"], &["a", "aaa", ""]),
        (r"\Qa.b\E", &["a.b"], &["axb"]),
        (r"\Qa.b", &["a.b"], &["axb"]),
        (r"\Q[x]\E+", &["[x]", "[x]]]"], &["[x", "xx"]),
        ("[a&&b]", &["a", "b", "&"], &["", "c"]),
        ("[a~~b]", &["a", "b", "~"], &["c"]),
        ("[a-c-]", &["b", "-"], &["d"]),
        ("[-a]", &["-", "a"], &["b"]),
        ("[]a]", &["]", "a"], &["b"]),
        ("[^]a]", &["b"], &["]", "a"]),
        ("(?i)AbC", &["abc", "ABC"], &["ab"]),
        ("a.c", &["a\nc", "abc", "a한c"], &["ac"]),
        ("(?-s:a.c)", &["abc"], &["a\nc"]),
        ("(?U)a+", &["aaa"], &["b"]),
        (r"\pL", &["한", "x"], &["1"]),
        (r"\p{^Greek}", &["x"], &["α"]),
        ("[[:alpha:]]+", &["abc"], &["한", "1"]),
        ("[[:^digit:]x]", &["a", "한"], &["1"]),
        (r"a\z", &["a"], &["ab"]),
        (r"\x{61}\x62\141", &["aba"], &["abb"]),
        ("(?P<n>a)b", &["ab"], &["a"]),
        ("(?<n>a)b", &["ab"], &["a"]),
        // ASCII classes, as in RE2.
        (r"\d+", &["12"], &["١٢", ""]),
        (r"[\w.]+", &["a.b_1"], &["한"]),
        (r"\W", &["한", " "], &["a"]),
        (r"a\b.*", &["a", "a-b", "a한"], &["ab"]),
        (r"a\B.*", &["ab"], &["a", "a-b"]),
        // Escapes of punctuation are literal; `\<` is no word boundary.
        (r"\<a\>", &["<a>"], &["a"]),
        (r"a\-b\/c\_", &["a-b/c_"], &["a-b/c"]),
        ("(?)a", &["a"], &[""]),
        ("(?ii)a", &["A"], &[""]),
        ("(?i-i)a", &["a"], &["A"]),
        ("(?s-s:a.)", &["ab"], &["a\n"]),
        ("(?P<n>a)(?P<n>b)(?<n>c)", &["abc"], &["ab"]),
        ("(?P<1>a)", &["a"], &["b"]),
        ("a|b)|(c", &[], &[]),
        // What is compared and never compiled.
        ("up", &["up"], &["upp", "", "u"]),
        ("", &[""], &["a"]),
        ("b|a|", &["a", "b", ""], &["a|b", "c"]),
        ("(a|b)", &["a", "b"], &["ab", ""]),
        ("(?:a|b)", &["a", "b"], &["?:a"]),
        (".*", &["", "a\nb"], &[]),
        (".+", &["a\nb"], &[""]),
        // Counts around each other multiply to at most 1000; one of 0 is none.
        ("(?:(a{10}){0}b){20}", &["bbbbbbbbbbbbbbbbbbbb"], &["b"]),
        ("(?:a{0}){1000}", &[""], &["a"]),
        ("(?:a{10}b{50}?){20}|c", &["c"], &["a"]),
        ("(.*)", &["", "x"], &[]),
        ("(a)|(b)", &["a", "b"], &["a)|(b"]),
    ];

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (source, matching, others) in MATCHES {
            let Ok(pattern) = Pattern::new(source) else {
                assert!(matching.is_empty() && others.is_empty(), "{source} must compile");
                continue;
            };
            assert!(!matching.is_empty(), "{source} must be refused");
            for text in *matching {
                assert!(pattern.is_match(text), "{source} matches {text:?}");
            }
            for text in *others {
                assert!(!pattern.is_match(text), "{source} does not match {text:?}");
            }
        }
    }

    /// What a Prometheus says of each, without what its own anchors add.
    const REFUSED: &[(&str, &str)] = &[
        ("[a--b]", "invalid character class range: `a--`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a+*?b", "invalid nested repetition operator: `+*?`"),
        ("a{1}{2}", "invalid nested repetition operator: `{1}{2}`"),
        ("a???", "invalid nested repetition operator: `???`"),
        (r"\u0061", r"invalid escape sequence: `\u`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("(a{10}){101}", "invalid repeat count: `{101}`"),
        ("x(a{2,}){501}?y", "invalid repeat count: `{501}?`"),
        ("((a{10}|b){10}c){11}", "invalid repeat count: `{11}`"),
        ("((a{1000})*){2}", "invalid repeat count: `{2}`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        ("a)(b", "unexpected ): `a)(b`"),
        ("(", "missing closing ): `(`"),
        ("((a)", "missing closing ): `((a)`"),
        ("a)", "unexpected ): `a)`"),
        ("[a", "missing closing ]: `[a`"),
        ("x[a-", "missing closing ]: `[a-`"),
        ("x[a-b", "missing closing ]: `[a-b`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("(|+?)", "missing argument to repetition operator: `+?`"),
        ("a|{2}", "missing argument to repetition operator: `{2}`"),
        ("(?i)*", "missing argument to repetition operator: `*`"),
        (r"a\", "trailing backslash at end of expression: ``"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\8", r"invalid escape sequence: `\8`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?-)a", "invalid or unsupported Perl syntax: `(?-)`"),
        ("(?i--s)a", "invalid or unsupported Perl syntax: `(?i--`"),
        ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
        ("(?P<a-b>x)", "invalid named capture: `(?P<a-b>`"),
        ("(?P<>x)", "invalid named capture: `(?P<>`"),
        ("x(?<nx", "invalid named capture: `(?<nx`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        (r"[a-\d]", r"invalid escape sequence: `\d`"),
        (r"[\b]", r"invalid escape sequence: `\b`"),
        (r"[\Q]", r"invalid escape sequence: `\Q`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"\p{Nope}", r"invalid character class range: `\p{Nope}`"),
        (r"\pX", r"invalid character class range: `\pX`"),
        (r"\p{L", r"invalid character class range: `\p{L`"),
        (r"\p", r"invalid character class range: `\p`"),
        (r"\p{Script=Greek}", r"invalid character class range: `\p{Script=Greek}`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        (r"\x{}", r"invalid escape sequence: `\x{}`"),
        (r"\x{zz}", r"invalid escape sequence: `\x{z`"),
        (r"\xzz", r"invalid escape sequence: `\xz`"),
        (r"\x", r"invalid escape sequence: `\x`"),
        (r"\E", r"invalid escape sequence: `\E`"),
        (r"\한", r"invalid escape sequence: `\한`"),
    ];

    #[test]
    fn what_go_refuses_is_refused_in_its_words() {
        for (source, want) in REFUSED {
            let error = Pattern::new(source).expect_err(source);
            assert_eq!(error, format!("error parsing regexp: {want}"), "{source}");
        }
    }

    #[test]
    fn what_is_compiled_is_bounded() {
        let error = Pattern::new(r"(\pL{20}){50}|").expect_err("is megabytes");
        assert_eq!(
            error,
            r"bad regular expression `(\pL{20}){50}|`: it takes more than 1 MiB when compiled"
        );
        let names: Vec<String> = (0..1000).map(|i| format!("shop-{i}\\.web")).collect();
        assert!(Pattern::new(&names.join("|")).is_ok(), "a thousand names with dots");
        for usual in [".{1000}", "[^a]{500}", r"\w{900}", r"\pL+", "(?i)abc.*"] {
            assert!(Pattern::new(usual).is_ok(), "{usual}");
        }
        let mut budget = Budget::new();
        let fits = |_: &usize| Pattern::within("(?:abbb){1000}", &mut budget).is_ok();
        let fitting = (0..1000).take_while(fits).count();
        assert!((4..256).contains(&fitting), "{fitting}");
        assert!(Pattern::within("a|b", &mut budget).is_ok(), "what is compared costs nothing");
    }

    #[test]
    fn groups_expand_from_compiled_and_compared_patterns() {
        let cases = [
            ("(.*)", "x", "$1-$0", Some("x-x")),
            (".*", "x", "[$1]", Some("[]")),
            ("(a|b)", "b", "${1}c", Some("bc")),
            ("(a|b)", "c", "$1", None),
            (".+", "", "x", None),
            ("([a-z]+)-(?P<no>[0-9]+)", "ab-12", "${no}:$1", Some("12:ab")),
            ("(a)|(b)", "b", "<$1$2>", Some("<b>")),
            ("(?P<n>a)(?P<n>b)", "ab", "$n-$2", Some("a-b")),
        ];
        for (source, text, template, want) in cases {
            let pattern = Pattern::new(source).expect(source);
            assert_eq!(pattern.expand(text, template).as_deref(), want, "{source} on {text}");
            if let Some(want) = want.filter(|want| !want.is_empty()) {
                let within = |max| pattern.expand_within(text, template, max);
                assert_eq!(within(want.len()), Some(Ok(want.to_owned())), "{source} on {text}");
                assert_eq!(within(want.len() - 1), Some(Err(TooLong)), "{source} on {text}");
            }
        }
    }

    #[test]
    fn an_unanchored_pattern_searches_and_replaces() {
        let pattern = Pattern::unanchored("b+").expect("compiles");
        assert!(pattern.is_match("abba") && !pattern.is_match("aa"));
        assert_eq!(pattern.replace_all("abba-b", "<$0>"), "a<bb>a-<b>");
        let lines = Pattern::unanchored("a.b").expect("compiles");
        assert!(!lines.is_match("a\nb"), "templates use bare Go patterns, without (?s)");
        assert_ne!(pattern, Pattern::new("b+").expect("compiles"));
        let empty = Pattern::unanchored("b*").expect("compiles");
        assert_eq!(empty.replace_all("abc", "X"), "XaXcX");
        let whole = Pattern::new("x(.*)").expect("compiles");
        assert_eq!(whole.replace_all("xab", "$1"), "ab");
    }

    /// In the stack of a worker, in a build that is not optimised.
    #[test]
    fn groups_nest_as_deep_as_in_go() {
        let nests = |open: &str, close: &str, depth: usize| {
            format!("{}ab{}", open.repeat(depth), close.repeat(depth))
        };
        // How many groups a height of 1000 has room for, seen of promtool 2.42.
        let cases = [
            ("(", ")", Some(998)),
            ("(?P<n>", ")", Some(998)),
            ("(", ")*", Some(499)),
            ("(?:", ")+", Some(998)),
            ("c?(", ")", Some(499)),
            ("c|(?:", ")", None),
            ("cd|(", ")", Some(499)),
            ("d?(?:", "|c)", Some(499)),
            ("[de]?(?:", "|c)", Some(499)),
            ("x*(?:", ")+", Some(499)),
            ("(?:", ")", None),
        ];
        for (open, close, most) in cases {
            let pattern = Pattern::new(&nests(open, close, most.unwrap_or(5_000)));
            let pattern = pattern.unwrap_or_else(|error| panic!("{open}{close}: {}", cut(&error)));
            assert!(pattern.is_match("ab"), "{open}{close}");
            if let Some(most) = most {
                let error = Pattern::within(&nests(open, close, most + 1), &mut Budget::new());
                assert!(matches!(error, Err(PatternError::TooDeep(_))), "{open}{close}: {error:?}");
            }
        }
        let error = Pattern::within(&nests("(", ")", 1_001), &mut Budget::new());
        let error = error.expect_err("too deep");
        let want = "error parsing regexp: expression nests too deeply: `(((";
        assert!(error.to_string().starts_with(want), "{error}");
        assert_eq!(error.hint(), "use fewer brackets");
    }
}
