//! Which client asks at an OAuth endpoint (RFC 6749 §2.3).
//!
//! In exactly one way: whoever sends two credentials may mean either, and a proxy in front may
//! have looked at the other one.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use data_encoding::BASE64;

use super::error::OAuthError;
use super::form::{Form, decode};
use crate::access::{Caller, Credential, NotAdmitted, Permission};
use crate::app::App;
use crate::http::authn::{Authenticated, note_failed};
use crate::http::bearer::{Came, Presented, Scheme, is_like_a_token, recognise};
use crate::http::client_certificate::{Shown, named_by};

/// One sentence for all of them: which part was wrong would help those who guess.
const WRONG: &str = "no such client, or not its secret; send an API key as client_id and \
                     client_secret by HTTP Basic or in the form, or as a Bearer token";

/// What a client sent to be recognised by.
struct Credentials {
    /// The whole key, `sk_….…`.
    key: String,
    /// The client id that came with it, if any: it has to be the key's own.
    client_id: Option<String>,
}

/// Recognises the client of a request, and counts the request as under way.
///
/// # Errors
/// `invalid_client`, or `invalid_request` when two ways were used at once.
pub(in crate::http) async fn authenticate(
    app: &Arc<App>,
    came: Came<'_>,
    form: &Form,
) -> Result<Authenticated, OAuthError> {
    let (headers, shown) = (came.headers, came.shown);
    let now = app.inputs.clock.now();
    // With a secret as well, the certificate is what tokens are bound to (RFC 8705 §3).
    let is_alone = !headers.contains_key(AUTHORIZATION) && form.get("client_secret").is_none();
    if let Some(Shown(certificate)) = shown.filter(|_| is_alone) {
        let caller = named_by(app, certificate);
        let named = form.get("client_id");
        let is_who_it_says =
            |caller: &Caller| named.is_none_or(|client_id| is_called(caller, client_id));
        let Some(caller) = caller.ok().filter(is_who_it_says) else {
            note_failed(app, Credential::Certificate, came.peer);
            return Err(OAuthError::invalid_client(WRONG));
        };
        return enter(app, came, caller);
    }
    let credentials = credentials(headers, form)?;
    let caller = app
        .keys
        .admit(&credentials.key, app.state.store(), now)
        .await
        .inspect_err(|_| note_failed(app, Credential::Key, came.peer))
        .map_err(|why| match why {
            NotAdmitted::Refused(_) => OAuthError::invalid_client(WRONG),
            NotAdmitted::TooManyRefused => OAuthError::too_many(
                "the client is not known, and too many such came lately; send a valid key, or wait",
            ),
            NotAdmitted::NotLookedUp => OAuthError::unavailable(
                "whether the client's key is valid cannot be told at the moment; try again",
            ),
        })?;
    if let Some(client_id) = &credentials.client_id
        && !is_called(&caller, client_id)
    {
        note_failed(app, Credential::Key, came.peer);
        return Err(OAuthError::invalid_client(WRONG));
    }
    enter(app, came, caller)
}

/// As [`authenticate`], or by a token of ours for the engine that the client got for itself: where
/// nothing is granted, so that no token can be had for another for ever.
///
/// # Errors
/// As there, and `invalid_token`.
pub(in crate::http) async fn authenticate_or_token(
    app: &Arc<App>,
    came: Came<'_>,
    form: &Form,
) -> Result<Authenticated, OAuthError> {
    let Some((scheme, text)) = token(came.headers) else {
        return authenticate(app, came, form).await;
    };
    let others = ["client_secret", "client_assertion", "client_assertion_type"];
    if others.iter().any(|name| form.get(name).is_some()) {
        return Err(OAuthError::invalid_request(
            "the client authenticates twice, by `Authorization` and in the form; do it once",
        ));
    }
    let now = app.inputs.clock.now();
    let caller = match recognise(app, came, scheme, text, now).await {
        Ok(Presented::Client(caller)) => caller,
        Ok(Presented::Holder(_)) => {
            return Err(OAuthError::unauthorized_client(
                "the token is that of a subject; send one that the client got for itself, or its \
                 key",
            ));
        }
        Err(why) => {
            note_failed(app, Credential::Token, came.peer);
            return Err(OAuthError::invalid_token(why.0));
        }
    };
    if form
        .get("client_id")
        .is_some_and(|id| !is_called(&caller, id))
    {
        return Err(OAuthError::invalid_client(WRONG));
    }
    enter(app, came, caller)
}

/// The token in the one `Authorization`, if that is no key.
fn token(headers: &HeaderMap) -> Option<(Scheme, &str)> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let header = sent.next().filter(|_| sent.next().is_none())?;
    let (scheme, text) = header.to_str().ok()?.split_once(' ')?;
    let (scheme, text) = (Scheme::read(scheme)?, text.trim());
    (scheme == Scheme::DPoP || is_like_a_token(text)).then_some((scheme, text))
}

fn enter(app: &Arc<App>, came: Came<'_>, caller: Caller) -> Result<Authenticated, OAuthError> {
    if let Some(place) = came.place {
        place.know(&caller.client_id);
    }
    Authenticated::enter(app, caller)
        .map_err(|why| OAuthError::too_many(why.item().1).after(why.retry_after()))
}

