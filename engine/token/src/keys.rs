//! The signing key: ECDSA P-256 (ES256, RFC 7518 §3.4), generated here, kept in a file of mode
//! 0600, named by its RFC 7638 thumbprint.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{path}: {cause}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file holds no P-256 key.
    #[error("{path}: not an ECDSA P-256 key in PKCS #8; move it away, and a new one is made")]
    NotAKey {
        /// Which file.
        path: PathBuf,
    },
    /// The key could not be generated, or refused to sign.
    #[error("the cryptographic library refused")]
    Refused,
}

/// A key that signs. Parsed once, and held.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    id: String,
    public: PublicKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The public half as a JSON Web Key (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublicKey {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: String,
    x: String,
    y: String,
}

impl SigningKey {
    /// Reads the key of a file, or makes one there.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds something else.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        let file = |cause| KeyError::File {
            path: path.to_owned(),
            cause,
        };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let bytes = Self::generate()?;
                let mut options = OpenOptions::new();
                let mut new = options
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)
                    .map_err(file)?;
                new.write_all(&bytes)
                    .and_then(|()| new.sync_all())
                    .map_err(file)?;
                bytes
            }
            Err(error) => return Err(file(error)),
        };
        Self::from_pkcs8(&bytes).ok_or_else(|| KeyError::NotAKey {
            path: path.to_owned(),
        })
    }

    /// A new key in PKCS #8.
    ///
    /// # Errors
    /// When the library has no randomness.
    pub fn generate() -> Result<Vec<u8>, KeyError> {
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map(|document| document.as_ref().to_vec())
            .map_err(|_| KeyError::Refused)
    }

    /// The key of a PKCS #8 document. None when it is no P-256 key.
    #[must_use]
    pub fn from_pkcs8(bytes: &[u8]) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes).ok()?;
        // An uncompressed point (SEC 1 §2.3.3): 4, x, y.
        let point = pair.public_key().as_ref();
        let (x, y) = point.strip_prefix(&[4])?.split_at_checked(32)?;
        let (x, y) = (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y));
        // RFC 7638 §3.2: the required members in the order of their names.
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let id = BASE64URL_NOPAD.encode(digest(&SHA256, canonical.as_bytes()).as_ref());
        let public = PublicKey {
            kty: "EC",
            crv: "P-256",
            alg: "ES256",
            usage: "sig",
            kid: id.clone(),
            x,
            y,
        };
        Some(Self { pair, id, public })
    }

    /// `kid`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs (JWS: the two halves of the signature, 64 bytes).
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.pair
            .sign(&SystemRandom::new(), message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| KeyError::Refused)
    }
}
