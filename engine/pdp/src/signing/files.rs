//! The signing keys on the disk: a file each, written whole or not at all, sealed where a
//! key-encryption key is set. Whoever changes something holds the folder's lock.
//!
//! Sealing what was in clear is done for all of them at once, by putting a sealed folder in the
//! place of the clear one; so a clear key beside sealed ones is always one that somebody put there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::BASE64;
use domain::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use token::keys::admit_jwk;
use token::{SigningKey, VerifyingKey};

use super::SigningError;
use super::plan::Known;
use super::seal::{KeyEncryptionKey, Sealed};

/// The only form of the files so far.
const FORM: u32 = 1;
/// Longest file, bytes; an RSA key of 8192 bits has 9 KB.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// One key as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) known: Known,
    /// Who had it made, or hastened.
    pub(super) by: String,
    /// The public half, kept for ever.
    pub(super) public: VerifyingKey,
    /// The private half; none once it is retired.
    pub(super) private: Option<Arc<SigningKey>>,
    /// Whether a key-encryption key sealed it that has another in its place by now.
    is_out_of_date: bool,
}

impl Kept {
    pub(super) fn new(key: SigningKey, now: Timestamp, signs_from: Timestamp, by: &str) -> Self {
        Self {
            known: Known {
                kid: key.id().to_owned(),
                algorithm: key.algorithm(),
                created_at: now,
                signs_from,
                is_retired: false,
            },
            by: by.to_owned(),
            public: key.verifying().clone(),
            private: Some(Arc::new(key)),
            is_out_of_date: false,
        }
    }
}

/// A key's file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    form: u32,
    kid: String,
    created_at: String,
    signs_from: String,
    by: String,
    #[serde(default)]
    retired: bool,
    jwk: Box<RawValue>,
    /// PKCS #8, base64, in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    private: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<WrittenSeal>,
}

/// AES-256-GCM over the PKCS #8 document (nothing, of a retired key), bound to the rest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSeal {
    nonce: String,
    text: String,
}

impl Written {
    /// What the seal is bound to: nobody may give a sealed key another time or another life. The
    /// public half is bound by its name, which is its hash.
    fn bound(&self) -> String {
        format!(
            "portreeve signing key {}\n{}\n{}\n{}\n{}\n{}",
            self.form, self.kid, self.created_at, self.signs_from, self.by, self.retired
        )
    }
}

/// The folder of keys.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: PathBuf,
    before: PathBuf,
    kek: Option<KeyEncryptionKey>,
}

/// What tells one state of the folder from another.
pub(super) type Stamp = Vec<(PathBuf, u64, i64, i64, u64)>;

impl Folder {
    /// The folder within a data folder, ready: made if it is not there, what an earlier version
    /// kept taken over, what was in clear sealed if it should be.
    pub(super) fn prepare(
        data_dir: &Path,
        kek: Option<KeyEncryptionKey>,
        now: Timestamp,
    ) -> Result<Self, SigningError> {
        let folder = Self::at(data_dir, kek);
        let _alone = folder.lock()?;
        folder.finish_swap()?;
        if !folder.path.is_dir() {
            make_folder(&folder.path, data_dir)?;
            sync_folder(data_dir)?;
        }
        folder.take_over(now)?;
        folder.seal_all()?;
        folder.seal_anew()?;
        Ok(folder)
    }

    fn at(data_dir: &Path, kek: Option<KeyEncryptionKey>) -> Self {
        Self {
            path: data_dir.join("signing-keys"),
            lock: data_dir.join("signing-keys.lock"),
            before: data_dir.join("signing-key.p8"),
            kek,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until nobody else changes anything here; they do not for longer than a moment.
    pub(super) fn lock(&self) -> Result<File, SigningError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.lock)
            .map_err(at(&self.lock))?;
        give(&file, self.data_dir()).map_err(at(&self.lock))?;
        file.lock().map_err(at(&self.lock))?;
        Ok(file)
    }

