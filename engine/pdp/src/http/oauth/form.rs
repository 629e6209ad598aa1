//! Bodies of OAuth endpoints: `application/x-www-form-urlencoded` (RFC 6749 §3.2, appendix B).
//!
//! Strict where two readers could see two things: a parameter that is there twice, bytes that are
//! no UTF-8, a half percent sign. A parameter without a value is as good as none.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;

use super::error::OAuthError;
use crate::app::App;
use crate::http::Problem;
use crate::http::authzen::read_body;

/// Most parameters of a request, known and unknown ones.
const PARAMETERS_MAX: usize = 32;
/// Longest name of a parameter, bytes.
const NAME_MAX: usize = 64;
/// Longest value of a parameter, bytes: a token with a long chain of actors fits.
const VALUE_MAX: usize = 16 << 10;

/// The parameters of a request, by name. Only those that have a value.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct Form(BTreeMap<String, String>);

/// Names alone: values are secrets and tokens.
impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Form {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// `invalid_request` when it is no form, or an ambiguous one.
    pub(crate) async fn read(app: &App, request: Request<Body>) -> Result<Self, OAuthError> {
        // What stands in a URL stands in logs (RFC 6749 §2.3.1).
        if request.uri().query().is_some() {
            return Err(OAuthError::invalid_request(
                "parameters belong in the body, not in the URL",
            ));
        }
        let mut kinds = request.headers().get_all(CONTENT_TYPE).iter();
        let is_form = kinds.next().is_some_and(|kind| {
            let essence = kind.to_str().unwrap_or_default().split(';').next();
            essence.is_some_and(|essence| {
                essence
                    .trim()
                    .eq_ignore_ascii_case("application/x-www-form-urlencoded")
            })
        });
        if !is_form || kinds.next().is_some() {
            return Err(OAuthError::invalid_request(
                "the Content-Type must be application/x-www-form-urlencoded",
            ));
        }
        let body = read_body(app, request).await.map_err(unread(app))?;
        Self::parse(&body)
    }

    /// Reads the text of a form.
    ///
    /// # Errors
    /// `invalid_request`, with the name of what is wrong.
    pub(crate) fn parse(body: &Bytes) -> Result<Self, OAuthError> {
        let mut parameters = BTreeMap::new();
        let mut empty = Vec::new();
        let pairs = body
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty());
        for (position, pair) in pairs.enumerate() {
            if position >= PARAMETERS_MAX {
                return Err(OAuthError::invalid_request(format!(
                    "more than {PARAMETERS_MAX} parameters"
                )));
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default());
            let value = decode(halves.next().unwrap_or_default());
            let (Some(name), Some(value)) = (name, value) else {
                return Err(OAuthError::invalid_request(
                    "a parameter is not percent-encoded UTF-8",
                ));
            };
            if name.is_empty() || name.len() > NAME_MAX {
                return Err(OAuthError::invalid_request(format!(
                    "the name of a parameter has 1 to {NAME_MAX} bytes"
                )));
            }
            if value.len() > VALUE_MAX {
                return Err(OAuthError::invalid_request(format!(
                    "`{name}` is longer than {VALUE_MAX} bytes"
                )));
            }
            if value.chars().any(char::is_control) {
                return Err(OAuthError::invalid_request(format!(
                    "`{name}` has a control character in it"
                )));
            }
            if parameters.contains_key(&name) || empty.contains(&name) {
                return Err(OAuthError::invalid_request(format!(
                    "`{name}` is there twice; send it once"
                )));
            }
            if value.is_empty() {
                empty.push(name);
            } else {
                parameters.insert(name, value);
            }
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a parameter that has to be there.
    ///
    /// # Errors
    /// `invalid_request` when it is not.
    pub(crate) fn required(&self, name: &str) -> Result<&str, OAuthError> {
        self.get(name)
            .ok_or_else(|| OAuthError::invalid_request(format!("`{name}` is missing")))
    }
}

fn unread(app: &App) -> impl FnOnce(Problem) -> OAuthError {
    let most = app.settings.limits.body_bytes;
    move |problem| match problem.item() {
        (413, _) => OAuthError::too_large(most),
        (503, why) => OAuthError::unavailable(why),
        (_, why) => OAuthError::invalid_request(why),
    }
}

/// Undoes the encoding of a form. None for what it could not have made.
pub(crate) fn decode(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Form, OAuthError> {
        Form::parse(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_form_is_read_as_rfc_6749_says() {
        let form =
            parse("grant_type=client_credentials&scope=read+write&&x=%C3%A4&empty=").unwrap();
        assert_eq!(form.get("grant_type"), Some("client_credentials"));
        assert_eq!(form.get("scope"), Some("read write"));
        assert_eq!(form.get("x"), Some("ä"));
        assert_eq!(form.get("empty"), None, "§3.2: as if it were not there");
        assert_eq!(parse("").unwrap(), Form::default());
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let long_name = format!("{}=x", "n".repeat(NAME_MAX + 1));
        let long_value = format!("x={}", "v".repeat(VALUE_MAX + 1));
        let many: String = (0..=PARAMETERS_MAX).map(|n| format!("p{n}=x&")).collect();
        for bad in [
            "a=1&a=2",
            "a=1&%61=1",
            "a=&a=1",
            "a=1&a=",
            "a=%",
            "a=%4",
            "a=%zz",
            "a=%+1",
            "a=%ff",
            "a=%00",
            "a=x%0ay",
            "=x",
            &long_name,
            &long_value,
            &many,
        ] {
            assert_eq!(parse(bad).unwrap_err().code(), "invalid_request", "{bad}");
        }
    }
}
