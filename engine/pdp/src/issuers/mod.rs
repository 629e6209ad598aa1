//! Tokens of other issuers (X10): verified by the keys that they publish, and turned into the subject
//! and the assurance that they speak of. No token is kept, and none is a key of any map (B10).

mod cache;
mod key_source;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use domain::{Assurance, EntityRef, Level, Timestamp};
use token::certificate::thumbprint;
use token::claims::{Confirmation, ContextClaim, subject};
use token::foreign::{JTI_PREFIX, MayAct};
use token::jws::{claimed_issuer, key_id};
use token::keys::admit_jwks;
use token::revocation::{Lineage, RevokedBy};
use token::{Claims, ForeignExpected, Refusal, verify_foreign};

use crate::access::Caller;
use crate::app::App;
use crate::minting::acr_of;
use crate::outbound::Outbound;
use crate::settings::SessionSettings;
pub(crate) use key_source::KeySource;
pub(crate) use settings::LIFE_MAX_SECONDS;
pub use settings::{IssuerSettings, RawIssuer, Source};

/// How far the clocks of issuers may be from ours, seconds.
const LEEWAY_SECONDS: u64 = 5;

/// Why a foreign token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBelieved {
    /// It names no issuer of the settings.
    #[error("of no issuer that is configured")]
    Stranger,
    /// It does not hold.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Its issuer's keys are not there, or too old, and could not be fetched: nobody can tell.
    #[error("the keys of its issuer are not at hand; try again")]
    NoKeys,
    /// What it calls the subject cannot be the name of one.
    #[error("the subject {0}")]
    Subject(domain::NameError),
    /// Somebody else may act for the subject, and not who presents it (RFC 8693 §4.4).
    #[error("`may_act` names another than who presents it")]
    Actor,
    /// It, or what its subject was given, was taken back.
    #[error("revoked by {}", .0.as_str())]
    Revoked(RevokedBy),
}

/// What a foreign token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Who issued it.
    pub issuer: String,
    /// Of whom it speaks.
    pub subject: EntityRef,
    /// What its issuer calls the session that it was given in (`sid`), as it stands.
    pub sid: Option<String>,
    /// How sure one may be of that, and since when (`sessions.acr_levels`). Without `auth_time` the
    /// level is of long ago: when it was issued says nothing of when somebody typed a password.
    pub assurance: Assurance,
    /// Authentication context class, as it stands.
    pub acr: Option<String>,
    /// Authentication methods, as they stand.
    pub amr: Vec<String>,
    /// When the subject authenticated.
    pub auth_time: Option<Timestamp>,
    /// What the token is called here: the same for all forms of one token, and told from the
    /// tokens of other issuers and from ours.
    pub id: String,
    /// When it was issued, at the earliest: its issuer's clock may be ahead of ours, and what was
    /// issued before a revocation must not pass for later.
    pub issued_at: Timestamp,
    /// Expiry, seconds.
    pub exp: i64,
    /// What it may be exchanged for, as the policies call it (`scopes`); empty for nothing. None:
    /// it says nothing of it.
    pub scope: Option<String>,
    /// Who alone may act for the subject.
    pub may_act: Option<MayAct>,
    /// The key that must be proven with it: whoever takes it demands the proof (L6).
    pub cnf: Option<Confirmation>,
    /// All that it says, as it stands: for routes of gateways that name claims.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// Whether the settings say what the scopes of its issuer mean here.
    pub scopes_are_ours: bool,
}

/// All issuers that are believed.
#[derive(Debug, Default)]
pub struct Issuers(HashMap<String, Issuer>);

#[derive(Debug)]
struct Issuer {
    settings: IssuerSettings,
    keys: KeySource,
}

/// How the keys of an issuer stand, for operators.
#[derive(Clone, Debug)]
pub struct KeysStanding<'i> {
    /// Its name.
    pub issuer: &'i str,
    /// How many keys there are, and when they were fetched. None: never yet.
    pub keys: Option<(usize, Timestamp)>,
}

impl Issuers {
    /// Believes these. No key is fetched yet.
    #[must_use]
    pub fn new(settings: &[IssuerSettings]) -> Self {
        let all = settings.iter().map(|settings| {
            let issuer = Issuer {
                keys: KeySource::new(
                    &settings.issuer,
                    settings.keys.clone(),
                    settings.stale_max_seconds,
                ),
                settings: settings.clone(),
            };
            (settings.issuer.clone(), issuer)
        });
        Self(all.collect())
    }

