//! Handles: the secrets by which sessions are used (E3, E6).
//!
//! `sh_` and, in base64url, the bytes of the session's id, the number of the handle in the session,
//! a secret of 256 bits and a tag: an HMAC by the engine's key over what is before it. So a handle
//! that the engine really gave out, however old, is told from one that somebody made up, and what
//! is made up costs no look into the store. The handle that follows by age is an HMAC over the one
//! before: of several requests at once each is given the same, and nothing need be kept in clear.
//! The one that follows a step-up is a random one: whoever has only the one before never gets it.

use data_encoding::BASE64URL_NOPAD;
use domain::Timestamp;
use store::sqlite::SessionHandles;

use super::name::ID_PREFIX;
use crate::families::RefreshKey;
use crate::families::form::sha256;
use crate::inputs::Randomness;
use crate::settings::SessionSettings;

/// What every handle begins with.
pub(crate) const PREFIX: &str = "sh_";
/// Bytes of a session's id: 128 bits (F15).
pub(super) const ID_BYTES: usize = 16;
const NUMBER_BYTES: usize = 4;
/// 256 bits (E6).
const SECRET_BYTES: usize = 32;
const TAG_BYTES: usize = 12;
const BYTES: usize = ID_BYTES + NUMBER_BYTES + SECRET_BYTES + TAG_BYTES;
/// Characters of a handle after [`PREFIX`].
pub(crate) const CHARACTERS: usize = BYTES.div_ceil(3) * 4 - 2;

/// A handle that the engine gave out at some time. Secret: not in logs, not in the store.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Handle {
    id: [u8; ID_BYTES],
    number: u32,
    text: String,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    /// A random one for a session, the so-many-th. None when the id is none of the engine's.
    pub(crate) fn random(
        session: &str,
        number: u32,
        key: &RefreshKey,
        randomness: &dyn Randomness,
    ) -> Option<Self> {
        let id = BASE64URL_NOPAD.decode(session.strip_prefix(ID_PREFIX)?.as_bytes());
        let id = id.ok()?.try_into().ok()?;
        let mut secret = [0; SECRET_BYTES];
        randomness.fill(&mut secret);
        Some(Self::compose(id, number, secret, key))
    }

    /// The one that follows by age: always the same one after the same one.
    pub(crate) fn next(&self, key: &RefreshKey) -> Self {
        let secret = key.mac_of_session("next handle", self.text.as_bytes());
        Self::compose(self.id, self.number.saturating_add(1), secret, key)
    }

    /// Takes one apart. None when the engine never gave it out.
    pub(crate) fn read(text: &str, key: &RefreshKey) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.strip_prefix(PREFIX)?.as_bytes());
        let bytes: [u8; BYTES] = bytes.ok()?.try_into().ok()?;
        let (id, rest) = bytes.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (secret, _tag) = rest.split_first_chunk()?;
        let genuine = Self::compose(*id, u32::from_be_bytes(*number), *secret, key);
        // Compared as a hash, so that the time says nothing of where they differ.
        (sha256(genuine.text.as_bytes()) == sha256(text.as_bytes())).then_some(genuine)
    }

    fn compose(
        id: [u8; ID_BYTES],
        number: u32,
        secret: [u8; SECRET_BYTES],
        key: &RefreshKey,
    ) -> Self {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend(id);
        bytes.extend(number.to_be_bytes());
        bytes.extend(secret);
        let tag = key.mac_of_session("handle", &bytes);
        bytes.extend(tag.into_iter().take(TAG_BYTES));
        let mut text = PREFIX.to_owned();
        BASE64URL_NOPAD.encode_append(&bytes, &mut text);
        Self { id, number, text }
    }

    /// The public id of its session.
    pub(crate) fn session(&self) -> String {
        let mut id = ID_PREFIX.to_owned();
        BASE64URL_NOPAD.encode_append(&self.id, &mut id);
        id
    }

    /// Its place among the handles of its session, from 0.
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// The secret in it alone, as text.
    #[cfg(test)]
    pub(super) fn secret_text(&self) -> String {
        let bytes = BASE64URL_NOPAD.decode(&self.text.as_bytes()[PREFIX.len()..]);
        let from = ID_BYTES + NUMBER_BYTES;
        let secret = &bytes.unwrap()[from..from + SECRET_BYTES];
        format!("_{}", BASE64URL_NOPAD.encode(secret))
    }

    /// The handle itself.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// What is kept of it.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        sha256(self.text.as_bytes())
    }
}

/// What a handle that the engine gave out is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is the session's.
    Current {
        /// It comes for the first time: the one before is good for the overlap only from here on.
        is_first: bool,
        /// It is old: the next one is due (E3).
        is_due: bool,
    },
    /// It is the one before, and still good.
    Previous {
        /// It is from before a step-up, which made nothing of it: it brings no assurance, and the
        /// next one is not told to who has it.
        is_weak: bool,
    },
    /// The session had it before, and has another one for so long that its holder would know.
    Superseded {
        /// Nobody was told of it yet: somebody has a copy of it, or of the session's own.
        is_alarming: bool,
    },
    /// The session never had it, or the store was put back to an earlier state.
    Unknown,
}

