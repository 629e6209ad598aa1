//! What an access token says.

use std::net::IpAddr;

use domain::{EntityRef, Timestamp};
use serde::{Deserialize, Serialize};

/// Longest life of a token, seconds, whatever the settings say (T20).
pub const LIFE_MAX_SECONDS: u64 = 900;

/// `typ` of an access token (RFC 9068 §2.1, T7).
pub const ACCESS_TOKEN_TYP: &str = "at+jwt";

/// How often a token may be passed on: actors in `act`, ancestors in `lineage` (X5).
pub const DELEGATIONS_MAX: usize = 4;

/// The claims of an access token (RFC 9068 §2.2), by their registered names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The engine's `public_url`.
    pub iss: String,
    /// The subject, as [`subject`] writes it: one that is told from all others, whatever its type.
    pub sub: String,
    /// The one service that the token is for (L4).
    pub aud: String,
    /// The client that it was issued to.
    pub client_id: String,
    /// Issued at, seconds.
    pub iat: i64,
    /// Not before, seconds.
    pub nbf: i64,
    /// Expiry, seconds: the first second in which it no longer holds.
    pub exp: i64,
    /// Unique.
    pub jti: String,
    /// Scopes that the policies allow, apart by single spaces (L1); see [`is_scope`].
    pub scope: String,
    /// Authentication context class.
    pub acr: String,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// When the subject authenticated, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// The key that must be proven with the token (L6). None: whoever holds it may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// Who acts for the subject (RFC 8693 §4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
    /// The `jti` of the token that this one comes from in the end (X4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_jti: Option<String>,
    /// The `jti`s of the tokens between that one and this, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lineage: Vec<String>,
    /// To which clients its ancestors were issued, and when, oldest first: what is taken back from
    /// one of them is taken back from whoever it passed its tokens on to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issued_to: Vec<IssuedTo>,
    /// The family of refresh tokens that it was issued with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_id: Option<String>,
    /// Where those who cannot ask see whether it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// What the token was asked for from (L4).
    #[serde(default, skip_serializing_if = "ContextClaim::is_empty")]
    pub context: ContextClaim,
    /// `LOW`, `MEDIUM` or `HIGH`, where it rests on a scored decision. Never the score: that
    /// would be an oracle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<String>,
}

/// The key that a token is bound to (RFC 7800): at least one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// RFC 7638 thumbprint of a DPoP key (RFC 9449 §6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jkt: Option<String>,
    /// SHA-256 of a client certificate (RFC 8705 §3.1).
    #[serde(rename = "x5t#S256", default, skip_serializing_if = "Option::is_none")]
    pub x5t_s256: Option<String>,
}

/// Somebody who acts for the subject; the outermost acts now, those within acted before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// As [`subject`] writes it.
    pub sub: String,
    /// The client that it acts as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Who acted before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Actor>>,
}

impl Actor {
    /// How many actors there are, this one and those before.
    #[must_use]
    pub fn depth(&self) -> usize {
        std::iter::successors(Some(self), |actor| actor.act.as_deref()).count()
    }
}

/// To whom an ancestor of a token was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuedTo {
    /// The client.
    pub client_id: String,
    /// When, milliseconds since 1970: as exact as a revocation is.
    pub at: i64,
}

/// Where a token stands in a status list (draft-ietf-oauth-status-list §6.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The list.
    pub status_list: StatusReference,
}

/// A place in a status list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusReference {
    /// Which entry.
    pub idx: u64,
    /// Of which list.
    pub uri: String,
}

/// Where the request came from, so that the service can see when its token turns up elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextClaim {
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// The device, by the id that the caller gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
}

impl ContextClaim {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A subject as `sub` says it: its type, a slash, its id, for example `User/alice`. A person and a
/// program of the same id are two subjects. What stands for something in it or in a URI (RFC 7519
/// §2: a value with a colon must be one) is written as in URIs, `%3A`.
#[must_use]
pub fn subject(kind: &str, id: &str) -> String {
    let mut text = String::with_capacity(kind.len() + id.len() + 1);
    for (position, part) in [kind, id].into_iter().enumerate() {
        if position > 0 {
            text.push('/');
        }
        for character in part.chars() {
            match character {
                '%' => text.push_str("%25"),
                '/' => text.push_str("%2F"),
                ':' => text.push_str("%3A"),
                _ => text.push(character),
            }
        }
    }
    text
}

/// The subject that [`subject`] wrote. None for what it cannot have written.
#[must_use]
pub fn parse_subject(text: &str) -> Option<EntityRef> {
    let (kind, id) = text.split_once('/')?;
    let plain = |part: &str| {
        part.replace("%3A", ":")
            .replace("%2F", "/")
            .replace("%25", "%")
    };
    let parsed = EntityRef::new(plain(kind), plain(id)).ok()?;
    // One way to write each: what would be written otherwise was not written by us.
    (subject(parsed.kind.as_str(), parsed.id.as_str()) == text).then_some(parsed)
}

/// Whether this is a scope as RFC 6749 §3.3 writes it: words of visible ASCII without `"` and `\`,
/// apart by single spaces, at least one.
#[must_use]
pub fn is_scope(text: &str) -> bool {
    text.split(' ').all(is_scope_word)
}

/// Whether this can be one word of a scope.
#[must_use]
pub fn is_scope_word(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// When a token minted now ends (L5).
#[must_use]
pub fn expiry(now: Timestamp, life_seconds: u64) -> i64 {
    let life = i64::try_from(life_seconds.min(LIFE_MAX_SECONDS)).unwrap_or_default();
    now.seconds() + life
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_two_subjects_are_the_same() {
        assert_eq!(
            subject("User", "alice@example.com"),
            "User/alice@example.com"
        );
        let all = [
            ("User", "x"),
            ("Service", "x"),
            ("A::B", "c"),
            ("A", "B::c"),
            ("A", "B/c"),
            ("A", "B%2Fc"),
        ];
        let written: std::collections::BTreeSet<String> =
            all.iter().map(|(kind, id)| subject(kind, id)).collect();
        assert_eq!(written.len(), all.len());
        assert!(!written.iter().any(|text| text.contains(':')));
    }

    #[test]
    fn a_subject_that_was_not_written_so_is_none() {
        for text in [
            "",
            "alice",
            "/alice",
            "User/",
            "User/a/b",
            "User/a%",
            "User/a%41",
            "User/a%2f",
            "User/a:b",
            "User/\u{200B}a",
        ] {
            assert_eq!(parse_subject(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_subject_is_read_as_it_was_written(kind in "[A-Za-z:/%25F]{1,12}", id in "[ -~ß]{1,24}") {
            let read = parse_subject(&subject(&kind, &id)).unwrap();
            prop_assert_eq!((read.kind.as_str(), read.id.as_str()), (&*kind, &*id));
        }
    }

    #[test]
    fn l1_a_scope_is_words_apart_by_single_spaces() {
        for good in ["read", "read write", "a:b.c/d*"] {
            assert!(is_scope(good), "{good}");
        }
        for bad in [
            "", " ", " read", "read ", "a  b", "a\tb", "a\"b", "a\\b", "größe",
        ] {
            assert!(!is_scope(bad), "{bad}");
        }
    }
}
