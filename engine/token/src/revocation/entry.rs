//! One thing that is revoked, and how long that must be known.

use domain::Timestamp;

use crate::claims::LIFE_MAX_SECONDS;
use crate::foreign::JTI_PREFIX;

/// What is revoked.
///
/// A session, a family and a token end for good: their names are never given again. Subject,
/// client and issuer go on, so theirs is a moment, and what they were given up to then ends. To
/// keep a client from being given more, its key is revoked; to keep a subject, a policy does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A session, with everything that came out of it: by its id, `ses_…`.
    Session(String),
    /// Everything that a subject (as `sub` says it) was given up to this moment, it included.
    SubjectNotBefore {
        /// Who.
        subject: String,
        /// Up to when.
        before: Timestamp,
    },
    /// A family of refresh tokens, with every access token of it.
    Family(String),
    /// Everything that a client was given up to this moment, it included.
    Client {
        /// Which client.
        client_id: String,
        /// Up to when.
        before: Timestamp,
    },
    /// Everything that this engine issued up to this moment, it included.
    IssuerEpoch {
        /// Up to when.
        before: Timestamp,
    },
    /// One access token, with what it was exchanged for.
    Jti(String),
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// [`Entry::Session`].
    Session,
    /// [`Entry::SubjectNotBefore`].
    Subject,
    /// [`Entry::Family`].
    Family,
    /// [`Entry::Client`].
    Client,
    /// [`Entry::IssuerEpoch`].
    Issuer,
    /// [`Entry::Jti`].
    Jti,
}

impl Kind {
    /// All of them, in the order in which a list is asked.
    pub const ALL: [Self; 6] = [
        Self::Session,
        Self::Subject,
        Self::Family,
        Self::Client,
        Self::Issuer,
        Self::Jti,
    ];

    /// The word in the store, in records and in `POST /v1/revocations`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Subject => "subject",
            Self::Family => "family",
            Self::Client => "client",
            Self::Issuer => "issuer_before",
            Self::Jti => "jti",
        }
    }

    /// The kind of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl Entry {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Session(_) => Kind::Session,
            Self::SubjectNotBefore { .. } => Kind::Subject,
            Self::Family(_) => Kind::Family,
            Self::Client { .. } => Kind::Client,
            Self::IssuerEpoch { .. } => Kind::Issuer,
            Self::Jti(_) => Kind::Jti,
        }
    }

    /// What it names; nothing for the issuer, which is this engine.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Session(id) | Self::Family(id) | Self::Jti(id) => id,
            Self::SubjectNotBefore { subject, .. } => subject,
            Self::Client { client_id, .. } => client_id,
            Self::IssuerEpoch { .. } => "",
        }
    }

    /// Up to when what was issued is revoked; none for what ends for good.
    #[must_use]
    pub const fn before(&self) -> Option<Timestamp> {
        match self {
            Self::SubjectNotBefore { before, .. }
            | Self::Client { before, .. }
            | Self::IssuerEpoch { before } => Some(*before),
            Self::Session(_) | Self::Family(_) | Self::Jti(_) => None,
        }
    }

    /// The entry of these parts. None when they do not go together.
    #[must_use]
    pub fn from_parts(kind: Kind, id: String, before: Option<Timestamp>) -> Option<Self> {
        Some(match (kind, before) {
            (Kind::Session, None) => Self::Session(id),
            (Kind::Family, None) => Self::Family(id),
            (Kind::Jti, None) => Self::Jti(id),
            (Kind::Subject, Some(before)) => Self::SubjectNotBefore {
                subject: id,
                before,
            },
            (Kind::Client, Some(before)) => Self::Client {
                client_id: id,
                before,
            },
            (Kind::Issuer, Some(before)) if id.is_empty() => Self::IssuerEpoch { before },
            _ => return None,
        })
    }
}

/// The longest lives that something of each kind can still have when it is revoked, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lives {
    /// Between two clocks, and while a request is under way that read its clock before.
    pub leeway_seconds: i64,
    /// A family of refresh tokens from its beginning to its absolute end.
    pub family_seconds: i64,
    /// A session from its beginning to its absolute end.
    pub session_seconds: i64,
    /// A token of another issuer.
    pub foreign_seconds: i64,
}

impl Lives {
    /// How long an entry of a kind must be known from the moment on at which it is made (B5,
    /// V11): a session or a family gives no token after its own end. Subject, client and issuer
    /// stand over all of these.
    #[must_use]
    pub fn seconds(&self, kind: Kind) -> i64 {
        let longest = match kind {
            Kind::Jti => 0,
            Kind::Family => self.family_seconds,
            Kind::Session | Kind::Subject | Kind::Client | Kind::Issuer => {
                self.session_seconds.max(self.family_seconds)
            }
        };
        longest.saturating_add(self.last_token_seconds())
    }

    /// Until when an entry must be known that is made now. `ends_at`: when the session or the
    /// family ends by itself, where that is known.
    #[must_use]
    pub fn end(&self, entry: &Entry, ends_at: Option<Timestamp>, now: Timestamp) -> Timestamp {
        // A moment that lies ahead counts from there: until then such things are issued.
        let from = entry.before().map_or(now, |before| before.max(now));
        match ends_at {
            Some(ends_at) => ends_at.max(now).plus_seconds(self.last_token_seconds()),
            None => from.plus_seconds(self.seconds(entry.kind()).max(self.of_foreign(entry))),
        }
    }

    /// A token of another issuer lives as long as that issuer says.
    fn of_foreign(&self, entry: &Entry) -> i64 {
        match entry {
            Entry::Jti(id) if id.starts_with(JTI_PREFIX) => {
                self.foreign_seconds.saturating_add(self.leeway_seconds)
            }
            _ => 0,
        }
    }

    /// A token may be issued in the last moment of what it comes from.
    fn last_token_seconds(&self) -> i64 {
        let access = i64::try_from(LIFE_MAX_SECONDS).unwrap_or(i64::MAX);
        access.saturating_add(self.leeway_seconds)
    }
}
