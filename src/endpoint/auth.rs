//! Credentials: where they stand, and the header they make.
//!
//! A file is read again for every request, as in Prometheus, so that a rotated secret needs no
//! reload. Neither `Debug` nor an error ever shows what is inside.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use reqwest::header::HeaderValue;

/// A secret word: written in the configuration, or in a file named there.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Written in the configuration itself; accepted because Prometheus accepts it.
    Inline(String),
    /// The trimmed content of this file, read at each use.
    File(PathBuf),
}

/// The `Authorization` header of a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Auth {
    /// None is sent.
    #[default]
    None,
    /// `Basic`, from `basic_auth`.
    Basic {
        /// `username` or `username_file`.
        username: Secret,
        /// `password` or `password_file`; may be absent.
        password: Option<Secret>,
    },
    /// `<type> <credentials>`, from `authorization`.
    Token {
        /// `type`; `Bearer` if not given.
        scheme: String,
        /// `credentials` or `credentials_file`.
        credentials: Secret,
    },
}

impl Secret {
    /// The secret itself. The error names the file.
    async fn read(&self) -> Result<String, String> {
        match self {
            Secret::Inline(text) => Ok(text.clone()),
            Secret::File(path) => {
                tokio::fs::read_to_string(path).await.map(|text| text.trim().to_owned()).map_err(
                    |error| format!("cannot read the secret file {}: {error}", path.display()),
                )
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Inline(_) => f.write_str("<secret>"),
            Secret::File(path) => write!(f, "<secret in {}>", path.display()),
        }
    }
}

impl Auth {
    /// The header's value, marked as sensitive; `None` if no header is wanted.
    pub async fn header(&self) -> Result<Option<HeaderValue>, String> {
        let text = match self {
            Auth::None => return Ok(None),
            Auth::Basic { username, password } => {
                let password = match password {
                    Some(password) => password.read().await?,
                    None => String::new(),
                };
                let pair = format!("{}:{password}", username.read().await?);
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
            }
            Auth::Token { scheme, credentials } => {
                format!("{scheme} {}", credentials.read().await?)
            }
        };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| "the credentials hold a byte that no HTTP header may hold".to_owned())?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(credentials: Secret) -> Auth {
        Auth::Token { scheme: "Bearer".to_owned(), credentials }
    }

    #[tokio::test]
    async fn headers_are_those_of_the_standards() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("token");
        std::fs::write(&file, "s3cret\n").expect("written");
        let basic = Auth::Basic {
            username: Secret::Inline("Aladdin".to_owned()),
            password: Some(Secret::Inline("open sesame".to_owned())),
        };
        // RFC 7617's own example.
        let cases = [
            (Auth::None, None),
            (basic, Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
            (token(Secret::File(file)), Some("Bearer s3cret")),
        ];
        for (auth, want) in cases {
            let header = auth.header().await.expect("readable");
            assert_eq!(header.as_ref().map(|h| h.to_str().expect("ascii")), want);
        }
    }

    #[tokio::test]
    async fn secrets_never_show() {
        let auth = token(Secret::Inline("hunter2\n".to_owned()));
        assert!(!format!("{auth:?}").contains("hunter2"));
        let error = auth.header().await.expect_err("a line break is no header");
        assert!(!error.contains("hunter2"), "{error}");
        let error = token(Secret::File("/nonexistent/token".into())).header().await;
        assert!(error.expect_err("missing").contains("/nonexistent/token"));
    }
}
