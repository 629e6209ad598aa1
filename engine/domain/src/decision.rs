//! What is answered: a rung of the ladder, and why.

use std::fmt;
use std::sync::Arc;

use crate::risk::RiskAssessment;

/// The rungs of the ladder, from least to most friction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// Go ahead. The only rung whose `decision` is true.
    Allow,
    /// Go ahead once a challenge is passed.
    Challenge,
    /// Go ahead once MFA is passed.
    Mfa,
    /// No.
    Deny,
}

impl Rung {
    /// Every rung, from the bottom.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Challenge, Self::Mfa, Self::Deny];

    /// The word in answers, records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Challenge => "challenge",
            Self::Mfa => "mfa",
            Self::Deny => "deny",
        }
    }

    /// The rung of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rung| rung.as_str() == word)
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What settled the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Policies said so: those listed with the decision.
    Policies,
    /// No policy permits it, and none forbids it.
    NothingPermits,
    /// A policy could not be evaluated. Cedar would skip it; a skipped `forbid` is an allow.
    PolicyError,
    /// The subject's type is `@stored` and nobody of that id is.
    UnknownSubject,
    /// The resource's type is `@stored` and nothing of that id is.
    UnknownResource,
    /// The schema does not know the action.
    UnknownAction,
    /// The action is not for subjects or resources of these types.
    ActionDoesNotApply,
    /// A required attribute is missing, or one has another type than the schema says.
    BadAttribute,
    /// The session has ended.
    SessionEnded,
    /// The session is another subject's.
    SessionOfAnother,
    /// The handle was one that the session had long before: somebody has a copy.
    HandleSuperseded,
    /// Something has to be proven in the session first, whatever the policies say.
    ProofWanted,
    /// The policies or the model are too old to trust.
    SnapshotStale,
    /// The score is not a number.
    ScoreUndefined,
    /// What policies need is held by a source that failed.
    SourceFailed,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 15] = [
        Self::Policies,
        Self::NothingPermits,
        Self::PolicyError,
        Self::UnknownSubject,
        Self::UnknownResource,
        Self::UnknownAction,
        Self::ActionDoesNotApply,
        Self::BadAttribute,
        Self::SessionEnded,
        Self::SessionOfAnother,
        Self::HandleSuperseded,
        Self::ProofWanted,
        Self::SnapshotStale,
        Self::ScoreUndefined,
        Self::SourceFailed,
    ];

    /// The cause of this code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.code() == code)
    }

    /// Whether it is no allow whatever the policies say: what was so at that moment, and is not
    /// worked out again from facts.
    #[must_use]
    pub const fn is_of_the_moment(&self) -> bool {
        matches!(
            self,
            Self::SnapshotStale
                | Self::SourceFailed
                | Self::SessionEnded
                | Self::SessionOfAnother
                | Self::HandleSuperseded
        )
    }

    /// The code in answers and records.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::NothingPermits => "nothing_permits",
            Self::PolicyError => "policy_error",
            Self::UnknownSubject => "unknown_subject",
            Self::UnknownResource => "unknown_resource",
            Self::UnknownAction => "unknown_action",
            Self::ActionDoesNotApply => "action_does_not_apply",
            Self::BadAttribute => "bad_attribute",
            Self::SessionEnded => "session_ended",
            Self::SessionOfAnother => "session_of_another",
            Self::HandleSuperseded => "handle_superseded",
            Self::ProofWanted => "proof_wanted",
            Self::SnapshotStale => "snapshot_stale",
            Self::ScoreUndefined => "score_undefined",
            Self::SourceFailed => "source_failed",
        }
    }
}

/// A policy that had a say, shared with the loaded set: naming it costs a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidingPolicy {
    /// Its `@id`.
    pub id: Arc<str>,
    /// Its `@reason`, for the user.
    pub reason: Option<Arc<str>>,
    /// Its `@severity`.
    pub severity: Option<Arc<str>>,
    /// Its `@alert`: what to tell the security team whenever an answer rests on it.
    pub alert: Option<Arc<str>>,
}

/// One rung that was tried, and what the policies said on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RungTried {
    /// The rung.
    pub rung: Rung,
    /// Whether the policies allow it there.
    pub allowed: bool,
    /// The permits (where allowed) or forbids (where not) that settled it.
    pub determining: Vec<Arc<DecidingPolicy>>,
    /// Policies that could not be evaluated, and why.
    pub errors: Vec<String>,
}

/// The two sides of a reason (AuthZEN 1.0 decision context).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Fit for the subject: no thresholds, no scores, no policy text.
    pub user: String,
    /// For those who run the engine.
    pub admin: String,
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The rung.
    pub rung: Rung,
    /// What settled it.
    pub cause: Cause,
    /// The policies that settled it: permits of an allow, forbids of anything else.
    pub policies: Vec<Arc<DecidingPolicy>>,
    /// In words.
    pub reason: Reason,
    /// What was wrong, where something was.
    pub detail: Option<String>,
    /// Every rung that was tried.
    pub tried: Vec<RungTried>,
    /// How unusual the request was.
    pub risk: RiskAssessment,
}

impl Decision {
    /// Policies that settled it and whose authors want to hear of it, with what they say.
    pub fn alerts(&self) -> impl Iterator<Item = (&DecidingPolicy, &str)> {
        self.policies
            .iter()
            .filter_map(|policy| Some((&**policy, policy.alert.as_deref()?)))
    }
}
