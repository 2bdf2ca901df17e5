//! Our own secrets in the words of others: a server may repeat what it was sent, and what it says is
//! logged, shown and mailed.
//!
//! Every sender strikes through one [`Redaction`], which is made of what was really sent: a file may
//! hold another secret by the time the answer comes.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{
    GeneralPurpose, STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD,
};
use reqwest::Url;
use reqwest::header::HeaderValue;

use super::escapes::{Layer, layers};

/// Shown in place of a secret.
const STRUCK: &str = "***";
/// Shorter than this is no secret, and would be found everywhere.
const SECRET_BYTES_MIN: usize = 3;
/// What is shorter than this is struck as a word by itself alone, for it may be part of others.
const WHOLE_WORD_BYTES_MAX: usize = 7;
/// A part of a path that is as long and of two kinds of characters (digits, small letters, capital
/// letters) may be a token: those of Slack, Discord, Teams and Telegram are longer.
const TOKEN_BYTES_MIN: usize = 8;
/// So may one of a single kind that is as long and has no `-`, `_` or `.` between words.
const PLAIN_TOKEN_BYTES_MIN: usize = 20;
/// Bytes of an escape for one byte: `\\u0026` in JSON in JSON, `%26#x26%3B`.
const ESCAPED_BYTES: usize = 12;

/// The secrets of one request. They are found in whatever way a server repeats them: as they are, in
/// base64, or escaped as in JSON, HTML and URLs, or in several of these.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Redaction {
    /// As [`layers`] writes them. The longest first.
    forms: Vec<String>,
}

impl Redaction {
    /// The secrets of an `Authorization` header: the credentials, and the password in them.
    pub fn of_header(header: Option<&HeaderValue>) -> Redaction {
        let text = header.and_then(|header| header.to_str().ok()).unwrap_or_default();
        let credentials = text.split_once(' ').map_or(text, |(_, credentials)| credentials);
        let pair = STANDARD.decode(credentials).ok().and_then(|pair| String::from_utf8(pair).ok());
        let pair = pair.filter(|_| text.starts_with("Basic ")).unwrap_or_default();
        let password = pair.split_once(':').map_or("", |(_, password)| password);
        Redaction::default().and(credentials.trim()).and(&pair).and(password)
    }

    /// The secrets of a login by mail: the password, and what carries it in `AUTH PLAIN`.
    pub fn of_login(username: &str, password: &str) -> Redaction {
        let plain = STANDARD.encode(format!("\0{username}\0{password}"));
        Redaction::default().and(password).and(&plain)
    }

    /// Also what is secret of an address: the password, or a user without one; the query and each of
    /// its values; parts of the path that may be tokens.
    pub fn and_url(self, url: &Url) -> Redaction {
        let (user, password) = (url.username(), url.password().unwrap_or_default());
        let login = if user.is_empty() { String::new() } else { format!("{user}:{password}") };
        let user = if password.is_empty() { user } else { "" };
        let query = url.query().unwrap_or_default();
        let values = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, v)| v));
        let path = url.path().split('/').filter(|part| may_be_token(part));
        let all = [user, password, &login, query].into_iter().chain(values).chain(path);
        all.fold(self, Redaction::and)
    }

    /// Also this word.
    fn and(mut self, secret: &str) -> Redaction {
        for layer in layers(secret) {
            // As it was given to whoever puts it into base64.
            let bytes: Vec<u8> = layer.text.chars().map(|byte| byte as u8).collect();
            let encoded = [
                STANDARD.encode(&bytes),
                STANDARD_NO_PAD.encode(&bytes),
                URL_SAFE.encode(&bytes),
                URL_SAFE_NO_PAD.encode(&bytes),
            ];
            let within = (0..3).flat_map(|before| {
                [STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|it| within_base64(&it, before, &bytes))
            });
            // A short one would be looked for as a word, and is none.
            let within = within.filter(|text| text.len() > WHOLE_WORD_BYTES_MAX);
            let encoded = encoded.into_iter().chain(within);
            let encoded = encoded.flat_map(|text| layers(&text));
            let forms = encoded.map(|layer| layer.text).chain([layer.text]);
            self.forms.extend(forms.filter(|form| form.len() >= SECRET_BYTES_MIN));
        }
        self.forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.forms.dedup();
        self
    }

    /// What was said, without the secrets.
    pub fn strike(&self, said: &str) -> String {
        replace(said, self.places(said))
    }

    /// What was said before it was cut off, without the secrets and the beginning of one at its end.
    pub fn strike_cut(&self, said: &str) -> String {
        // What is left of a character that was cut.
        let said = said.trim_end_matches(char::REPLACEMENT_CHARACTER);
        let mut places = self.places(said);
        for layer in layers(said) {
            let begun = self.forms.iter().filter_map(|form| begun_at(form, &layer.text)).min();
            places.extend(begun.map(|from| layer.origin(from, layer.text.len())));
        }
        replace(said, places)
    }

    /// From where to where there are secrets.
    fn places(&self, said: &str) -> Vec<(usize, usize)> {
        if self.forms.is_empty() {
            return Vec::new();
        }
        let of_layer = |layer: Layer| {
            let places = self.forms.iter().flat_map(|form| places_of(form, &layer.text));
            places.map(|(from, upto)| layer.origin(from, upto)).collect::<Vec<_>>()
        };
        layers(said).into_iter().flat_map(of_layer).collect()
    }

    /// Bytes of the longest form, escaped. Who shows the beginning of an answer reads as many more, or
    /// the end might be the beginning of a secret.
    pub fn longest(&self) -> usize {
        self.forms.first().map_or(0, String::len) * ESCAPED_BYTES
    }
}

