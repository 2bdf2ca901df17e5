//! Our own secrets in the words of others: a server may repeat what it was sent, and what it says is
//! logged, shown and mailed.
//!
//! Every sender strikes through one [`Redaction`], which is made of what was really sent: a file may
//! hold another secret by the time the answer comes.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::HeaderValue;

/// Shown in place of a secret.
const STRUCK: &str = "***";

/// The secrets of one request, in the forms in which a server may repeat them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Redaction {
    /// The longest first: one may hold another.
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

    /// Also the password and the query of an address.
    pub fn and_url(self, url: &Url) -> Redaction {
        self.and(url.password().unwrap_or_default()).and(url.query().unwrap_or_default())
    }

    /// Also this word: as it is, escaped as in JSON and HTML, and in base64.
    fn and(mut self, secret: &str) -> Redaction {
        if secret.is_empty() {
            return self;
        }
        let json = serde_json::Value::from(secret).to_string();
        let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.forms.extend([
            secret.to_owned(),
            json[1..json.len() - 1].to_owned(),
            html.replace('"', "&quot;"),
            html.replace('"', "&#34;").replace('\'', "&#39;"),
            STANDARD.encode(secret),
        ]);
        self.forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.forms.dedup();
        self
    }

    /// What was said, without the secrets.
    pub fn strike(&self, said: &str) -> String {
        self.forms.iter().fold(said.to_owned(), |said, form| said.replace(form, STRUCK))
    }

    /// Bytes of the longest form. Who shows the beginning of an answer reads as many more, or the end
    /// might be the beginning of a secret.
    pub fn longest(&self) -> usize {
        self.forms.first().map_or(0, String::len)
    }
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
        ] {
            assert_eq!(redaction.strike(said), want, "{said}");
        }
        let url = Url::parse("https://u:pw7@h/hook?token=t0k").expect("an address");
        let redaction = Redaction::default().and_url(&url);
        assert_eq!(redaction.strike("pw7 at /hook?token=t0k"), "*** at /hook?***");
        assert!(!format!("{redaction:?}").contains("t0k"));
        assert_eq!(Redaction::of_header(None), Redaction::default());
    }
}
