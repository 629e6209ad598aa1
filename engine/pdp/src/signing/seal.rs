//! The key-encryption key: signing keys at rest are sealed with it (AES-256-GCM), so that a copy
//! of the data folder signs nothing, and nobody can put a key of his own there.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use data_encoding::{BASE64, BASE64URL_NOPAD};

/// Bytes of the key.
const KEY_BYTES: usize = 32;
/// Longest file of a key.
const FILE_BYTES_MAX: u64 = 4096;
/// Different bytes that 32 random ones have at least: fewer than 20 come about once in 10^14.
const DIFFERENT_MIN: usize = 20;

/// Keys in one file at most.
const KEYS_MAX: usize = 4;

/// What opens and seals. A file of more than one key is how it is changed: the first seals, the
/// others only open what they sealed before.
pub struct KeyEncryptionKey {
    seals: RandomizedNonceKey,
    only_open: Vec<RandomizedNonceKey>,
}

impl std::fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyEncryptionKey")
    }
}

/// Something sealed: what it is bound to must be given to open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) nonce: Vec<u8>,
    pub(crate) text: Vec<u8>,
}

impl KeyEncryptionKey {
    /// Reads the key from its file: 32 bytes as base64 or hex, for the owner's eyes alone (J2).
    /// Further lines are those that it takes the place of.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn read(path: &Path) -> Result<Self, String> {
        let told = |what: String| {
            format!(
                "`tokens.key_encryption_key_file`: {}: {what}",
                path.display()
            )
        };
        let mut file = fs::File::open(path).map_err(|error| told(error.to_string()))?;
        let about = file.metadata().map_err(|error| told(error.to_string()))?;
        if !about.is_file() {
            return Err(told("is no file".to_owned()));
        }
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(told(format!(
                "its mode {mode:o} lets others at the key; `chmod 600` it, and make a new one if \
                 somebody may have read it"
            )));
        }
        let mut text = String::new();
        file.by_ref()
            .take(FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| told(error.to_string()))?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let lines = lines.iter().filter(|line| !line.is_empty());
        let keys: Result<Vec<_>, String> = lines.map(|line| read_key(line)).collect();
        let mut keys = keys.map_err(told)?.into_iter();
        let seals = keys.next().ok_or_else(|| told(NO_KEY.to_owned()))?;
        let only_open: Vec<_> = keys.collect();
        if only_open.len() >= KEYS_MAX {
            return Err(told(format!(
                "more than {KEYS_MAX} keys; the first seals, and those that sealed nothing any \
                 more can go"
            )));
        }
        Ok(Self { seals, only_open })
    }

    /// Seals bytes, bound to a text that is not secret.
    pub(crate) fn seal(&self, secret: &[u8], bound_to: &str) -> Option<Sealed> {
        let mut text = secret.to_vec();
        let nonce = self
            .seals
            .seal_in_place_append_tag(Aad::from(bound_to), &mut text)
            .ok()?;
        Some(Sealed {
            nonce: nonce.as_ref().to_vec(),
            text,
        })
    }

    /// Opens what was sealed with one of the keys and bound to this text; none otherwise.
    pub(crate) fn open(&self, sealed: &Sealed, bound_to: &str) -> Option<Opened> {
        let opened = |key| open_with(key, sealed, bound_to);
        let by_first = opened(&self.seals);
        let is_out_of_date = by_first.is_none();
        let secret = by_first.or_else(|| self.only_open.iter().find_map(opened))?;
        Some(Opened {
            secret,
            is_out_of_date,
        })
    }
}

/// What was under a seal.
pub(crate) struct Opened {
    /// The secret itself.
    pub(crate) secret: Vec<u8>,
    /// Whether another key sealed it than the one that seals now.
    pub(crate) is_out_of_date: bool,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened")
    }
}

fn open_with(key: &RandomizedNonceKey, sealed: &Sealed, bound_to: &str) -> Option<Vec<u8>> {
    let nonce: [u8; NONCE_LEN] = sealed.nonce.as_slice().try_into().ok()?;
    let mut text = sealed.text.clone();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let opened = key.open_in_place(nonce, Aad::from(bound_to), &mut text);
    Some(opened.ok()?.to_vec())
}

