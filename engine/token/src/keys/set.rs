//! The keys that hold at one moment: one signs, all of them verify.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

use super::{PublicJwk, SigningKey, VerifyingKey};

/// Where the key of a token is looked up by its `kid`, and by nothing else of the token.
pub trait FindKey {
    /// The key of this name.
    fn find(&self, kid: &str) -> Option<&VerifyingKey>;

    /// A key to hold a token against that names none: what is made up then takes as long as what
    /// is not. None where nobody could learn anything from the time.
    fn decoy(&self) -> Option<&VerifyingKey> {
        None
    }
}

/// Our own keys at one moment, immutable: a rotation swaps the set whole.
#[derive(Debug)]
pub struct KeySet {
    signer: Arc<SigningKey>,
    keys: HashMap<String, VerifyingKey>,
    jwks: String,
    etag: String,
}

impl KeySet {
    /// A key that signs, and those that are published beside it: the next one, so that verifiers
    /// know it when it signs, and those before it, whose tokens still live.
    #[must_use]
    pub fn new(signer: Arc<SigningKey>, others: impl IntoIterator<Item = VerifyingKey>) -> Self {
        #[derive(Serialize)]
        struct Published<'a> {
            keys: Vec<&'a PublicJwk>,
        }
        let mut order = vec![signer.verifying().clone()];
        for key in others {
            if order.iter().all(|known| known.kid() != key.kid()) {
                order.push(key);
            }
        }
        let published = Published {
            keys: order.iter().map(VerifyingKey::jwk).collect(),
        };
        // Text and nothing else: it cannot fail.
        let jwks = serde_json::to_string(&published).unwrap_or_default();
        let hash = digest(&SHA256, jwks.as_bytes());
        let short = hash.as_ref().get(..12).unwrap_or_default();
        Self {
            signer,
            etag: format!("\"{}\"", data_encoding::HEXLOWER.encode(short)),
            jwks,
            keys: order
                .into_iter()
                .map(|key| (key.kid().to_owned(), key))
                .collect(),
        }
    }

    /// The key that signs.
    #[must_use]
    pub fn signer(&self) -> &SigningKey {
        &self.signer
    }

    /// The key of this name, if its tokens may still live.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.get(kid)
    }

    /// The set as JSON (RFC 7517 §5), public halves alone; the one that signs comes first.
    #[must_use]
    pub fn jwks(&self) -> &str {
        &self.jwks
    }

    /// `ETag` of that text, quotes and all (RFC 9110 §8.8.3).
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }
}

impl FindKey for KeySet {
    fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        Self::find(self, kid)
    }

    fn decoy(&self) -> Option<&VerifyingKey> {
        Some(self.signer.verifying())
    }
}
