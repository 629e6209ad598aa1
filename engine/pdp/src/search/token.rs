//! Tokens of pages: where the next page begins, for this search and no other.
//!
//! A token is bound to the caller, to everything that was asked, and to the revisions of what
//! decides. It is signed with a key that the process makes for itself, so a restart ends all
//! searches, as a changed policy or entity does: places in the order mean nothing any more.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use domain::record::Revisions;

use crate::inputs::Randomness;

const PLACE: usize = 8;
const STAMP: usize = 8;
const TAG: usize = 16;

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadToken {
    /// It was not given for this question, or not by this process.
    #[error(
        "`page.token` is not of this search: send it with the same question as the page before, \
         or begin without it"
    )]
    Foreign,
    /// Something that decides has changed since it was given.
    #[error(
        "policies, entities, model or settings have changed since the page before: begin again \
         without `page.token`"
    )]
    Outdated,
}

/// What a token is bound to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding<'a> {
    /// The id of the caller's key.
    pub(super) caller: &'a str,
    /// What is sought.
    pub(super) sought: &'a str,
    /// Everything that was asked, in one form.
    pub(super) canonical: &'a [u8],
    /// What decides.
    pub(super) revisions: &'a Revisions,
}

/// The key that tokens are signed with.
#[derive(Debug)]
pub(super) struct PageTokens {
    key: hmac::Key,
}

impl PageTokens {
    /// Makes a key.
    #[must_use]
    pub(super) fn new(randomness: &dyn Randomness) -> Self {
        let mut bytes = [0; 32];
        randomness.fill(&mut bytes);
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
        }
    }

    /// The token of the page that begins at a place.
    #[must_use]
    pub(super) fn issue(&self, binding: &Binding<'_>, place: usize) -> String {
        let place = (place as u64).to_be_bytes();
        let stamp = stamp(binding.revisions);
        let mut token = hex::encode(place);
        token.push_str(&hex::encode(stamp));
        token.push_str(&hex::encode(self.tag(binding, &place, &stamp)));
        token
    }

    /// The place that a token means.
    ///
    /// # Errors
    /// When it is not of this search, or something has changed since.
    pub(super) fn read(&self, binding: &Binding<'_>, token: &str) -> Result<usize, BadToken> {
        let mut bytes = [0; PLACE + STAMP + TAG];
        hex::decode_to_slice(token, &mut bytes).map_err(|_| BadToken::Foreign)?;
        let (place, rest) = bytes
            .split_first_chunk::<PLACE>()
            .ok_or(BadToken::Foreign)?;
        let (given, tag) = rest.split_first_chunk::<STAMP>().ok_or(BadToken::Foreign)?;
        let wanted = self.tag(binding, place, given);
        aws_lc_rs::constant_time::verify_slices_are_equal(&wanted, tag)
            .map_err(|_| BadToken::Foreign)?;
        if *given != stamp(binding.revisions) {
            return Err(BadToken::Outdated);
        }
        usize::try_from(u64::from_be_bytes(*place)).map_err(|_| BadToken::Foreign)
    }

    fn tag(&self, binding: &Binding<'_>, place: &[u8], stamp: &[u8]) -> [u8; TAG] {
        let mut context = hmac::Context::with_key(&self.key);
        let parts = [
            binding.caller.as_bytes(),
            binding.sought.as_bytes(),
            binding.canonical,
            place,
            stamp,
        ];
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        first(context.sign().as_ref())
    }
}

/// A short name of what decides.
fn stamp(revisions: &Revisions) -> [u8; STAMP] {
    let parts = [
        &revisions.policies,
        &revisions.entities,
        &revisions.model_hash,
        &revisions.settings,
    ];
    let joined: Vec<&str> = parts.into_iter().map(|part| &**part).collect();
    first(digest(&SHA256, joined.join("\n").as_bytes()).as_ref())
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Debug)]
    struct Sevens;

    impl Randomness for Sevens {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[test]
    fn a_token_is_of_one_search_under_one_snapshot() {
        let revisions = |policies: &str| Revisions {
            policies: Arc::from(policies),
            entities: Arc::from("e"),
            model: Arc::from("m@1"),
            model_hash: Arc::from("h"),
            settings: Arc::from("s"),
        };
        let (before, after) = (revisions("p"), revisions("q"));
        let binding = Binding {
            caller: "k",
            sought: "resource",
            canonical: b"{}",
            revisions: &before,
        };
        let tokens = PageTokens::new(&Sevens);
        let token = tokens.issue(&binding, 4711);
        assert_eq!(tokens.read(&binding, &token), Ok(4711));
        let mut tampered = token.clone();
        tampered.replace_range(15..16, "0");
        for (binding, token, wanted) in [
            (
                Binding {
                    caller: "l",
                    ..binding
                },
                &token,
                BadToken::Foreign,
            ),
            (
                Binding {
                    sought: "subject",
                    ..binding
                },
                &token,
                BadToken::Foreign,
            ),
            (
                Binding {
                    canonical: b"{ }",
                    ..binding
                },
                &token,
                BadToken::Foreign,
            ),
            (
                Binding {
                    revisions: &after,
                    ..binding
                },
                &token,
                BadToken::Outdated,
            ),
            (binding, &tampered, BadToken::Foreign),
            (binding, &"ä".to_owned(), BadToken::Foreign),
            (binding, &String::new(), BadToken::Foreign),
            (binding, &format!("{token}00"), BadToken::Foreign),
        ] {
            assert_eq!(tokens.read(&binding, token), Err(wanted), "{token}");
        }
    }
}
