//! Whom an event is about: subject identifiers (RFC 9493, and SSF 1.0 §3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A subject identifier, by its `format`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "snake_case")]
pub enum Subject {
    /// An account, as an `acct` URI (RFC 9493 §3.2.1).
    Account {
        /// `acct:alice@example.com`.
        uri: String,
    },
    /// A mail address (§3.2.2).
    Email {
        /// The address.
        email: String,
    },
    /// Somebody's `iss` and `sub` (§3.2.3).
    IssSub {
        /// Who issued the name.
        iss: String,
        /// The name.
        sub: String,
    },
    /// A name that means something to transmitter and receiver alone (§3.2.4).
    Opaque {
        /// The name.
        id: String,
    },
    /// A telephone number, E.164 (§3.2.5).
    PhoneNumber {
        /// With its plus.
        phone_number: String,
    },
    /// A decentralised identifier (§3.2.6).
    Did {
        /// The DID URL.
        url: String,
    },
    /// Any URI (§3.2.7).
    Uri {
        /// The URI.
        uri: String,
    },
    /// A token, by its issuer and `jti` (SSF 1.0 §3.5.1).
    JwtId {
        /// Who issued it.
        iss: String,
        /// Which one.
        jti: String,
    },
    /// Several names of the same subject (RFC 9493 §3.2.8).
    Aliases {
        /// The names.
        identifiers: Vec<Subject>,
    },
    /// Several facets of one subject (SSF 1.0 §3.3): a user, in a session, on a device.
    Complex(Box<Complex>),
    /// A format that is not known here. It matches nobody.
    #[serde(other)]
    Unknown,
}

/// The facets of a complex subject. Each that is there narrows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complex {
    /// Whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Subject>,
    /// On which device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Subject>,
    /// In which session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Subject>,
    /// With which application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<Subject>,
    /// Of which tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Subject>,
    /// In which part of the organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_unit: Option<Subject>,
    /// In which group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Subject>,
    /// Facets that are not known here. They narrow it as well, to what nobody here can tell.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// Names of one subject at most.
const ALIASES_MAX: usize = 16;
/// Bytes of one word of an identifier at most.
const WORD_MAX: usize = 2048;

/// What is wrong with a subject identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSubject {
    /// A member is empty or longer than 2048 bytes.
    #[error("a member of the subject is empty or too long")]
    Word,
    /// Aliases within aliases (RFC 9493 §3.2.8), none, or too many.
    #[error("`identifiers` must be 1 to 16 plain identifiers")]
    Aliases,
    /// A complex subject in a complex subject, or one without a facet (SSF 1.0 §3.3).
    #[error("a complex subject has at least one facet, each a plain identifier")]
    Complex,
}

impl Complex {
    fn facets(&self) -> [Option<&Subject>; 7] {
        [
            self.user.as_ref(),
            self.device.as_ref(),
            self.session.as_ref(),
            self.application.as_ref(),
            self.tenant.as_ref(),
            self.org_unit.as_ref(),
            self.group.as_ref(),
        ]
    }
}

impl Subject {
    /// Checks what the JSON's shape does not say.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), BadSubject> {
        let words: &[&String] = match self {
            Self::Account { uri } | Self::Uri { uri } => &[uri],
            Self::Email { email } => &[email],
            Self::IssSub { iss, sub } => &[iss, sub],
            Self::Opaque { id } => &[id],
            Self::PhoneNumber { phone_number } => &[phone_number],
            Self::Did { url } => &[url],
            Self::JwtId { iss, jti } => &[iss, jti],
            Self::Aliases { identifiers } => return check_aliases(identifiers),
            Self::Complex(complex) => return complex.check(),
            Self::Unknown => &[],
        };
        let fits = |word: &&String| (1..=WORD_MAX).contains(&word.len());
        words.iter().all(fits).then_some(()).ok_or(BadSubject::Word)
    }

    /// Whether two identifiers may mean the same subject (SSF 1.0 §8.1.3.1): simple ones when they
    /// are equal, aliases when one of the names is, complex ones when each facet that both have
    /// is.
    ///
    /// Mail addresses are compared without regard to case: providers differ about the part before
    /// the `@`, and an event that is heard for one person too many ends a session, while one that
    /// is missed leaves a thief in it.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unknown, _) | (_, Self::Unknown) => false,
            (Self::Aliases { identifiers }, other) | (other, Self::Aliases { identifiers }) => {
                identifiers.iter().any(|name| name.matches(other))
            }
            (Self::Complex(one), Self::Complex(other)) => one.matches(other),
            // A plain name is the user's (SSF 1.0 §3.3).
            (Self::Complex(complex), plain) | (plain, Self::Complex(complex)) => complex
                .user
                .as_ref()
                .is_some_and(|user| user.matches(plain)),
            (Self::Email { email }, Self::Email { email: other }) => {
                email.to_lowercase() == other.to_lowercase()
            }
            (one, other) => one == other,
        }
    }
}

