//! How tokens travel: pushed (RFC 8935) or fetched (RFC 8936).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Content type of a pushed token.
pub const SECEVENT_JWT: &str = "application/secevent+jwt";

/// Tokens in one answer to a poll at most, whatever is asked for.
pub const POLL_MAX: usize = 100;

/// Acknowledgements and errors in one poll at most.
pub const ACKS_MAX: usize = 1000;

/// Why a token was not taken (RFC 8935 §2.4, the IANA registry, and SSF 1.0's own).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// It is none, or an event in it is not what it should be.
    InvalidRequest,
    /// Its signature does not verify.
    InvalidKey,
    /// Its issuer is none that is heard here.
    InvalidIssuer,
    /// It is meant for somebody else.
    InvalidAudience,
    /// Who sent it did not say who they are.
    AuthenticationFailed,
    /// Who sent it may not.
    AccessDenied,
    /// A verification with another `state` than was asked for (SSF 1.0 §8.1.4).
    InvalidState,
}

/// An error in the words of RFC 8935 §2.3. It never tells what would have been right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetError {
    /// Which.
    pub err: ErrorCode,
    /// For people.
    #[serde(default)]
    pub description: String,
}

/// What a receiver asks for (RFC 8936 §2.4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Poll {
    /// Tokens at most; 0 acknowledges only. None: as many as the transmitter likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_events: Option<u32>,
    /// Whether to answer at once where there is nothing.
    pub return_immediately: bool,
    /// `jti`s that were taken and are durable.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ack: Vec<String>,
    /// `jti`s that cannot be taken, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set_errs: BTreeMap<String, SetError>,
}

impl Poll {
    /// Whether it names more than a transmitter takes at once.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        self.ack.len() + self.set_errs.len() > ACKS_MAX
    }

    /// How many tokens to answer with at most.
    #[must_use]
    pub fn most(&self) -> usize {
        self.max_events
            .and_then(|most| usize::try_from(most).ok())
            .map_or(POLL_MAX, |most| most.min(POLL_MAX))
    }
}

/// What a transmitter answers (RFC 8936 §2.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Polled {
    /// The tokens by their `jti`.
    pub sets: BTreeMap<String, String>,
    /// Whether there are more.
    #[serde(default)]
    pub more_available: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn polls_are_read_as_the_standard_shows_them() {
        let read: Poll = serde_json::from_value(json!({
            "ack": ["3d0c3cf797584bd193bd0fb1bd4e7d30"],
            "setErrs": {"4d3559ec67504aaba65d40b0363faad8": {
                "err": "authentication_failed", "description": "The SET could not be authenticated"}},
            "maxEvents": 0}))
        .unwrap();
        assert_eq!(
            (read.most(), read.ack.len(), read.return_immediately),
            (0, 1, false)
        );
        let error = &read.set_errs["4d3559ec67504aaba65d40b0363faad8"];
        assert_eq!(error.err, ErrorCode::AuthenticationFailed);
        let all: Poll = serde_json::from_value(json!({"maxEvents": 1_000_000})).unwrap();
        assert_eq!(all.most(), POLL_MAX);
        assert!(serde_json::from_value::<Poll>(json!({"maxEvents": -1})).is_err());
        let answer = Polled {
            sets: BTreeMap::from([("1".to_owned(), "e30".to_owned())]),
            more_available: true,
        };
        assert_eq!(
            serde_json::to_value(answer).unwrap(),
            json!({"sets": {"1": "e30"}, "moreAvailable": true})
        );
    }
}
