//! What callers call sessions: public ids, secret handles, and words of their own.
//!
//! A session that was opened with the engine has a public id `ses_…`, which may stand in URLs and
//! records, and a secret handle `sh_…`, which is nowhere but with its holder: here its SHA-256 is
//! kept. Anything else is a caller's own word.

use data_encoding::BASE64URL_NOPAD;
use domain::{RequestContext, Signal, Timestamp};

use crate::access::Caller;
use crate::app::App;
use crate::families::form::sha256;
use crate::inputs::Randomness;

const ID_PREFIX: &str = "ses_";
/// 128 bits (F15).
const ID_BYTES: usize = 16;
const HANDLE_PREFIX: &str = "sh_";
/// 256 bits (E6).
const HANDLE_BYTES: usize = 32;

/// The session that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// None.
    Nothing,
    /// The one that is kept under this key.
    Kept {
        /// The key.
        key: String,
        /// By its handle, which brings its assurance whoever asks.
        by_handle: bool,
    },
    /// One of the engine's that it does not know, or not any more: as good as ended.
    Unknown,
    /// Which one cannot be told at the moment.
    Unavailable,
}

/// A new public id. Nobody chooses it (E5, F21).
pub(crate) fn new_id(randomness: &dyn Randomness) -> String {
    random::<ID_BYTES>(ID_PREFIX, randomness)
}

/// A new handle.
pub(crate) fn new_handle(randomness: &dyn Randomness) -> String {
    random::<HANDLE_BYTES>(HANDLE_PREFIX, randomness)
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
    has_form(name, ID_PREFIX, ID_BYTES)
}

/// Whether this has the form of a handle.
pub(crate) fn is_handle(name: &str) -> bool {
    has_form(name, HANDLE_PREFIX, HANDLE_BYTES)
}

fn has_form(name: &str, prefix: &str, bytes: usize) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.len() == BASE64URL_NOPAD.encode_len(bytes) && is_base64url(rest))
}

fn is_base64url(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
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
            by_handle: false,
        };
    }
    let hash = sha256(name.as_bytes());
    let (public, named) = match app.state.session_of_handle(&hash, now).await {
        Signal::Known(id) => {
            let named = Named::Kept {
                key: id.clone(),
                by_handle: true,
            };
            (id, named)
        }
        Signal::Absent => (redacted(&hash), Named::Unknown),
        Signal::Unavailable => (redacted(&hash), Named::Unavailable),
    };
    context.session_id = Some(public);
    named
}

/// What stands in records for a handle that nobody knows: enough to see the same one again.
fn redacted(hash: &[u8; 32]) -> String {
    let some = hash.get(..8).unwrap_or_default();
    format!("{HANDLE_PREFIX}sha256:{}", hex::encode(some))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::inputs::Inputs;

    #[test]
    fn e6_f15_f20_ids_are_as_random_as_their_alphabet_allows() {
        let randomness = Inputs::system().randomness;
        for (make, length) in [
            (new_id as fn(&dyn Randomness) -> String, 22),
            (new_handle, 43),
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
        let (id, handle) = (new_id(&*randomness), new_handle(&*randomness));
        assert!(is_id(&id) && !is_handle(&id));
        assert!(is_handle(&handle) && !is_id(&handle));
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