    /// Whether a token says that it is of one of them.
    #[must_use]
    pub fn know(&self, text: &str) -> bool {
        claimed_issuer(text).is_some_and(|issuer| self.0.contains_key(&issuer))
    }

    /// Whom one of them calls by this name. None: it is none of them, or that is no name.
    #[must_use]
    pub fn subject(&self, issuer: &str, sub: &str) -> Option<EntityRef> {
        let settings = &self.0.get(issuer)?.settings;
        settings.subject(sub).ok()
    }

    /// Whether tokens of this issuer are believed.
    pub(crate) fn believes(&self, issuer: &str) -> bool {
        self.0.contains_key(issuer)
    }

    /// How their keys stand.
    pub fn standing(&self) -> impl Iterator<Item = KeysStanding<'_>> {
        self.0.iter().map(|(name, issuer)| KeysStanding {
            issuer: name,
            keys: issuer.keys.standing(),
        })
    }

    /// Verifies a token of one of them.
    ///
    /// # Errors
    /// Why it is not believed.
    pub async fn verify(
        &self,
        text: &str,
        outbound: &Arc<Outbound>,
        sessions: &SessionSettings,
        now: Timestamp,
    ) -> Result<External, NotBelieved> {
        let name = claimed_issuer(text).ok_or(NotBelieved::Stranger)?;
        let issuer = self.0.get(&name).ok_or(NotBelieved::Stranger)?;
        let settings = &issuer.settings;
        let kinds: Vec<&str> = settings.kinds.iter().map(String::as_str).collect();
        let parties: Vec<&str> = settings.parties.iter().map(String::as_str).collect();
        // What is no token in the first place makes nobody fetch anything.
        let kid = key_id(text, &kinds)?;
        let keys = issuer.keys.keys_for(&kid, outbound, now).await;
        let keys = keys.ok_or(NotBelieved::NoKeys)?;
        let expected = ForeignExpected {
            issuer: &settings.issuer,
            audience: &settings.audience,
            parties: &parties,
            kinds: &kinds,
            subject_claim: &settings.subject_claim,
            leeway_seconds: LEEWAY_SECONDS,
            life_max_seconds: settings.life_max_seconds,
        };
        let foreign = verify_foreign(text, &*keys, &expected, now)?;
        let subject = settings.subject(&foreign.subject)?;
        let auth_time = foreign.auth_time.map(Timestamp::from_seconds);
        if auth_time.is_some_and(|at| at > now.plus_seconds(LEEWAY_SECONDS.cast_signed())) {
            return Err(Refusal::NotYet("auth_time").into());
        }
        let level = foreign
            .acr
            .iter()
            .chain(&foreign.amr)
            .filter_map(|name| sessions.acr_levels.get(name).copied())
            .max()
            .unwrap_or(Level::None);
        let id = id_of(&name, foreign.jti.as_deref(), text);
        let scope = foreign.scope.map(|scope| settings.translated(&scope));
        let iat = Timestamp::from_seconds(foreign.iat).min(now);
        Ok(External {
            issuer: name,
            subject,
            sid: foreign.sid,
            assurance: Assurance::of(level, auth_time.map(|at| at.min(now))),
            acr: foreign.acr,
            amr: foreign.amr,
            auth_time,
            id,
            issued_at: iat.plus_seconds(-LEEWAY_SECONDS.cast_signed()),
            exp: foreign.exp,
            scope,
            may_act: foreign.may_act,
            cnf: foreign.cnf,
            claims: foreign.claims,
            scopes_are_ours: settings.scopes.is_some(),
        })
    }
}

/// What a token is called here. What is signed names it where its issuer gives it no name: a
/// signature can be written in more than one way (ECDSA takes its `s` with either sign), and what
/// was revoked must not come back under another name.
fn id_of(issuer: &str, jti: Option<&str>, text: &str) -> String {
    let signed = text.rsplit_once('.').map_or(text, |(signed, _)| signed);
    let id = format!("{issuer} {}", jti.unwrap_or(signed));
    format!("{JTI_PREFIX}{}", thumbprint(id.as_bytes()))
}

/// What a session of another issuer is called here where it is revoked: of one subject, of those of
/// one type, or of [`ANYBODY`].
pub(crate) fn session_name(issuer: &str, sid: &str, of: &str) -> String {
    let name = format!("session\n{issuer}\n{sid}\n{of}");
    format!("{JTI_PREFIX}{}", thumbprint(name.as_bytes()))
}