    /// Changes whenever a file does: every write makes a new one.
    pub(super) fn stamp(&self) -> io::Result<Stamp> {
        let mut stamp = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if is_key_file(&path) {
                let about = fs::symlink_metadata(&path)?;
                stamp.push((
                    path,
                    about.ino(),
                    about.mtime(),
                    about.mtime_nsec(),
                    about.len(),
                ));
            }
        }
        stamp.sort();
        Ok(stamp)
    }

    /// Every key. With a key-encryption key none that is in clear, without one none that is
    /// sealed.
    pub(super) fn load(&self) -> Result<Vec<Kept>, SigningError> {
        let all = self.read_all()?;
        all.into_iter()
            .map(|(path, written)| self.open(&path, &written))
            .collect()
    }

    /// Every key as it lies there, and whether they are sealed; nothing is changed. Keys in clear
    /// that the next start will seal count, as long as all are.
    pub(super) fn look(
        data_dir: &Path,
        kek: Option<KeyEncryptionKey>,
        now: Timestamp,
    ) -> Result<(Vec<Kept>, bool), SigningError> {
        let mut folder = Self::at(data_dir, kek);
        folder.stand_where_they_lie();
        let all = if folder.path.is_dir() {
            folder.read_all()?
        } else {
            Vec::new()
        };
        let is_sealed = all.iter().any(|(_, written)| written.sealed.is_some());
        if !is_sealed {
            folder.kek = None;
        }
        let opened = all.iter().map(|(path, written)| folder.open(path, written));
        let mut keys: Vec<Kept> = opened.collect::<Result<_, _>>()?;
        if keys.is_empty() && folder.before.is_file() {
            let der = fs::read(&folder.before).map_err(at(&folder.before))?;
            let key = SigningKey::from_der(&der)
                .map_err(|error| damaged(&folder.before, &error.to_string()))?;
            keys.push(Kept::new(key, now, now, "engine"));
        }
        Ok((keys, is_sealed))
    }

    /// Whether there are sealed keys.
    pub(super) fn are_sealed(data_dir: &Path) -> Result<bool, SigningError> {
        let mut folder = Self::at(data_dir, None);
        folder.stand_where_they_lie();
        if !folder.path.is_dir() {
            return Ok(false);
        }
        let all = folder.read_all()?;
        Ok(all.iter().any(|(_, written)| written.sealed.is_some()))
    }

    /// Between the two steps of a swap the keys lie in the sealed folder.
    fn stand_where_they_lie(&mut self) {
        if !self.path.exists() && self.beside("clear").exists() {
            self.path = self.beside("sealed");
        }
    }

    fn read_all(&self) -> Result<Vec<(PathBuf, Written)>, SigningError> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(at(&self.path))? {
            let path = entry.map_err(at(&self.path))?.path();
            if !is_key_file(&path) {
                continue;
            }
            let size = fs::metadata(&path).map_err(at(&path))?.len();
            if size > FILE_BYTES_MAX {
                return Err(damaged(&path, &format!("{size} bytes are too many")));
            }
            let text = fs::read_to_string(&path).map_err(at(&path))?;
            let written: Written =
                serde_json::from_str(&text).map_err(|error| damaged(&path, &error.to_string()))?;
            if written.form != FORM {
                return Err(damaged(&path, "of a later version"));
            }
            all.push((path, written));
        }
        all.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(all)
    }

    fn open(&self, path: &Path, written: &Written) -> Result<Kept, SigningError> {
        let wrong = |what: &str| damaged(path, what);
        let public = admit_jwk(written.jwk.get()).map_err(|refusal| wrong(&refusal.to_string()))?;
        let named = path.file_stem().and_then(|name| name.to_str());
        if public.thumbprint() != written.kid || named != Some(&written.kid) {
            return Err(wrong("its name is not that of its key"));
        }
        let time = |text: &str| {
            wire::time::parse(text).ok_or_else(|| wrong(&format!("`{text}` is no time")))
        };
        let (created_at, signs_from) = (time(&written.created_at)?, time(&written.signs_from)?);
        let mut is_out_of_date = false;
        let der = match (&self.kek, &written.sealed, &written.private) {
            (Some(kek), Some(seal), None) => {
                let base64 = |text: &str| BASE64.decode(text.as_bytes());
                let (Ok(nonce), Ok(text)) = (base64(&seal.nonce), base64(&seal.text)) else {
                    return Err(wrong("the seal is not base64"));
                };
                let sealed = Sealed { nonce, text };
                let opened = kek.open(&sealed, &written.bound());
                let opened = opened.ok_or_else(|| SigningError::Locked {
                    path: path.to_owned(),
                })?;
                is_out_of_date = opened.is_out_of_date;
                opened.secret
            }
            (None, Some(_), _) => {
                return Err(SigningError::NoKeyEncryptionKey {
                    path: path.to_owned(),
                });
            }
            (Some(_), None, _) => {
                return Err(SigningError::Clear {
                    path: path.to_owned(),
                });
            }
            (None, None, Some(text)) => BASE64
                .decode(text.as_bytes())
                .map_err(|_| wrong("the private half is not base64"))?,
            (None, None, None) if written.retired => Vec::new(),
            _ => return Err(wrong("it has no private half, or two")),
        };
        let private = if written.retired {
            None
        } else {
            let key = SigningKey::from_der(&der).map_err(|error| wrong(&error.to_string()))?;
            if key.id() != written.kid {
                return Err(wrong("its private half is of another key"));
            }
            Some(Arc::new(key))
        };
        Ok(Kept {
            known: Known {
                kid: written.kid.clone(),
                algorithm: public.algorithm(),
                created_at,
                signs_from,
                is_retired: written.retired,
            },
            by: written.by.clone(),
            public,
            private,
            is_out_of_date,
        })
    }

    /// Writes a key's file: durable when it returns, and whole at every moment.
    pub(super) fn write(&self, key: &Kept) -> Result<(), SigningError> {
        self.write_in(&self.path, key)
    }

    fn write_in(&self, folder: &Path, key: &Kept) -> Result<(), SigningError> {
        let path = folder.join(format!("{}.json", key.known.kid));
        let refused = || damaged(&path, "the cryptographic library refused");
        let der = match &key.private {
            Some(private) => private.to_der().map_err(|_| refused())?,
            None => Vec::new(),
        };
        let jwk = serde_json::to_string(key.public.jwk()).and_then(RawValue::from_string);
        let mut written = Written {
            form: FORM,
            kid: key.known.kid.clone(),
            created_at: wire::time::format(key.known.created_at),
            signs_from: wire::time::format(key.known.signs_from),
            by: key.by.clone(),
            retired: key.known.is_retired,
            jwk: jwk.map_err(|_| refused())?,
            private: None,
            sealed: None,
        };
        if let Some(kek) = &self.kek {
            let sealed = kek.seal(&der, &written.bound()).ok_or_else(refused)?;
            written.sealed = Some(WrittenSeal {
                nonce: BASE64.encode(&sealed.nonce),
                text: BASE64.encode(&sealed.text),
            });
        } else if key.private.is_some() {
            written.private = Some(BASE64.encode(&der));
        }
        let text = serde_json::to_string(&written).map_err(|_| refused())?;
        let draft = folder.join(format!("{}.new", key.known.kid));
        write_private(&draft, text.as_bytes()).map_err(at(&draft))?;
        fs::rename(&draft, &path).map_err(at(&path))?;
        sync_folder(folder)
    }

    /// Takes over the one key of an earlier version. It is removed once the new file is durable;
    /// a start that breaks off between the two begins again.
    fn take_over(&self, now: Timestamp) -> Result<(), SigningError> {
        let der = match fs::read(&self.before) {
            Ok(der) => der,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(at(&self.before)(error)),
        };
        let key = SigningKey::from_der(&der)
            .map_err(|error| damaged(&self.before, &error.to_string()))?;
        let all = self.read_all()?;
        if all.iter().all(|(_, written)| written.kid != key.id()) {
            if let Some((path, _)) = all.first() {
                return Err(damaged(
                    &self.before,
                    &format!("an earlier version's key beside {}", path.display()),
                ));
            }
            self.write(&Kept::new(key, now, now, "engine"))?;
        }
        fs::remove_file(&self.before).map_err(at(&self.before))
    }

    /// Seals all keys, if there is something to seal them with and all are in clear.
    fn seal_all(&self) -> Result<(), SigningError> {
        if self.kek.is_none() {
            return Ok(());
        }
        let all = self.read_all()?;
        if all.is_empty() || all.iter().any(|(_, written)| written.sealed.is_some()) {
            // A clear one among them is told of when they are opened.
            return Ok(());
        }
        let in_clear = Self::at(self.data_dir(), None);
        let draft = self.beside("sealed");
        remove_folder(&draft)?;
        make_folder(&draft, self.data_dir())?;
        for key in in_clear.load()? {
            self.write_in(&draft, &key)?;
        }
        let data_dir = self.data_dir();
        sync_folder(data_dir)?;
        fs::rename(&self.path, self.beside("clear")).map_err(at(&self.path))?;
        sync_folder(data_dir)?;
        self.finish_swap()
    }

    /// Seals with the key-encryption key of today what an earlier one sealed, each file whole: a
    /// start that breaks off between two leaves both to be opened.
    fn seal_anew(&self) -> Result<(), SigningError> {
        if self.kek.is_none() {
            return Ok(());
        }
        let mut outdated = self.load()?;
        outdated.retain(|key| key.is_out_of_date);
        outdated.iter().try_for_each(|key| self.write(key))
    }

    /// Finishes putting the sealed folder in the place of the clear one, or forgets a draft.
    fn finish_swap(&self) -> Result<(), SigningError> {
        let (sealed, clear) = (self.beside("sealed"), self.beside("clear"));
        if !self.path.exists() && clear.exists() {
            // The sealed one was whole before the clear one was moved away.
            fs::rename(&sealed, &self.path).map_err(at(&sealed))?;
            sync_folder(self.data_dir())?;
        }
        remove_folder(&sealed)?;
        remove_folder(&clear)
    }

    fn beside(&self, what: &str) -> PathBuf {
        self.path.with_extension(what)
    }

    fn data_dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

fn is_key_file(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "json")
}

fn at(path: &Path) -> impl Fn(io::Error) -> SigningError {
    let path = path.to_owned();
    move |cause| SigningError::File {
        path: path.clone(),
        cause,
    }
}

fn damaged(path: &Path, what: &str) -> SigningError {
    SigningError::Damaged {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

fn make_folder(path: &Path, like: &Path) -> Result<(), SigningError> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .and_then(|()| give(&File::open(path)?, like))
        .map_err(at(path))
}

/// Gives what was made to the owner of a folder: what an administrator's command makes, the engine
/// must be able to read under its own user.
fn give(made: &File, like: &Path) -> io::Result<()> {
    let (made_is, like) = (made.metadata()?, fs::metadata(like)?);
    if made_is.uid() == like.uid() {
        return Ok(());
    }
    fchown(made, Some(like.uid()), Some(like.gid()))
}

fn remove_folder(path: &Path) -> Result<(), SigningError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

fn sync_folder(path: &Path) -> Result<(), SigningError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(at(path))
}

/// Writes a new file that only its owner may read.
fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    if let Some(folder) = path.parent() {
        give(&file, folder)?;
    }
    file.write_all(text)?;
    file.sync_all()
}