/// Whether a client may call itself so: by the key that it sends, or by the first that it had.
fn is_called(caller: &Caller, client_id: &str) -> bool {
    caller.key_id == client_id || caller.client_id == client_id
}

/// Goes on only if the client may do this.
///
/// # Errors
/// `unauthorized_client`.
pub(crate) fn require(asker: &Authenticated, permission: Permission) -> Result<(), OAuthError> {
    asker.require(permission).map_err(|_| {
        OAuthError::unauthorized_client(format!(
            "the client's role does not permit `{}`",
            permission.action()
        ))
    })
}

fn credentials(headers: &HeaderMap, form: &Form) -> Result<Credentials, OAuthError> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let header = sent.next();
    if sent.next().is_some() {
        return Err(OAuthError::invalid_request(
            "there is more than one `Authorization`; send one",
        ));
    }
    for method in ["client_assertion", "client_assertion_type"] {
        if form.get(method).is_some() {
            return Err(OAuthError::invalid_client(
                "client assertions are not taken here; send an API key",
            ));
        }
    }
    let (id, secret) = (form.get("client_id"), form.get("client_secret"));
    match (header, secret) {
        (Some(_), Some(_)) => Err(OAuthError::invalid_request(
            "the client authenticates twice, by `Authorization` and by `client_secret`; do it once",
        )),
        (None, Some(secret)) => {
            let id = id.ok_or_else(|| OAuthError::invalid_request("`client_id` is missing"))?;
            Ok(Credentials {
                key: whole_key(id, secret),
                client_id: Some(id.to_owned()),
            })
        }
        (None, None) => Err(OAuthError::invalid_client(WRONG)),
        (Some(header), None) => {
            let text = header.to_str().unwrap_or_default();
            let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
            let rest = rest.trim();
            if scheme.eq_ignore_ascii_case("bearer") {
                return Ok(Credentials {
                    key: rest.to_owned(),
                    client_id: id.map(str::to_owned),
                });
            }
            let basic = scheme
                .eq_ignore_ascii_case("basic")
                .then(|| basic(rest))
                .flatten();
            let (user, secret) = basic.ok_or_else(|| OAuthError::invalid_client(WRONG))?;
            if id.is_some_and(|id| id != user) {
                return Err(OAuthError::invalid_client(WRONG));
            }
            Ok(Credentials {
                key: whole_key(&user, &secret),
                client_id: Some(user),
            })
        }
    }
}

/// Name and password of HTTP Basic, each encoded as in a form (RFC 6749 §2.3.1).
fn basic(text: &str) -> Option<(String, String)> {
    let bytes = BASE64.decode(text.as_bytes()).ok()?;
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let (user, rest) = bytes.split_at(colon);
    Some((decode(user)?, decode(rest.get(1..)?)?))
}

/// The secret may be sent alone, or as the whole key as it was handed out.
fn whole_key(id: &str, secret: &str) -> String {
    if secret.contains('.') {
        secret.to_owned()
    } else {
        format!("{id}.{secret}")
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use axum::http::HeaderValue;

    use super::*;

    fn key(authorization: &[&str], form: &str) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let form = Form::parse(&Bytes::copy_from_slice(form.as_bytes())).unwrap();
        match credentials(&headers, &form) {
            Ok(credentials) => Ok(credentials.key),
            Err(error) => Err(error.code()),
        }
    }

    fn basic_of(text: &str) -> String {
        format!("Basic {}", BASE64.encode(text.as_bytes()))
    }

    #[test]
    fn x8_a_client_authenticates_in_exactly_one_way() {
        let good = Ok("sk_1.s".to_owned());
        let basic = basic_of("sk_1:s");
        assert_eq!(key(&[&basic], ""), good);
        assert_eq!(key(&[&basic_of("sk_1:sk_1.s")], ""), good);
        assert_eq!(key(&[&basic_of("sk%5F1:sk_1%2Es")], ""), good);
        assert_eq!(key(&[&basic], "client_id=sk_1"), good);
        assert_eq!(key(&["bearer sk_1.s"], ""), good);
        assert_eq!(key(&[], "client_id=sk_1&client_secret=s"), good);
        assert_eq!(key(&[], "client_id=sk_1&client_secret=sk_1.s"), good);
        for (headers, form, wanted) in [
            (vec![basic.as_str()], "client_secret=s", "invalid_request"),
            (vec![&basic, "Bearer sk_1.s"], "", "invalid_request"),
            (vec![], "client_secret=s", "invalid_request"),
            (vec![], "client_id=sk_1", "invalid_client"),
            (vec![&basic], "client_id=sk_2", "invalid_client"),
            (vec!["Basic !"], "", "invalid_client"),
            (vec!["Basic c2tfMQ=="], "", "invalid_client"),
            (vec!["Digest x"], "", "invalid_client"),
            (vec![], "", "invalid_client"),
            (vec![], "client_assertion=x", "invalid_client"),
        ] {
            assert_eq!(key(&headers, form), Err(wanted), "{headers:?} {form}");
        }
    }
}
