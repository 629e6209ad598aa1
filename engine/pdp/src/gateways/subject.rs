//! Who the client is: by its token, its session cookie, its certificate, or nobody.
//!
//! The first that is there decides, and one that is not valid is never passed over for the next:
//! whoever shows something made up does not get to be somebody else by it.

use ::token::Claims;
use ::token::dpop::Proof;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use domain::value::Attributes;
use domain::{Assurance, EntityRef, KeyThumbprint, Timestamp};
use gateway::reply::Scheme;
use gateway::{Credential, Original};

use super::{Asked, certificate, cookie, token};
use crate::app::App;
use crate::sessions::name::is_id;

/// Whom a credential names, and what it brings.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    /// Who.
    pub(super) subject: EntityRef,
    /// What it says.
    pub(super) claims: Attributes,
    /// What was proven, as far as the credential says so itself.
    pub(super) assurance: Option<Assurance>,
    /// Who acts for the subject.
    pub(super) actor: Option<EntityRef>,
    /// The session that it belongs to.
    pub(super) session: Option<Session>,
    /// The key that was proven with it.
    pub(super) proven: Option<KeyThumbprint>,
    /// What it is good for, apart by spaces. None: it says nothing of that.
    pub(super) scope: Option<String>,
    /// How it was shown.
    pub(super) scheme: Scheme,
    /// Browsers send it along whatever page asks, as cookies and certificates.
    pub(super) is_sent_by_browsers: bool,
    /// The token that it is, as ours would say it.
    pub(super) original: Option<Box<Claims>>,
    /// The proof that came with it, which holds and is not spent yet.
    pub(super) proof: Option<Proof>,
}

/// How a credential names its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Session {
    /// By its handle, which is the cookie's value.
    Handle(String),
    /// By its public id, in a token that was given in it.
    Token(String),
    /// By what an issuer calls it: a word of the caller's own.
    Word(String),
}

/// Why nobody knows who the client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotKnown {
    /// 400: what it shows can be read in more than one way.
    Malformed(String),
    /// 401: what it shows is not valid.
    Invalid {
        /// How it was shown.
        scheme: Scheme,
        /// It is the session cookie, which is of no use any more.
        clears_cookie: bool,
    },
    /// 503: whether it is valid cannot be told.
    Unavailable,
}

impl Resolved {
    /// Somebody of whom no more is known.
    pub(super) fn named(subject: EntityRef) -> Self {
        Self {
            subject,
            claims: Attributes::new(),
            assurance: None,
            actor: None,
            session: None,
            proven: None,
            scope: None,
            scheme: Scheme::Bearer,
            is_sent_by_browsers: false,
            original: None,
            proof: None,
        }
    }

    /// For routes.
    pub(super) fn credential(&self) -> Credential<'_> {
        Credential {
            subject: &self.subject,
            claims: &self.claims,
        }
    }
}

impl Session {
    /// Whether it is one that was opened with the engine.
    pub(super) fn is_engines(&self) -> bool {
        match self {
            Self::Handle(_) => true,
            Self::Token(id) => is_id(id),
            Self::Word(_) => false,
        }
    }
}

impl NotKnown {
    pub(super) fn token(scheme: Scheme, why: &dyn std::fmt::Display) -> Self {
        tracing::debug!(%why, "a client's token was refused");
        Self::Invalid {
            scheme,
            clears_cookie: false,
        }
    }

    pub(super) fn cookie(why: &'static str) -> Self {
        tracing::debug!(why, "a client's cookie was refused");
        Self::Invalid {
            scheme: Scheme::Bearer,
            clears_cookie: true,
        }
    }
}

/// Whose credential came with a request. None: no credential came.
///
/// # Errors
/// When one came that does not hold.
pub(super) async fn resolve(
    app: &App,
    asked: &Asked<'_>,
    original: &Original,
    now: Timestamp,
) -> Result<Option<Resolved>, NotKnown> {
    if let Some((scheme, text)) = authorization(asked.headers)? {
        let shown = asked.client_certificate.as_deref();
        let came = token::Came {
            asked,
            original,
            shown,
            scheme,
        };
        return token::resolve(app, &came, text, now).await.map(Some);
    }
    let cookie = asked.door.cookie.read(asked.headers);
    if let Some(value) = cookie.map_err(|why| NotKnown::Malformed(why.to_string()))? {
        return cookie::resolve(app, value, now).await.map(Some);
    }
    let Some(certificate) = asked.client_certificate.as_deref() else {
        return Ok(None);
    };
    match certificate::resolved(certificate, asked.door) {
        Some(known) => Ok(Some(known)),
        None => Err(NotKnown::Invalid {
            scheme: Scheme::Bearer,
            clears_cookie: false,
        }),
    }
}

/// The token that a client sends. Other schemes (`Basic`) are the app's own: they are nothing here.
fn authorization(headers: &HeaderMap) -> Result<Option<(Scheme, &str)>, NotKnown> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let Some(first) = sent.next() else {
        return Ok(None);
    };
    if sent.next().is_some() {
        return Err(NotKnown::Malformed(
            "there is more than one `Authorization`; send one".to_owned(),
        ));
    }
    let bytes = first.as_bytes().trim_ascii();
    let end = bytes.iter().position(u8::is_ascii_whitespace);
    let (word, rest) = bytes
        .split_at_checked(end.unwrap_or(bytes.len()))
        .unwrap_or_default();
    let schemes = [(Scheme::Bearer, "bearer"), (Scheme::Dpop, "dpop")];
    let scheme = schemes
        .into_iter()
        .find(|(_, name)| word.eq_ignore_ascii_case(name.as_bytes()));
    let Some((scheme, _)) = scheme else {
        return Ok(None);
    };
    match std::str::from_utf8(rest.trim_ascii()) {
        Ok(text) => Ok(Some((scheme, text))),
        Err(_) => Err(NotKnown::token(scheme, &"not text")),
    }
}
