//! The form of a refresh token, and the engine's key that makes it.
//!
//! `rt_<family>.<generation>.<secret>.<tag>`. The tag is an HMAC by the engine's key over what is
//! before it, so that a token that the engine really issued, however old, is told from one that
//! somebody made up. The successor's secret is an HMAC over the token that it follows: whoever
//! asks again with the same token gets the same successor, and nothing need be kept in clear.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use data_encoding::BASE64URL_NOPAD;

use crate::inputs::Randomness;

/// What every refresh token begins with.
pub const PREFIX: &str = "rt_";
/// Longest token that is looked at, bytes; ours have about 120.
const LENGTH_MAX: usize = 256;
/// Bytes of a family's id (F15: 128 bits or more).
const FAMILY_BYTES: usize = 16;
/// Bytes of a secret.
const SECRET_BYTES: usize = 32;

/// The key that refresh tokens are made with: whoever has it can make the successor of a token
/// that they have.
pub struct RefreshKey(hmac::Key);

impl std::fmt::Debug for RefreshKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefreshKey").finish_non_exhaustive()
    }
}

/// A refresh token, for its client alone: not in logs, not in the store.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken(String);

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefreshToken")
    }
}

impl RefreshToken {
    /// The token itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }
}

/// A token that was presented, and that the engine issued at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genuine {
    /// Its family.
    pub family: String,
    /// Its place in the family, from 0.
    pub generation: u64,
    /// The whole of it.
    pub token: RefreshToken,
}

impl RefreshKey {
    /// The key of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, bytes))
    }

    /// The first token of a new family, and the family's id.
    #[must_use]
    pub fn first(&self, randomness: &dyn Randomness) -> (String, RefreshToken) {
        let mut family = [0; FAMILY_BYTES];
        randomness.fill(&mut family);
        let mut secret = [0; SECRET_BYTES];
        randomness.fill(&mut secret);
        let family = BASE64URL_NOPAD.encode(&family);
        let token = self.compose(&family, 0, &secret);
        (family, token)
    }

    /// The token that follows: always the same one after the same one.
    #[must_use]
    pub fn successor(&self, of: &Genuine) -> RefreshToken {
        let secret = self.mac("successor", of.token.as_str());
        self.compose(&of.family, of.generation.saturating_add(1), secret.as_ref())
    }

    /// Takes a token apart. None when the engine never issued it.
    #[must_use]
    pub fn read(&self, presented: &str) -> Option<Genuine> {
        if presented.len() > LENGTH_MAX {
            return None;
        }
        let (body, tag) = presented.rsplit_once('.')?;
        let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).ok()?;
        hmac::verify(&self.0, &message("tag", body), &tag).ok()?;
        // The engine made it, so it has its form.
        let mut parts = body.strip_prefix(PREFIX)?.split('.');
        let family = parts.next()?.to_owned();
        let generation = parts.next()?.parse().ok()?;
        Some(Genuine {
            family,
            generation,
            token: RefreshToken(presented.to_owned()),
        })
    }

    fn compose(&self, family: &str, generation: u64, secret: &[u8]) -> RefreshToken {
        let secret = BASE64URL_NOPAD.encode(secret);
        let body = format!("{PREFIX}{family}.{generation}.{secret}");
        let tag = BASE64URL_NOPAD.encode(self.mac("tag", &body).as_ref());
        RefreshToken(format!("{body}.{tag}"))
    }

    /// A code over what concerns sessions. Two uses of one key never meet.
    pub(crate) fn mac_of_session(&self, what_for: &str, bytes: &[u8]) -> [u8; SECRET_BYTES] {
        let mut text = format!("portreeve session {what_for}\n").into_bytes();
        text.extend(bytes);
        let mut code = [0; SECRET_BYTES];
        code.copy_from_slice(hmac::sign(&self.0, &text).as_ref());
        code
    }

    fn mac(&self, what_for: &str, text: &str) -> hmac::Tag {
        hmac::sign(&self.0, &message(what_for, text))
    }
}

/// Two uses of one key never meet: no token has a line break.
fn message(what_for: &str, text: &str) -> Vec<u8> {
    format!("portreeve refresh {what_for}\n{text}").into_bytes()
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}
