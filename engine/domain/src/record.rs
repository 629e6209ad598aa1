//! What is kept of a decision: enough to tell its story, and to decide it again.

use std::sync::Arc;

use crate::decision::{Decision, Rung};
use crate::facts::Facts;
use crate::request::AccessRequest;
use crate::time::Timestamp;

/// Which policies, entities, model and settings decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revisions {
    /// Content hash of schema and policies.
    pub policies: Arc<str>,
    /// Content hash of the entities given to Cedar.
    pub entities: Arc<str>,
    /// The model, `name@version`.
    pub model: Arc<str>,
    /// Content hash of the model's file and its feature list.
    pub model_hash: Arc<str>,
    /// Content hash of the settings of the score.
    pub settings: Arc<str>,
}

/// How the question was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// One access: learnt from and counted.
    Access,
    /// One question with `dry_run`: no trace but this record.
    DryRun,
    /// An item of a batch: no trace but this record.
    Batch,
    /// One scope of a token that was asked for at the token endpoint: no trace but this record.
    Token,
}

impl Manner {
    /// The word in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::DryRun => "dry_run",
            Self::Batch => "batch",
            Self::Token => "token",
        }
    }
}

/// What policies that are not live make of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadowed<'a> {
    /// Their revision.
    pub revision: &'a str,
    /// The outcome that they would have had.
    pub rung: Rung,
}

/// One decision, whole. Borrowed: it is written down and gone.
#[derive(Clone, Copy, Debug)]
pub struct DecisionRecord<'a> {
    /// Unique, ordered by time (UUIDv7, RFC 9562).
    pub decision_id: &'a str,
    /// When it was decided, by the engine's own clock.
    pub at: Timestamp,
    /// The moment it was decided for; another than `at` in a replay.
    pub time: Timestamp,
    /// Who asked: the id of the caller's key.
    pub caller: &'a str,
    /// `jti` of the token of ours that the caller came with, in place of the key.
    pub caller_token: Option<&'a str>,
    /// The caller's `X-Request-ID`.
    pub request_id: &'a str,
    /// How it was put.
    pub manner: Manner,
    /// The question.
    pub request: &'a AccessRequest,
    /// What was known.
    pub facts: &'a Facts,
    /// The features, in the order of the model's feature list; NaN where unknown.
    pub features: &'a [f64],
    /// The answer.
    pub decision: &'a Decision,
    /// What decided.
    pub revisions: &'a Revisions,
    /// What the policies in the shadow make of it, where it was asked for the record: one access
    /// in some.
    pub shadow: Option<Shadowed<'a>>,
    /// `jti` of the token that was minted with it.
    pub token_id: Option<&'a str>,
}