const NO_KEY: &str = "not 32 bytes as base64 or hex; `openssl rand -base64 32` makes one";

fn read_key(line: &str) -> Result<RandomizedNonceKey, String> {
    let bytes = decode(line).ok_or_else(|| NO_KEY.to_owned())?;
    if let Some(weakness) = weakness(&bytes) {
        return Err(format!(
            "{weakness}; take 32 random bytes: `openssl rand -base64 32` makes them"
        ));
    }
    RandomizedNonceKey::new(&AES_256_GCM, &bytes)
        .map_err(|_| "the cryptographic library refused it".to_owned())
}

fn decode(text: &str) -> Option<[u8; KEY_BYTES]> {
    let bytes = hex::decode(text)
        .ok()
        .filter(|bytes| bytes.len() == KEY_BYTES)
        .or_else(|| BASE64.decode(text.as_bytes()).ok())
        .or_else(|| {
            BASE64URL_NOPAD
                .decode(text.trim_end_matches('=').as_bytes())
                .ok()
        })?;
    bytes.try_into().ok()
}

/// Why 32 bytes are not random ones.
fn weakness(bytes: &[u8; KEY_BYTES]) -> Option<&'static str> {
    let different: std::collections::BTreeSet<u8> = bytes.iter().copied().collect();
    let steps: std::collections::BTreeSet<u8> = bytes
        .iter()
        .zip(bytes.iter().skip(1))
        .map(|(one, next)| next.wrapping_sub(*one))
        .collect();
    if bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        Some("it spells a text, so it is no random key")
    } else if different.len() < DIFFERENT_MIN {
        Some("it repeats itself, so it is no random key")
    } else if steps.len() < DIFFERENT_MIN / 2 {
        Some("it is a series, so it is no random key")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, mode: u32) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        KeyEncryptionKey::read(&path).map(|_| ())
    }

    #[test]
    fn j2_a_weak_key_is_refused_and_a_good_one_read_in_each_form() {
        let good: Vec<u8> = (0..32_u32)
            .map(|i| (i * i * 7 + i * 91 + 13) as u8)
            .collect();
        let base64 = BASE64.encode(&good);
        let in_hex = hex::encode(&good);
        for (text, mode, wanted) in [
            (base64.clone(), 0o600, None),
            (format!("{base64}\n"), 0o400, None),
            (in_hex.clone(), 0o600, None),
            (BASE64URL_NOPAD.encode(&good), 0o600, None),
            (format!("{base64}\n{in_hex}\n"), 0o600, None),
            (format!("{base64}\n").repeat(6), 0o600, Some("more than 4")),
            (format!("{base64}\nold\n"), 0o600, Some("not 32 bytes")),
            (base64.clone(), 0o640, Some("chmod 600")),
            (base64.clone(), 0o604, Some("chmod 600")),
            (String::new(), 0o600, Some("not 32 bytes")),
            (BASE64.encode(&good[..16]), 0o600, Some("not 32 bytes")),
            (in_hex[..22].to_owned(), 0o600, Some("not 32 bytes")),
            ("secret-key-".to_owned(), 0o600, Some("not 32 bytes")),
            (hex::encode([0; 32]), 0o600, Some("repeats itself")),
            (hex::encode([0xab; 32]), 0o600, Some("repeats itself")),
            ("0123456789abcdef".repeat(4), 0o600, Some("repeats itself")),
            (
                hex::encode((0..32).collect::<Vec<u8>>()),
                0o600,
                Some("a series"),
            ),
            (
                BASE64.encode(b"correct horse battery staple! 42"),
                0o600,
                Some("spells a text"),
            ),
        ] {
            let found = read(&text, mode);
            match wanted {
                None => assert_eq!(found, Ok(()), "{text}"),
                Some(wanted) => {
                    let found = found.unwrap_err();
                    assert!(found.contains(wanted), "{text}: {found}");
                    assert!(text.is_empty() || !found.contains(text.trim()), "{found}");
                }
            }
        }
    }
}
