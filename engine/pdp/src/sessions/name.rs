//! What callers call sessions: public ids, secret handles, and words of their own.
//!
//! A session that was opened with the engine has a public id `ses_…`, which may stand in URLs and
//! records, and a secret [`Handle`] `sh_…`, which is nowhere but with its holder. Anything else is a
//! caller's own word.

use data_encoding::BASE64URL_NOPAD;
use domain::{RequestContext, SessionRecord, Signal, Timestamp};

use super::handle::{self, Handle, ID_BYTES, Standing};
use crate::access::Caller;
use crate::app::App;
use crate::families::form::sha256;
use crate::inputs::Randomness;

pub(super) const ID_PREFIX: &str = "ses_";

/// The session that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// None.
    Nothing,
    /// The one that is kept under this key.
    Kept {
        /// The key.
        key: String,
        /// The handle by which it was named, if it was by one.
        handle: Option<Box<Presented>>,
        /// It was named by a token of ours that was given in it, verified, and not by its name
        /// alone.
        by_token: bool,
    },
    /// One of the engine's that it does not know, or not any more: as good as ended.
    Unknown,
    /// Which one cannot be told at the moment.
    Unavailable,
}

/// A handle by which a session was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Presented {
    /// The handle.
    pub(crate) handle: Handle,
    /// What it is good for.
    pub(crate) standing: Standing,
}

impl Named {
    /// Whether what was proven in the session counts: by its handle, which brings it whoever asks,
    /// or by its name, for a caller who may assert as much. A handle that is not the session's any
    /// more brings nothing, whoever asks; and neither does a token, which says itself what had been
    /// proven when it was made: what is proven later is not for whoever has an older one.
    pub(crate) fn brings_assurance(&self, may_assert: bool) -> bool {
        let Self::Kept {
            handle, by_token, ..
        } = self
        else {
            return false;
        };
        handle
            .as_ref()
            .map_or(may_assert && !by_token, |presented| {
                matches!(
                    presented.standing,
                    Standing::Current { .. } | Standing::Previous { is_weak: false }
                )
            })
    }

    /// Whether it was named by something that its holder alone has: its handle, or a token.
    pub(crate) fn is_by_holder(&self) -> bool {
        matches!(self, Self::Kept { handle, by_token, .. } if handle.is_some() || *by_token)
    }

    /// Whether whoever named it may do something to it: as its holder, as the client that opened
    /// it, or by that client's own word.
    pub(crate) fn is_holders(&self, caller: &Caller, session: &SessionRecord) -> bool {
        self.is_by_holder() || is_opened_by(session, &caller.client_id)
    }

    /// The same session, named by a token that was given in it.
    pub(crate) fn by_token(self) -> Self {
        match self {
            Self::Kept { key, handle, .. } => Self::Kept {
                key,
                handle,
                by_token: true,
            },
            other => other,
        }
    }

    /// Whether it was named by a handle that it had long before.
    pub(crate) fn is_superseded(&self) -> bool {
        matches!(self, Self::Kept { handle: Some(presented), .. }
            if matches!(presented.standing, Standing::Superseded { .. }))
    }
}

/// A new public id. Nobody chooses it (E5, F21).
pub(crate) fn new_id(randomness: &dyn Randomness) -> String {
    random::<ID_BYTES>(ID_PREFIX, randomness)
}

fn random<const BYTES: usize>(prefix: &str, randomness: &dyn Randomness) -> String {
    let mut bytes = [0; BYTES];
    randomness.fill(&mut bytes);
    let mut text = prefix.to_owned();
    BASE64URL_NOPAD.encode_append(&bytes, &mut text);
    text
}

/// Whether this has the form of a public id.
pub(crate) fn is_id(name: &str) -> bool {
    let characters = BASE64URL_NOPAD.encode_len(ID_BYTES);
    name.strip_prefix(ID_PREFIX)
        .is_some_and(|rest| rest.len() == characters && is_base64url(rest))
}

/// Whether this has the form of a handle, or of most of one: what was cut off is secret, too, and
/// nobody's own word.
pub(crate) fn is_handle(name: &str) -> bool {
    name.strip_prefix(handle::PREFIX)
        .is_some_and(|rest| rest.len() >= handle::CHARACTERS / 2 && is_base64url(rest))
}

/// Whether this names a session of the engine's, by id or handle.
pub(crate) fn is_engines(name: &str) -> bool {
    is_id(name) || is_handle(name)
}

