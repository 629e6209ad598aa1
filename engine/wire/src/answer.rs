//! The answer: AuthZEN 1.0 decision, with the context of `product` §4.

use domain::{Decision, Factor, Rung, Timestamp};
use serde::Serialize;
use serde::ser::{SerializeSeq as _, Serializer};

use crate::time::Rfc3339;

/// What a caller may see; it follows from the caller's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Score, factors and rules.
    pub risk: bool,
    /// Reasons for administrators.
    pub admin_reason: bool,
}

/// An answer, ready to be written.
#[derive(Clone, Copy, Debug)]
pub struct AnswerView<'a> {
    /// The decision.
    pub decision: &'a Decision,
    /// Its id.
    pub decision_id: &'a str,
    /// Content hash of the policies.
    pub policy_revision: &'a str,
    /// What the caller may see.
    pub sight: Sight,
    /// `acr_values` to ask for in a step-up (RFC 9470).
    pub acr_values: Option<&'a str>,
    /// The session.
    pub session: Option<SessionView<'a>>,
    /// The token that was minted.
    pub token: Option<TokenView<'a>>,
    /// Why there is none although one was asked for.
    pub token_error: Option<TokenErrorView<'a>>,
}

/// The session of an answer.
#[derive(Clone, Copy, Debug)]
pub struct SessionView<'a> {
    /// Its public id.
    pub id: &'a str,
    /// When it was first seen.
    pub since: Timestamp,
    /// When it ends at the latest; none: a caller's own word for a session.
    pub expires_at: Option<Timestamp>,
    /// What it may, by the risk at which it was granted; none: a caller's own word.
    pub tier: Option<&'a str>,
    /// The handle to be sent from now on, where it has changed. Secret.
    pub handle: Option<&'a str>,
}

/// The token of an answer (RFC 6749 §5.1).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TokenView<'a> {
    /// The token itself.
    pub access_token: &'a str,
    /// `Bearer`, or `DPoP` where it is bound to such a key (RFC 9449 §5).
    pub token_type: &'a str,
    /// Its life, seconds.
    pub expires_in: u64,
    /// The scopes that the policies allow.
    pub scope: &'a str,
}

/// Why an allowed request did not get the token that it asked for (RFC 6749 §5.2).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TokenErrorView<'a> {
    /// `invalid_target` (RFC 8707 §2) or `invalid_scope`.
    pub error: &'a str,
    /// For those who call.
    pub error_description: &'a str,
}

#[derive(Serialize)]
struct Answer<'a> {
    decision: bool,
    context: Context<'a>,
}

#[derive(Serialize)]
struct Context<'a> {
    outcome: &'a str,
    decision_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk: Option<Risk<'a>>,
    policies: Ids<'a>,
    policy_revision: &'a str,
    cause: &'a str,
    reason_user: English<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_admin: Option<English<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr_values: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Session<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<TokenView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_error: Option<TokenErrorView<'a>>,
}

/// Text by language (BCP 47).
#[derive(Serialize)]
struct English<'a> {
    en: &'a str,
}

#[derive(Serialize)]
struct Session<'a> {
    id: &'a str,
    since: Rfc3339,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Rfc3339>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<&'a str>,
}

/// A score with its reasons.
#[derive(Serialize)]
struct Risk<'a> {
    score: u8,
    level: &'a str,
    model_score: u8,
    rule_score: u8,
    model: &'a str,
    baseline: i32,
    other: i32,
    factors: Factors<'a>,
    rules: &'a [&'static str],
}

impl<'a> Risk<'a> {
    fn of(decision: &'a Decision) -> Self {
        let risk = &decision.risk;
        Self {
            score: risk.score.points(),
            level: risk.level.as_str(),
            model_score: risk.model_score.points(),
            rule_score: risk.rule_score.points(),
            model: &risk.model,
            baseline: risk.baseline,
            other: risk.other,
            factors: Factors(&risk.factors),
            rules: &risk.rules,
        }
    }
}

struct Factors<'a>(&'a [Factor]);

impl Serialize for Factors<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            feature: &'a str,
            value: Option<f64>,
            contribution: i32,
            reason: &'a str,
        }
        to.collect_seq(self.0.iter().map(|factor| Written {
            feature: factor.feature,
            // Three decimals tell everything that a reader can use.
            value: factor.value.map(|value| (value * 1000.0).round() / 1000.0),
            contribution: factor.contribution,
            reason: &factor.reason,
        }))
    }
}

/// Ids of policies.
pub(crate) struct Ids<'a>(pub(crate) &'a [std::sync::Arc<domain::DecidingPolicy>]);

impl Serialize for Ids<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut ids = to.serialize_seq(Some(self.0.len()))?;
        for policy in self.0 {
            ids.serialize_element(&*policy.id)?;
        }
        ids.end()
    }
}

impl Serialize for AnswerView<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let decision = self.decision;
        let step_up = matches!(decision.rung, Rung::Challenge | Rung::Mfa);
        Answer {
            decision: decision.rung == Rung::Allow,
            context: Context {
                outcome: decision.rung.as_str(),
                decision_id: self.decision_id,
                risk: self.sight.risk.then(|| Risk::of(decision)),
                policies: Ids(&decision.policies),
                policy_revision: self.policy_revision,
                cause: decision.cause.code(),
                reason_user: English {
                    en: &decision.reason.user,
                },
                reason_admin: self.sight.admin_reason.then_some(English {
                    en: &decision.reason.admin,
                }),
                acr_values: self.acr_values.filter(|_| step_up),
                max_age: step_up.then_some(0),
                session: self.session.map(|session| Session {
                    id: session.id,
                    since: Rfc3339(session.since),
                    expires_at: session.expires_at.map(Rfc3339),
                    tier: session.tier,
                    handle: session.handle,
                }),
                token: self.token,
                token_error: self.token_error,
            },
        }
        .serialize(to)
    }
}