/// Whoever's session it is.
pub(crate) const ANYBODY: &str = "*";

impl External {
    /// Its subject, as `sub` of our tokens says it.
    pub(crate) fn sub(&self) -> String {
        subject(self.subject.kind.as_str(), self.subject.id.as_str())
    }

    /// What a token of ours would say of the subject, as this client's: nothing of it is sent to
    /// anybody as it is.
    pub(crate) fn as_ours(&self, app: &App, client_id: &str, scope: String) -> Claims {
        let issued_at = self.issued_at.seconds();
        Claims {
            iss: self.issuer.clone(),
            sub: self.sub(),
            aud: app.public_url().to_owned(),
            client_id: client_id.to_owned(),
            iat: issued_at,
            nbf: issued_at,
            exp: self.exp,
            jti: self.id.clone(),
            scope,
            acr: acr_of(self.assurance.level, &app.settings.sessions).to_owned(),
            auth_time: self.assurance.at.map(Timestamp::seconds),
            sid: None,
            cnf: self.cnf.clone(),
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

    /// What revokes it, or what this client was given. Asked once more by whoever makes something
    /// that outlives it, when that is made: it may have been revoked meanwhile.
    pub(crate) fn revoked_by(
        &self,
        app: &App,
        client_id: &str,
        now: Timestamp,
    ) -> Option<RevokedBy> {
        let sub = self.sub();
        // The session that it was given in may have been ended there before it comes.
        let sessions = self.sid.as_ref().map_or_else(Vec::new, |sid| {
            let of = [sub.as_str(), self.subject.kind.as_str(), ANYBODY];
            of.map(|of| session_name(&self.issuer, sid, of)).into()
        });
        let lineage = Lineage {
            jti: &self.id,
            original_jti: None,
            ancestors: &sessions,
            family: None,
            sid: None,
            sub: &sub,
            client_id,
            issued_at: self.issued_at,
            issued_to: &[],
        };
        app.revocations.check(&lineage, now)
    }
}

/// Whether it names a client of ours, in our words: those of its issuer mean nothing here.
fn names(may_act: &MayAct, caller: &Caller, public_url: &str) -> bool {
    let MayAct {
        sub,
        client_id,
        iss,
    } = may_act;
    let own = subject(caller.subject.kind.as_str(), caller.subject.id.as_str());
    let is_client = |id: &str| id == caller.client_id;
    (sub.is_some() || client_id.is_some())
        && (sub.as_deref()).is_none_or(|sub| is_client(sub) || sub == own)
        && client_id.as_deref().is_none_or(is_client)
        && iss.as_deref().is_none_or(|iss| iss == public_url)
}

/// Verifies a foreign token that a client presents by the engine's settings, and holds it against
/// what was revoked: the one way in, whatever it is presented for.
///
/// # Errors
/// Why it is not believed.
pub async fn verify(
    app: &App,
    caller: &Caller,
    text: &str,
    now: Timestamp,
) -> Result<External, NotBelieved> {
    let verified = app
        .issuers
        .verify(text, &app.outbound, &app.settings.sessions, now)
        .await
        .and_then(|external| {
            let may_act = external.may_act.as_ref();
            if may_act.is_some_and(|may_act| !names(may_act, caller, app.public_url())) {
                return Err(NotBelieved::Actor);
            }
            match external.revoked_by(app, &caller.client_id, now) {
                Some(by) => Err(NotBelieved::Revoked(by)),
                None => Ok(external),
            }
        });
    if let Err(why) = &verified {
        tracing::info!(%why, "a token of another issuer is not believed");
    }
    verified
}

/// What is wrong with a file of keys. None: nothing, or they are fetched.
pub(crate) fn key_file_fault(keys: &Source) -> Option<String> {
    let Source::File(path) = keys else {
        return None;
    };
    let read = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let admitted = read.and_then(|text| admit_jwks(&text).map_err(|error| error.to_string()));
    let why = admitted.err()?;
    Some(format!("{}: {why}", path.display()))
}

/// What is wrong with the key files of the settings, for who looks before a start. Nothing is
/// fetched.
#[must_use]
pub fn file_faults(issuers: &[IssuerSettings]) -> Vec<String> {
    let fault = |issuer: &IssuerSettings| {
        let why = key_file_fault(&issuer.keys)?;
        Some(format!("`issuers` ({}): {why}", issuer.issuer))
    };
    issuers.iter().filter_map(fault).collect()
}