fn is_base64url(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Whether a session was opened by a client, or is its own word for one.
pub(crate) fn is_opened_by(session: &SessionRecord, client_id: &str) -> bool {
    let terms = session.terms.as_ref();
    terms.is_none_or(|terms| terms.client_id == client_id)
}

/// Under what a session is kept: the engine's own under their ids, a caller's under the client and
/// the name. Clients have no slash, and neither have ids.
#[must_use]
pub(crate) fn key(client_id: &str, name: &str) -> String {
    if is_id(name) {
        name.to_owned()
    } else {
        format!("{client_id}/{name}")
    }
}

/// Finds the session that a request names, and puts its public id in the place of a handle: from
/// here on the request may be recorded.
pub(crate) async fn find(
    app: &App,
    caller: &Caller,
    context: &mut RequestContext,
    now: Timestamp,
) -> Named {
    let Some(name) = &context.session_id else {
        return Named::Nothing;
    };
    if !is_handle(name) {
        let key = key(&caller.client_id, name);
        return Named::Kept {
            key,
            handle: None,
            by_token: false,
        };
    }
    let Some(handle) = Handle::read(name, &app.refresh_key) else {
        context.session_id = Some(redacted(name));
        return Named::Unknown;
    };
    let key = handle.session();
    context.session_id = Some(key.clone());
    let standing = match app.state.session_handles(&key, now).await {
        Signal::Known(kept) => handle::judge(&kept, &handle, &app.settings.sessions, now),
        Signal::Absent => Standing::Unknown,
        Signal::Unavailable => return Named::Unavailable,
    };
    if standing == Standing::Unknown {
        return Named::Unknown;
    }
    Named::Kept {
        key,
        handle: Some(Box::new(Presented { handle, standing })),
        by_token: false,
    }
}

/// What stands in records for a handle that the engine never gave out: enough to see the same one
/// again.
fn redacted(handle: &str) -> String {
    let hash = sha256(handle.as_bytes());
    let some = hash.get(..8).unwrap_or_default();
    format!("{}sha256:{}", handle::PREFIX, hex::encode(some))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::families::RefreshKey;
    use crate::inputs::Inputs;

    fn handle(randomness: &dyn Randomness) -> Handle {
        let key = RefreshKey::new(&[7; 32]);
        Handle::random(&new_id(randomness), 0, &key, randomness).unwrap()
    }

    #[test]
    fn e6_f15_f20_ids_are_as_random_as_their_alphabet_allows() {
        let randomness = Inputs::system().randomness;
        // Of a handle: the 256 bits that are its secret, and nothing but.
        for (make, length) in [
            (new_id as fn(&dyn Randomness) -> String, 22),
            (|randomness| handle(randomness).secret_text(), 43),
        ] {
            let all: Vec<String> = (0..1000).map(|_| make(&*randomness)).collect();
            let different: BTreeSet<&String> = all.iter().collect();
            assert_eq!(different.len(), 1000);
            let mut counts: BTreeMap<char, f64> = BTreeMap::new();
            let mut total = 0.0;
            for id in &all {
                let random = id
                    .rsplit_once('_')
                    .map_or("", |(_, _)| &id[id.len() - length..]);
                // The last character holds fewer bits than the others.
                for character in random[..length - 1].chars() {
                    *counts.entry(character).or_default() += 1.0;
                    total += 1.0;
                }
            }
            let entropy: f64 = counts
                .values()
                .map(|count| -(count / total) * (count / total).log2())
                .sum();
            assert!(
                entropy >= 0.95 * 64_f64.log2(),
                "{entropy} bits a character"
            );
        }
    }

    #[test]
    fn what_callers_call_sessions_is_told_apart_by_its_form() {
        let randomness = Inputs::system().randomness;
        let (id, handle) = (
            new_id(&*randomness),
            handle(&*randomness).as_str().to_owned(),
        );
        assert!(is_id(&id) && !is_handle(&id));
        assert!(is_handle(&handle) && !is_id(&handle));
        assert!(is_handle(&handle[..80]), "cut off");
        assert_eq!(key("sk_12345678", &id), id);
        for own in [
            "cookie-1",
            "ses_1",
            "sh_short",
            &format!("{id}x"),
            "ses_äöüäöüäöüäö",
        ] {
            assert!(!is_id(own) && !is_handle(own), "{own}");
            assert_eq!(key("sk_12345678", own), format!("sk_12345678/{own}"));
        }
    }
}
