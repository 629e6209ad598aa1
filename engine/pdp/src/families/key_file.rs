//! Where the engine's key for refresh tokens lies: a file that its owner alone may read, sealed
//! when there is a key-encryption key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::form::RefreshKey;
use crate::inputs::Randomness;
use crate::signing::{KeyEncryptionKey, Sealed};

/// Bytes of the key; a file of so many holds it in clear.
const KEY_BYTES: usize = 32;
/// Bytes of what stands before a sealed key.
const NONCE_BYTES: usize = 12;
/// What the seal is bound to.
const BOUND_TO: &str = "portreeve refresh token key";

/// Reads the key, or makes one. One that lies there in clear is sealed when it should be, unless
/// `others_are_sealed`: the engine seals this key before its signing keys, so it did not put a
/// clear one beside sealed ones, and whoever did knows it and could make refresh tokens.
///
/// # Errors
/// When the file cannot be read or written, or holds something else.
pub(crate) fn load_or_create(
    path: &Path,
    kek: Option<&KeyEncryptionKey>,
    others_are_sealed: bool,
    randomness: &dyn Randomness,
) -> io::Result<RefreshKey> {
    let told =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let wrong = |what: &str| told(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
    let found = match fs::read(path) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(told(error)),
    };
    if let Some(sealed) = found.as_ref().filter(|found| found.len() > KEY_BYTES) {
        let kek = kek.ok_or_else(|| {
            wrong("is sealed; set `tokens.key_encryption_key_file` to the key that sealed it")
        })?;
        let (bytes, is_out_of_date) = opened(sealed, kek).ok_or_else(|| {
            wrong(
                "cannot be opened with this key-encryption key; put the right one back, or \
                 move the file away: a new one is made, and everybody signs in again",
            )
        })?;
        if is_out_of_date {
            write_sealed(path, &bytes, kek).map_err(told)?;
        }
        return Ok(RefreshKey::new(&bytes));
    }
    let is_new = found.is_none();
    if others_are_sealed && kek.is_none() {
        return Err(wrong(
            "the signing keys are encrypted; set `tokens.key_encryption_key_file`",
        ));
    }
    if !is_new && others_are_sealed {
        return Err(wrong(
            "a key in clear beside encrypted signing keys, so the engine did not put it there; \
             find out who did, and put the sealed one back, or move it away: a new one is made, \
             and everybody signs in again",
        ));
    }
    let bytes = found.unwrap_or_else(|| {
        let mut bytes = vec![0; KEY_BYTES];
        randomness.fill(&mut bytes);
        bytes
    });
    let bytes: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| {
        wrong(
            "not a key of 32 bytes; put the right one back, or move it away: a new one is made, \
             and everybody signs in again",
        )
    })?;
    match kek {
        Some(kek) => write_sealed(path, &bytes, kek).map_err(told)?,
        None if is_new => write(path, &bytes).map_err(told)?,
        None => {}
    }
    Ok(RefreshKey::new(&bytes))
}

fn write_sealed(path: &Path, bytes: &[u8; KEY_BYTES], kek: &KeyEncryptionKey) -> io::Result<()> {
    let sealed = kek
        .seal(bytes, BOUND_TO)
        .ok_or_else(|| io::Error::other("the cryptographic library refused"))?;
    write(path, &[sealed.nonce, sealed.text].concat())
}

/// The key, and whether another key-encryption key sealed it than seals now.
fn opened(sealed: &[u8], kek: &KeyEncryptionKey) -> Option<([u8; KEY_BYTES], bool)> {
    let (nonce, text) = sealed.split_at_checked(NONCE_BYTES)?;
    let sealed = Sealed {
        nonce: nonce.to_vec(),
        text: text.to_vec(),
    };
    let opened = kek.open(&sealed, BOUND_TO)?;
    Some((opened.secret.try_into().ok()?, opened.is_out_of_date))
}

/// Whole or not at all, and on the disk when this returns: without it every refresh token is lost.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::inputs::Inputs;

    #[test]
    fn the_key_is_kept_sealed_when_it_should_be_and_stays_the_same() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("refresh-tokens.key");
        let randomness = Inputs::system().randomness;
        let kek_file = |name: &str| {
            let mut bytes = [0; 32];
            randomness.fill(&mut bytes);
            let path = folder.path().join(name);
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .unwrap();
            file.write_all(hex::encode(bytes).as_bytes()).unwrap();
            KeyEncryptionKey::read(&path).unwrap()
        };
        let (kek, other) = (kek_file("kek"), kek_file("other"));
        let load = |kek: Option<&KeyEncryptionKey>| load_or_create(&path, kek, false, &*randomness);

        let (_, token) = load(None).unwrap().first(&*randomness);
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!((fs::read(&path).unwrap().len(), mode), (32, 0o600));
        let clear = fs::read(&path).unwrap();
        for kek in [None, Some(&kek), Some(&kek)] {
            let key = load(kek).unwrap();
            assert!(key.read(token.as_str()).is_some(), "the same key");
        }
        let sealed = fs::read(&path).unwrap();
        assert!(!sealed.windows(32).any(|window| window == clear));
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!((sealed.len(), mode), (60, 0o600));
        for (kek, wanted) in [(None, "is sealed"), (Some(&other), "cannot be opened")] {
            let refused = load(kek).unwrap_err().to_string();
            assert!(refused.contains(wanted), "{refused}");
        }
        // Changed by a line before the old one: sealed anew, and the same key.
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let both = folder.path().join("both");
        fs::copy(folder.path().join("kek"), &both).unwrap();
        fs::write(&both, format!("{}\n{}", text("kek"), text("other"))).unwrap();
        let both = KeyEncryptionKey::read(&both).unwrap();
        let sealed = other.seal(&clear, BOUND_TO).unwrap();
        fs::write(&path, [sealed.nonce, sealed.text].concat()).unwrap();
        for kek in [&both, &both, &kek] {
            let key = load(Some(kek)).unwrap();
            assert!(key.read(token.as_str()).is_some(), "the same key");
        }
        assert!(load(Some(&other)).is_err());
        // Once there are sealed keys, a clear one is somebody else's; a sealed one stays ours.
        let beside_sealed = || load_or_create(&path, Some(&kek), true, &*randomness);
        assert!(beside_sealed().unwrap().read(token.as_str()).is_some());
        fs::write(&path, [7; KEY_BYTES]).unwrap();
        let refused = beside_sealed().unwrap_err().to_string();
        assert!(refused.contains("did not put it there"), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), [7; KEY_BYTES], "left as it is");
        fs::remove_file(&path).unwrap();
        assert!(beside_sealed().unwrap().read(token.as_str()).is_none());
        assert_eq!(fs::read(&path).unwrap().len(), 60);
        fs::write(&path, b"short").unwrap();
        assert!(load(None).is_err() && load(Some(&kek)).is_err());
    }
}