fn check_aliases(identifiers: &[Subject]) -> Result<(), BadSubject> {
    if !(1..=ALIASES_MAX).contains(&identifiers.len()) {
        return Err(BadSubject::Aliases);
    }
    identifiers.iter().try_for_each(|name| match name {
        Subject::Aliases { .. } | Subject::Complex(_) => Err(BadSubject::Aliases),
        name => name.check(),
    })
}

impl Complex {
    fn check(&self) -> Result<(), BadSubject> {
        let mut any = false;
        for facet in self.facets().into_iter().flatten() {
            if matches!(facet, Subject::Complex(_)) {
                return Err(BadSubject::Complex);
            }
            facet.check()?;
            any = true;
        }
        any.then_some(()).ok_or(BadSubject::Complex)
    }

    fn matches(&self, other: &Self) -> bool {
        self.facets()
            .into_iter()
            .zip(other.facets())
            .all(|pair| match pair {
                (Some(one), Some(other)) => one.matches(other),
                _ => true,
            })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subject(value: Value) -> Subject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn identifiers_are_read_and_written_as_the_standards_show_them() {
        for text in [
            json!({"format": "account", "uri": "acct:alice@example.com"}),
            json!({"format": "email", "email": "user@example.com"}),
            json!({"format": "iss_sub", "iss": "https://issuer.example.com/", "sub": "145234573"}),
            json!({"format": "opaque", "id": "11112222333344445555"}),
            json!({"format": "phone_number", "phone_number": "+12065550100"}),
            json!({"format": "did", "url": "did:example:123456"}),
            json!({"format": "uri", "uri": "urn:uuid:4e851e98-83c4-4743-a5da-150ecb53042f"}),
            json!({"format": "jwt_id", "iss": "https://idp.example.com/", "jti": "B70BA622"}),
            json!({"format": "aliases", "identifiers": [
                {"format": "email", "email": "user@example.com"},
                {"format": "phone_number", "phone_number": "+12065550100"}]}),
            json!({"format": "complex",
                "user": {"format": "email", "email": "bar@example.com"},
                "tenant": {"format": "iss_sub", "iss": "https://example.com/idp1", "sub": "1234"}}),
            json!({"format": "complex",
                "user": {"format": "email", "email": "bar@example.com"},
                "brand_new": {"format": "opaque", "id": "1"}}),
        ] {
            let read = subject(text.clone());
            assert_eq!(read.check(), Ok(()), "{text}");
            assert_eq!(serde_json::to_value(&read).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_identifier_is_refused_and_what_is_not_known_matches_nobody() {
        for (text, wrong) in [
            (json!({"format": "email", "email": ""}), BadSubject::Word),
            (
                json!({"format": "aliases", "identifiers": []}),
                BadSubject::Aliases,
            ),
            (
                json!({"format": "aliases", "identifiers": [
                    {"format": "aliases", "identifiers": [{"format": "opaque", "id": "1"}]}]}),
                BadSubject::Aliases,
            ),
            (json!({"format": "complex"}), BadSubject::Complex),
            (
                json!({"format": "complex", "user": {"format": "complex",
                    "user": {"format": "opaque", "id": "1"}}}),
                BadSubject::Complex,
            ),
        ] {
            assert_eq!(subject(text.clone()).check(), Err(wrong), "{text}");
        }
        for text in [
            json!({"format": "email"}),
            json!({"email": "a@b"}),
            json!([]),
        ] {
            assert!(serde_json::from_value::<Subject>(text).is_err());
        }
        let new = subject(json!({"format": "brand_new", "x": 1}));
        assert!(!new.matches(&new));
    }

    #[test]
    fn a_facet_that_one_side_does_not_have_matches() {
        let user = |id: &str| json!({"format": "opaque", "id": id});
        for (one, other, matches) in [
            (user("a"), user("a"), true),
            (user("a"), user("b"), false),
            (
                json!({"format": "email", "email": "Alice@Example.com"}),
                json!({"format": "email", "email": "alice@example.com"}),
                true,
            ),
            // Two formats are two names, whatever they hold.
            (user("a"), json!({"format": "uri", "uri": "a"}), false),
            (
                json!({"format": "complex", "user": user("a"), "device": user("d")}),
                json!({"format": "complex", "user": user("a"), "session": user("s")}),
                true,
            ),
            (
                json!({"format": "complex", "user": user("a"), "device": user("d")}),
                json!({"format": "complex", "user": user("a"), "device": user("e")}),
                false,
            ),
            (
                json!({"format": "complex", "user": user("a")}),
                user("a"),
                true,
            ),
            (
                json!({"format": "complex", "device": user("a")}),
                user("a"),
                false,
            ),
            (
                json!({"format": "aliases", "identifiers": [user("a"), user("b")]}),
                user("b"),
                true,
            ),
        ] {
            let (one, other) = (subject(one), subject(other));
            assert_eq!(one.matches(&other), matches, "{one:?} {other:?}");
            assert_eq!(other.matches(&one), matches, "{other:?} {one:?}");
        }
    }
}
