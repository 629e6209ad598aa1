//! Making keys: `sk_` and eight characters in public, a dot, 32 secret ones (X13 to X16, X18).

use aws_lc_rs::digest::{SHA256, digest};
use domain::{EntityRef, Timestamp};
use store::sqlite::KeyRecord;

use super::permission::PermissionSet;
use super::roles::Role;
use crate::inputs::Randomness;

/// Longest life of a key, days (X16).
pub const LIFE_MAX_DAYS: u32 = 365;

const PUBLIC_LENGTH: usize = 8;
const SECRET_LENGTH: usize = 32;
/// 62 characters: 32 of them hold 190 bits.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const DAY: i64 = 86_400;

/// What a new key is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyWish {
    /// What people call its holder.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// What of that; none: all of it.
    pub permissions: Option<PermissionSet>,
    /// As whom its holder acts, as a service.
    pub subject: EntityRef,
    /// The resource server that its holder is.
    pub audience: Option<String>,
    /// The client certificate that stands for it, as [`KeyRecord::certificate`].
    pub certificate: Option<String>,
    /// Its life, days, at most [`LIFE_MAX_DAYS`].
    pub life_days: u32,
    /// The key of who wishes it; none: somebody at the command line, or the engine itself.
    pub created_by: Option<String>,
}

impl KeyWish {
    /// The key of a service, with all that its role may do, for as long as a key may live.
    #[must_use]
    pub fn plain(name: &str, role: Role, subject: EntityRef) -> Self {
        Self {
            name: name.to_owned(),
            role,
            permissions: None,
            subject,
            audience: None,
            certificate: None,
            life_days: LIFE_MAX_DAYS,
            created_by: None,
        }
    }
}

/// A key that was just made. The only time that its secret is seen.
pub struct NewKey {
    /// What is kept.
    pub record: KeyRecord,
    /// The whole key, for its holder.
    pub key: String,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

impl NewKey {
    /// Makes the first key of a client.
    #[must_use]
    pub fn generate(wish: KeyWish, now: Timestamp, randomness: &dyn Randomness) -> Self {
        let key_id = format!("sk_{}", text(PUBLIC_LENGTH, randomness));
        let secret = text(SECRET_LENGTH, randomness);
        let permissions = wish.permissions.map(|permissions| {
            let names = permissions.iter().map(|one| one.action().to_owned());
            names.collect()
        });
        let record = KeyRecord {
            key_id: key_id.clone(),
            secret_sha256: sha256(secret.as_bytes()),
            client_id: key_id.clone(),
            name: wish.name,
            role: wish.role.as_str().to_owned(),
            permissions,
            subject: wish.subject,
            audience: wish.audience,
            certificate: wish.certificate,
            created_at: now,
            created_by: wish.created_by,
            expires_at: now.plus_seconds(i64::from(wish.life_days.min(LIFE_MAX_DAYS)) * DAY),
            rotated_to: None,
            overlap_end: None,
            last_used_at: None,
            revoked_at: None,
        };
        Self {
            record,
            key: format!("{key_id}.{secret}"),
        }
    }

    /// Makes the key that takes the place of another: the same client, with another secret
    /// (X18). It lives as long as the other was made for.
    #[must_use]
    pub fn succeeding(
        old: &KeyRecord,
        created_by: Option<String>,
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Self {
        let key_id = format!("sk_{}", text(PUBLIC_LENGTH, randomness));
        let secret = text(SECRET_LENGTH, randomness);
        let life = old
            .expires_at
            .millis()
            .saturating_sub(old.created_at.millis());
        let life = (life / 1000).clamp(0, i64::from(LIFE_MAX_DAYS) * DAY);
        let record = KeyRecord {
            key_id: key_id.clone(),
            secret_sha256: sha256(secret.as_bytes()),
            created_at: now,
            created_by,
            expires_at: now.plus_seconds(life),
            rotated_to: None,
            overlap_end: None,
            last_used_at: None,
            revoked_at: None,
            ..old.clone()
        };
        Self {
            record,
            key: format!("{key_id}.{secret}"),
        }
    }
}

/// Random characters, each as likely as any other.
fn text(length: usize, randomness: &dyn Randomness) -> String {
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        randomness.fill(&mut bytes);
        let fair = bytes.iter().filter_map(|byte| {
            // Bytes from 248 on would favour the first characters.
            ALPHABET
                .get(usize::from(*byte) % 62)
                .filter(|_| *byte < 248)
        });
        text.extend(fair.take(length - text.len()).map(|byte| char::from(*byte)));
    }
    text
}

/// Whether this could be the public part of a key: nothing else is worth a look into the store.
pub(super) fn is_key_id(text: &str) -> bool {
    text.strip_prefix("sk_").is_some_and(|rest| {
        rest.len() == PUBLIC_LENGTH && rest.bytes().all(|byte| ALPHABET.contains(&byte))
    })
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}
