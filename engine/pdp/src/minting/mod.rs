//! The one place where access tokens are made.
//!
//! [`with_answer`] mints for an evaluation that was allowed, [`weigh`] decides what may be granted
//! at the token endpoint, [`derive`](mod@derive) says what a derived token keeps of its original.
//! All of them end in [`draft`] and [`sign`], so no token can leave without issuer, audience,
//! client, id and end.

pub(crate) mod derive;
pub(crate) mod weigh;
pub(crate) mod with_answer;

use domain::{Assurance, EntityRef, KeyThumbprint, Level, Timestamp};
use token::claims::{ACCESS_TOKEN_TYP, Confirmation, ContextClaim, LIFE_MAX_SECONDS};
use token::{Claims, KeyError};

use crate::app::App;
use crate::sessions::life::{Life, life};
use crate::settings::SessionSettings;
use crate::status_lists::{self, NoPlace};

/// `acr` of a subject that nothing is proven of.
const ACR_NONE: &str = "urn:portreeve:acr:none";
/// `acr` of a subject that one factor is proven of.
const ACR_SINGLE_FACTOR: &str = "urn:portreeve:acr:single-factor";

/// A token, signed.
pub(crate) struct Minted {
    /// Its `jti`.
    pub(crate) id: String,
    /// The token itself.
    pub(crate) text: String,
    /// What it is good for, apart by spaces.
    pub(crate) scope: String,
    /// Its life, seconds.
    pub(crate) life_seconds: u64,
    /// How it is presented: `Bearer`, or `DPoP` with a proof (RFC 9449 §5).
    pub(crate) token_type: &'static str,
}

/// Without the token.
impl std::fmt::Debug for Minted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minted")
            .field("id", &self.id)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// Whom a token is made for.
#[derive(Clone, Debug)]
pub(crate) struct Holder<'a> {
    /// `sub`.
    pub(crate) subject: &'a EntityRef,
    /// `client_id`.
    pub(crate) client_id: &'a str,
    /// `aud`.
    pub(crate) audience: &'a str,
    /// How sure one may be of the subject.
    pub(crate) assurance: Assurance,
}

/// The claims that every token has, from now on for so many seconds: [`LIFE_MAX_SECONDS`] at
/// most, whatever is asked for (T20).
pub(crate) fn draft(
    app: &App,
    id: String,
    holder: &Holder<'_>,
    scope: String,
    life_seconds: u64,
    now: Timestamp,
) -> Claims {
    let subject = holder.subject;
    Claims {
        iss: app.public_url().to_owned(),
        sub: token::claims::subject(subject.kind.as_str(), subject.id.as_str()),
        aud: holder.audience.to_owned(),
        client_id: holder.client_id.to_owned(),
        iat: now.seconds(),
        nbf: now.seconds(),
        exp: token::claims::expiry(now, life_seconds.min(LIFE_MAX_SECONDS)),
        jti: id,
        scope,
        acr: acr_of(holder.assurance.level, &app.settings.sessions).to_owned(),
        auth_time: holder.assurance.at.map(Timestamp::seconds),
        sid: None,
        cnf: None,
        act: None,
        original_jti: None,
        lineage: Vec::new(),
        issued_to: Vec::new(),
        family_id: None,
        status: None,
        context: ContextClaim::default(),
        risk: None,
    }
}

/// Why a token is not handed out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    /// The library refuses to sign.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// It was given no place in a status list.
    #[error("{0}")]
    Place(#[from] NoPlace),
    /// Its session is over, or ends within a second.
    #[error("its session is over")]
    SessionOver,
    /// Whether its session is over cannot be told at the moment.
    #[error("its session cannot be looked up")]
    SessionUnknown,
}

/// The end of a token that names this session, or any: not after the session's, as that stands now.
///
/// # Errors
/// When the session has less than a second left, or that cannot be told.
pub(crate) async fn end_of(
    app: &App,
    sid: Option<&String>,
    exp: i64,
    now: Timestamp,
) -> Result<i64, SignError> {
    match life(app, sid, now).await {
        Life::Own => Ok(exp),
        Life::Until(end) => {
            let exp = exp.min(end.seconds());
            if end.whole_seconds_since(now) < 1 || exp <= now.seconds() {
                return Err(SignError::SessionOver);
            }
            Ok(exp)
        }
        Life::Over => Err(SignError::SessionOver),
        Life::Unknown => Err(SignError::SessionUnknown),
    }
}

/// Signs claims with the key that signs now. A token that names a session of ours does not outlive
/// it, wherever it is made. Where status lists are on, the token has its place
/// in one, durable, when this returns.
///
/// # Errors
/// When it cannot be signed, or given no place, or its session is over.
pub(crate) async fn sign(app: &App, mut claims: Claims) -> Result<Minted, SignError> {
    let now = app.inputs.clock.now();
    claims.exp = end_of(app, claims.sid.as_ref(), claims.exp, now).await?;
    claims.status = status_lists::assign(app, &claims).await?;
    let text = token::mint(app.signing.current().signer(), ACCESS_TOKEN_TYP, &claims)?;
    let is_dpop = claims.cnf.as_ref().is_some_and(|cnf| cnf.jkt.is_some());
    Ok(Minted {
        id: claims.jti,
        text,
        scope: claims.scope,
        life_seconds: u64::try_from(claims.exp - claims.iat).unwrap_or_default(),
        token_type: if is_dpop { "DPoP" } else { "Bearer" },
    })
}

/// The `acr` of a level.
pub(crate) fn acr_of(level: Level, sessions: &SessionSettings) -> &str {
    match level {
        Level::None => ACR_NONE,
        Level::SingleFactor => ACR_SINGLE_FACTOR,
        Level::Challenge => &sessions.challenge_acr,
        Level::Mfa => &sessions.mfa_acr,
    }
}

/// What a token's `acr` and `auth_time` say, the other way round. Nothing fresh without a time.
pub(crate) fn assurance_of(
    acr: &str,
    auth_time: Option<i64>,
    sessions: &SessionSettings,
) -> Assurance {
    let level = if acr == ACR_SINGLE_FACTOR {
        Level::SingleFactor
    } else {
        sessions.acr_levels.get(acr).copied().unwrap_or_default()
    };
    Assurance::of(level, auth_time.map(Timestamp::from_seconds))
}

/// The claim that binds a token to a key.
pub(crate) fn confirmation(key: &KeyThumbprint) -> Confirmation {
    match key {
        KeyThumbprint::Jkt(jkt) => Confirmation {
            jkt: Some(jkt.clone()),
            x5t_s256: None,
        },
        KeyThumbprint::Certificate(thumbprint) => Confirmation {
            jkt: None,
            x5t_s256: Some(thumbprint.clone()),
        },
    }
}