/// What was said, with the places struck; what overlaps or touches is one.
fn replace(said: &str, mut places: Vec<(usize, usize)>) -> String {
    places.sort_unstable();
    let mut struck = String::with_capacity(said.len());
    let mut rest = 0;
    for (from, upto) in places {
        // An escape may stand for a part of a character.
        let (from, upto) = (said.floor_char_boundary(from), said.ceil_char_boundary(upto));
        if from > rest || rest == 0 {
            struck.push_str(&said[rest..from]);
            struck.push_str(STRUCK);
        }
        rest = upto.max(rest);
    }
    struck.push_str(&said[rest..]);
    struck
}

/// Where a form stands in a text; a short one, as a word by itself.
fn places_of<'a>(form: &'a str, text: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    let found = text.match_indices(form).map(|(at, _)| (at, at + form.len()));
    found.filter(move |(from, upto)| {
        form.len() > WHOLE_WORD_BYTES_MAX || is_end(&text[..*from]) && is_beginning(&text[*upto..])
    })
}

/// Where the longest beginning of a form starts with which a text ends, or would without half an escape.
fn begun_at(form: &str, text: &str) -> Option<usize> {
    let end = text.char_indices().rev().take(ESCAPED_BYTES);
    let halves = end.filter(|(_, c)| matches!(c, '\\' | '%' | '&')).map(|(at, _)| at);
    let starts = halves.chain([text.len()]).filter_map(|end| {
        let lengths = form.char_indices().map(|(length, _)| length).rev();
        let begins = |length: &usize| text[..end].ends_with(&form[..*length]);
        let length = lengths.take_while(|length| *length >= SECRET_BYTES_MIN).find(begins)?;
        Some(end - length)
    });
    let is_word = |from: &usize| is_end(&text[..*from]);
    starts.filter(|from| form.len() > WHOLE_WORD_BYTES_MAX || is_word(from)).min()
}

/// Whether a word may begin behind this text of a layer.
fn is_end(before: &str) -> bool {
    let mut last: Vec<u8> = before.chars().rev().take(4).map(|byte| byte as u8).collect();
    last.reverse();
    let last = String::from_utf8_lossy(&last).chars().next_back();
    last.is_none_or(|c| !c.is_alphanumeric())
}

/// Whether a word may end before this text of a layer.
fn is_beginning(behind: &str) -> bool {
    let first: Vec<u8> = behind.chars().take(4).map(|byte| byte as u8).collect();
    let first = String::from_utf8_lossy(&first).chars().next();
    first.is_none_or(|c| !c.is_alphanumeric())
}

/// What of base64 says nothing but this secret, with so many bytes before it in its group of three and
/// any behind it.
fn within_base64(alphabet: &GeneralPurpose, before: usize, secret: &[u8]) -> String {
    let bytes = [&[0; 2][..before], secret].concat();
    let (first, last) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    alphabet.encode(&bytes).get(first..last).unwrap_or_default().to_owned()
}