/// Judges a handle by what is kept of its session's.
pub(crate) fn judge(
    kept: &SessionHandles,
    presented: &Handle,
    settings: &SessionSettings,
    now: Timestamp,
) -> Standing {
    let seconds = |span: std::time::Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    let sha256 = presented.sha256();
    let age = now.whole_seconds_since(kept.since);
    if sha256 == kept.current {
        return Standing::Current {
            is_first: kept
                .previous
                .as_ref()
                .is_some_and(|before| before.until.is_none()),
            is_due: age >= seconds(settings.rotate_handle_every),
        };
    }
    if let Some(before) = &kept.previous
        && before.sha256 == sha256
        && before.until.is_none_or(|until| now < until)
    {
        return Standing::Previous {
            is_weak: before.is_weak,
        };
    }
    if presented.number() >= kept.number {
        return Standing::Unknown;
    }
    Standing::Superseded {
        // What was on its way when the next one was made is nobody's copy.
        is_alarming: age > seconds(settings.handle_overlap)
            && kept
                .alarmed
                .is_none_or(|alarmed| presented.number() >= alarmed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use store::sqlite::PreviousHandle;

    use super::super::name::new_id;
    use super::*;
    use crate::inputs::Inputs;
    use crate::settings::Settings;

    const BORN: Timestamp = Timestamp::from_seconds(1_795_215_660);

    fn key() -> RefreshKey {
        RefreshKey::new(&[7; 32])
    }

    fn first(id: &str) -> Handle {
        Handle::random(id, 0, &key(), &*Inputs::system().randomness).unwrap()
    }

    #[test]
    fn e3_e6_a_handle_says_whose_it_is_and_the_next_is_always_the_same() {
        let id = new_id(&*Inputs::system().randomness);
        let handle = first(&id);
        assert_eq!(handle.as_str().len(), PREFIX.len() + CHARACTERS);
        assert_eq!(handle.session(), id);
        assert_eq!(Handle::read(handle.as_str(), &key()), Some(handle.clone()));
        let next = handle.next(&key());
        assert_eq!((next.clone(), next.number()), (handle.next(&key()), 1));
        assert_eq!(next.session(), id);
        assert_ne!(first(&id).sha256(), handle.sha256(), "never chosen");
        // Another engine's, a guess, one that was changed.
        let other = RefreshKey::new(&[8; 32]);
        assert_eq!(Handle::read(handle.as_str(), &other), None);
        assert_ne!(handle.next(&other), next);
        for at in [3, 20, 30, 60, 80] {
            let mut bytes = handle.as_str().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(Handle::read(&changed, &key()), None, "at {at}");
        }
        let debugged = format!("{handle:?}");
        assert!(!debugged.contains(handle.as_str()), "{debugged}");
    }

    /// The handles of a session, and what is kept of them, through some time. Seconds since its
    /// birth, what is done, what is wanted.
    #[test]
    fn e3_e11_what_a_handle_is_good_for() {
        let settings = Settings::default().sessions;
        let zero = first(&new_id(&*Inputs::system().randomness));
        let one = zero.next(&key());
        let two = one.next(&key());
        let kept =
            |current: &Handle, since: i64, previous: Option<(&Handle, Option<i64>, bool)>| {
                SessionHandles {
                    current: current.sha256(),
                    since: BORN.plus_seconds(since),
                    number: current.number(),
                    previous: previous.map(|(handle, until, is_weak)| PreviousHandle {
                        sha256: handle.sha256(),
                        until: until.map(|until| BORN.plus_seconds(until)),
                        is_weak,
                    }),
                    alarmed: None,
                }
            };
        let current = |is_first, is_due| Standing::Current { is_first, is_due };
        let before = |is_weak| Standing::Previous { is_weak };
        let gone = |is_alarming| Standing::Superseded { is_alarming };
        let new = kept(&zero, 0, None);
        let rotated = kept(&one, 300, Some((&zero, None, false)));
        let confirmed = kept(&one, 300, Some((&zero, Some(330), false)));
        let lifted = kept(&one, 300, Some((&zero, Some(310), true)));
        let again = kept(&two, 900, Some((&one, None, false)));
        let warned = SessionHandles {
            alarmed: Some(2),
            ..again.clone()
        };
        for (state, handle, at, wanted) in [
            (&new, &zero, 299, current(false, false)),
            (&new, &zero, 300, current(false, true)),
            (&new, &one, 300, Standing::Unknown),
            // The next one has not come yet: however late, the answer may have been lost.
            (&rotated, &zero, 1000, before(false)),
            (&rotated, &one, 301, current(true, false)),
            (&confirmed, &one, 599, current(false, false)),
            (&confirmed, &zero, 329, before(false)),
            (&confirmed, &zero, 330, gone(true)),
            // After a step-up, the one before is worth no more than its name.
            (&lifted, &zero, 309, before(true)),
            (&lifted, &zero, 310, gone(false)),
            (&lifted, &zero, 311, gone(true)),
            // What was on its way when the next was made is nobody's copy.
            (&again, &zero, 905, gone(false)),
            (&again, &zero, 911, gone(true)),
            (&warned, &zero, 911, gone(false)),
            (&warned, &one, 911, before(false)),
        ] {
            let now = BORN.plus_seconds(at);
            let standing = judge(state, handle, &settings, now);
            assert_eq!(standing, wanted, "{} at {at}", handle.number());
        }
    }

    proptest! {
        #[test]
        fn f15_what_nobody_gave_out_is_nothing(text in "sh_[A-Za-z0-9_-]{80,90}") {
            prop_assert_eq!(Handle::read(&text, &key()), None);
        }
    }
}
