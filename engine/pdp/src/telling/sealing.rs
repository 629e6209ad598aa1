//! What a receiver wants to hear in `Authorization` is its secret: sealed at rest where there is a
//! key-encryption key, bound to the stream.

use super::Telling;
use crate::signing::Sealed;

/// Before the secret in clear.
const CLEAR: u8 = 0;
/// Before a nonce of 12 bytes and what is sealed with it.
const SEALED: u8 = 1;
const NONCE_BYTES: usize = 12;

/// A secret that was kept, and whether it should be kept in another form from now on.
pub(super) struct Kept {
    pub(super) secret: String,
    pub(super) is_out_of_date: bool,
}

fn bound_to(stream_id: &str) -> String {
    format!("portreeve stream authorization {stream_id}")
}

impl Telling {
    /// The form in which the store keeps the secret of a stream. None when the library refuses.
    pub(crate) fn seal(&self, stream_id: &str, secret: &str) -> Option<Vec<u8>> {
        let Some(kek) = &self.kek else {
            return Some([&[CLEAR], secret.as_bytes()].concat());
        };
        let sealed = kek.seal(secret.as_bytes(), &bound_to(stream_id))?;
        Some([&[SEALED], &*sealed.nonce, &*sealed.text].concat())
    }

    /// The secret that the store keeps of a stream. None when it cannot be opened.
    pub(super) fn unseal(&self, stream_id: &str, kept: &[u8]) -> Option<Kept> {
        let (form, rest) = kept.split_first()?;
        let (secret, is_out_of_date) = match (*form, &self.kek) {
            (CLEAR, kek) => (rest.to_vec(), kek.is_some()),
            (SEALED, Some(kek)) => {
                let (nonce, text) = rest.split_at_checked(NONCE_BYTES)?;
                let sealed = Sealed {
                    nonce: nonce.to_vec(),
                    text: text.to_vec(),
                };
                let opened = kek.open(&sealed, &bound_to(stream_id))?;
                (opened.secret, opened.is_out_of_date)
            }
            _ => return None,
        };
        Some(Kept {
            secret: String::from_utf8(secret).ok()?,
            is_out_of_date,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::settings::Settings;
    use crate::signing::KeyEncryptionKey;

    fn telling(kek: bool) -> Telling {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        std::fs::write(&path, "HFXlJhGZOkwl3E/1tLqPb0Zc8s1mJmYUxq2YB7pFO9k=").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let kek = kek.then(|| KeyEncryptionKey::read(&path).unwrap());
        Telling::open(&Settings::default(), kek).unwrap()
    }

    #[test]
    fn a_receivers_secret_is_sealed_to_its_stream_and_sealed_later_where_it_was_not() {
        let (clear, sealing) = (telling(false), telling(true));
        let kept = sealing.seal("a", "Bearer secret").unwrap();
        assert!(!kept.windows(6).any(|part| part == b"secret"));
        let opened = sealing.unseal("a", &kept).unwrap();
        assert_eq!(
            (opened.secret.as_str(), opened.is_out_of_date),
            ("Bearer secret", false)
        );
        assert!(sealing.unseal("b", &kept).is_none());
        assert!(clear.unseal("a", &kept).is_none());
        let kept = clear.seal("a", "Bearer secret").unwrap();
        assert!(!clear.unseal("a", &kept).unwrap().is_out_of_date);
        assert!(sealing.unseal("a", &kept).unwrap().is_out_of_date);
        assert!(sealing.unseal("a", &[]).is_none());
    }
}