/// Whether a part of a path looks like one that was drawn, not named.
fn may_be_token(part: &str) -> bool {
    let has = |is: fn(&u8) -> bool| usize::from(part.bytes().any(|b| is(&b)));
    let kinds = has(u8::is_ascii_digit) + has(u8::is_ascii_lowercase) + has(u8::is_ascii_uppercase);
    let is_named = part.contains(['-', '_', '.']);
    part.len() >= TOKEN_BYTES_MIN && kinds > 1 || part.len() >= PLAIN_TOKEN_BYTES_MIN && !is_named
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redaction")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Redaction {
        Redaction::of_header(Some(&HeaderValue::from_str(text).expect("a header")))
    }

    fn url(text: &str) -> Redaction {
        Redaction::default().and_url(&Url::parse(text).expect("an address"))
    }

    #[test]
    fn what_was_sent_is_struck_in_every_form() {
        let pair = STANDARD.encode("u:a\"b&c d");
        for (redaction, said, want) in [
            (header("Bearer hunter2"), "no hunter2 aHVudGVyMg==", "no *** ***"),
            (header("Bearer hunter2"), "authorization=Bearer hunter2", "authorization=Bearer ***"),
            (header(&format!("Basic {pair}")), &format!("{pair} of u"), "*** of u"),
            (header(&format!("Basic {pair}")), "u:a\"b&c d, a\"b&c d", "***, ***"),
            (header(&format!("Basic {pair}")), r#"a\"b&c d"#, "***"),
            (header(&format!("Basic {pair}")), "a&quot;b&amp;c d a&#34;b&amp;c d", "*** ***"),
            (Redaction::of_login("u", "hunter2"), "AHUAaHVudGVyMg== hunter2", "*** ***"),
            (Redaction::default(), "nothing was sent", "nothing was sent"),
            (header(&format!("Basic {}", STANDARD.encode("u:größer"))), "gr%C3%B6%c3%9fer", "***"),
            (header(&format!("Basic {}", STANDARD.encode("u:größer"))), r"gr\u00f6\u00DFer", "***"),
            (url("https://u:pw7@h/hook?token=t0k"), "pw7 at /hook?token=t0k", "*** at /hook?***"),
        ] {
            assert_eq!(redaction.strike(said), want, "{said}");
        }
        assert!(!format!("{:?}", header("Bearer hunter2")).contains("hunter2"));
        assert_eq!(Redaction::of_header(None), Redaction::default());
    }

    /// The ways in which a server may write what it was sent.
    fn escaped(secret: &str) -> Vec<String> {
        let each = |write: &dyn Fn(u8) -> String| secret.bytes().map(write).collect::<String>();
        let special = |write: &dyn Fn(u8) -> String| {
            each(&|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { write(b) })
        };
        let json = serde_json::Value::from(secret).to_string();
        vec![
            secret.to_owned(),
            json[1..json.len() - 1].replace('/', r"\/"),
            each(&|b| format!("\\u{b:04x}")),
            special(&|b| format!("\\u{b:04X}")),
            special(&|b| format!("\\x{b:02x}")),
            special(&|b| format!("%{b:02X}")),
            each(&|b| format!("%{b:02x}")),
            special(&|b| format!("&#{b};")),
            each(&|b| format!("&#x{b:x};")),
            secret.replace('&', "&amp;").replace('"', "&quot;").replace('/', "&sol;"),
            secret.replace(' ', "+"),
        ]
    }

    #[test]
    fn a_secret_is_struck_however_it_is_escaped_and_escaped_again() {
        let secret = r#"p/4 s&s"w=r+d%2F<'>"#;
        let pair = STANDARD.encode(format!("u:{secret}"));
        let redaction = header(&format!("Basic {pair}"));
        for once in &escaped(secret) {
            assert_eq!(redaction.strike(&format!("<{once}>")), "<***>", "{once}");
            for twice in escaped(once) {
                assert_eq!(redaction.strike(&format!("<{twice}>")), "<***>", "{twice}");
            }
        }
        for encoded in escaped(&STANDARD.encode(secret)) {
            assert_eq!(redaction.strike(&encoded), "***", "{encoded}");
        }
    }

    #[test]
    fn what_is_secret_of_an_address_is_struck_by_itself() {
        let slack =
            "https://hooks.example.com/services/T01ABCDEF/B01ABCDEF/aBcDeFgHiJkLmNoPqRsTuVwX";
        let query = "https://h/events/new?site=berlin&sig=a%2Fb%2Bc%3Dlong&api-version=1";
        for (address, said, want) in [
            (slack, "no aBcDeFgHiJkLmNoPqRsTuVwX", "no ***"),
            (slack, r"POST \/services\/T01ABCDEF\/x", r"POST \/services\/***\/x"),
            ("https://h/hooks/abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz", "***"),
            ("https://h/hooks/a%2Fb%2Fc%2Fd1", "a/b/c/d1 a%2fb%2fc%2fd1", "*** ***"),
            (query, "sig a%2Fb%2Bc%3Dlong or a/b+c=long", "sig *** or ***"),
            (query, r"a\/b+c\u003dlong", "***"),
            (query, "POST /events/new of 1 site in berlin", "POST /events/new of 1 site in ***"),
            (query, "sites in berlin's", "sites in ***'s"),
            ("https://t0kenOfNobody@h/", "t0kenOfNobody dDBrZW5PZk5vYm9keTo=", "*** ***"),
            ("https://user:p%40ss+word@h/", "user p@ss+word p%40ss+word", "user *** ***"),
            ("https://h/a?justakeyofmine", "justakeyofmine", "***"),
        ] {
            assert_eq!(url(address).strike(said), want, "{address}: {said}");
        }
    }

    #[test]
    fn a_short_secret_is_struck_as_a_word_alone() {
        for (secret, said, want) in [
            ("ate", "late plates ate (ate) \"ate\"", "late plates *** (***) \"***\""),
            ("ate", r#"{"a":"x\nate"} %20ate"#, r#"{"a":"x\n***"} %20***"#),
            ("ate", "“ate” «ate» „ate“ ate… été", "“***” «***» „***“ ***… été"),
            ("ate", "éate ateß ate\u{FFFD}", "éate ateß ***\u{FFFD}"),
            ("ate", "&ldquo;ate%E2%80%9D é%C3%A9ate", "&ldquo;***%E2%80%9D é%C3%A9ate"),
            ("a", "a gate and a door", "a gate and a door"),
            ("longenough", "verylongenoughindeed", "very***indeed"),
        ] {
            assert_eq!(header(&format!("Bearer {secret}")).strike(said), want, "{secret}");
        }
    }

    #[test]
    fn a_secret_within_what_is_in_base64_is_struck() {
        let token = "tok?9f8e>7d6c~5b4a";
        let begin = ["", "a", "ab", "Bearer ", "Authorization: Bearer ", "{\"seen\":\""];
        let ends = ["", "\r", "\r\n", "\"}"];
        for (before, behind) in begin.iter().flat_map(|begin| ends.map(|end| (begin, end))) {
            let said = format!("{before}{token}{behind}");
            for said in [STANDARD.encode(&said), URL_SAFE_NO_PAD.encode(&said)] {
                let struck = header(&format!("Bearer {token}")).strike(&said);
                // At either end a character of base64 stands for others, too.
                let (first, last) = struck.trim_end_matches('=').split_once("***").expect(&said);
                let most = |text: &str| text.len().div_ceil(3) * 4 + 1;
                assert!(first.len() <= most(before) && last.len() <= most(behind), "{struck}");
            }
        }
        assert_eq!(header("Bearer ate").strike("a YXRl, bXRl"), "a ***, bXRl");
        assert_eq!(
            header("Bearer ate").strike("xate in base64: eGF0ZQ, F0Z"),
            "xate in base64: eGF0ZQ, F0Z"
        );
    }

    #[test]
    fn the_beginning_of_a_secret_at_the_end_of_a_cut_text_is_struck() {
        let secret = r#"p/4 s&s"w=r+d%2F<'>"#;
        let pair = STANDARD.encode(format!("u:{secret}"));
        let redaction = header(&format!("Basic {pair}"));
        let begins = |text: &str| layers(text).iter().any(|layer| layer.text.contains("p/4"));
        let encoded = STANDARD.encode(secret);
        for once in &escaped(secret) {
            for twice in escaped(once) {
                for (cut, _) in twice.char_indices().step_by(5) {
                    let shown = redaction.strike_cut(&format!("<{}", &twice[..cut]));
                    assert!(!begins(&shown), "{}: {shown}", &twice[..cut]);
                }
            }
        }
        for cut in SECRET_BYTES_MIN..=encoded.len() {
            assert_eq!(redaction.strike_cut(&format!("<{}", &encoded[..cut])), "<***");
        }
        for (redaction, said, want) in [
            (header("Bearer hunter2"), "no hunter2, no hunt", "no ***, no ***"),
            (header("Bearer hunter2"), "the blackhunt", "the blackhunt"),
            (header("Bearer hunter2"), "no hu", "no hu"),
            (header("Bearer hunter2-and-more"), "the blackhunt", "the black***"),
            (header(&format!("Basic {}", STANDARD.encode("u:größer"))), "größ\u{FFFD}", "***"),
            (header("Bearer abcabcabd"), "abcabcabcab", "abc***"),
            (Redaction::default(), "nothing was sent", "nothing was sent"),
        ] {
            assert_eq!(redaction.strike_cut(said), want, "{said}");
        }
    }

    #[test]
    fn a_long_text_and_a_secret_that_repeats_itself_cost_no_more_than_their_length() {
        let redaction = header(&format!("Bearer {}b", "a".repeat(4000)));
        let said = "a".repeat(1 << 16);
        assert_eq!(redaction.strike(&said), said);
        assert_eq!(redaction.strike_cut(&said), format!("{}***", &said[4000..]));
        let said = "%25".repeat(1 << 14);
        assert_eq!(redaction.strike(&said), said);
        assert!(redaction.longest() > 4000);
    }
}
