//! The ladder: the least step that the policies would accept.
//!
//! No outcome is written in a policy. The same policies are asked with the assurance that the
//! request really has, then as if a challenge had just been passed, then as if MFA had; what
//! helps on no rung is denied. So a step-up is never offered that could not help. Where a session
//! waits for a proof, the ladder begins at the rung of that proof.

use std::sync::Arc;

use domain::facts::AssuranceFacts;
use domain::{
    AccessRequest, Assurance, Cause, DecidingPolicy, Facts, Level, Rung, RungTried, Timestamp,
};

use crate::directory::Directory;
use crate::evaluate::{Prepared, Verdict};
use crate::load::Policies;

/// What is asked of the policies.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The request.
    pub request: &'a AccessRequest,
    /// What is known about it, the score among it.
    pub facts: &'a Facts,
    /// The assurance that it really has.
    pub assurance: Assurance,
    /// The moment.
    pub now: Timestamp,
    /// Whether the subject is one that can be asked for a step-up; services are not.
    pub interactive: bool,
}

/// Where the climb ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Climb {
    /// The lowest rung that the policies accept.
    pub rung: Rung,
    /// What settled it.
    pub cause: Cause,
    /// The policies that settled it: the permits of an allow, the forbids that stood in the way
    /// of anything less than what was answered.
    pub policies: Vec<Arc<DecidingPolicy>>,
    /// Every rung tried.
    pub tried: Vec<RungTried>,
    /// For the administrator: what was wrong, where something was.
    pub detail: Option<String>,
}

impl Policies {
    /// Climbs the ladder for one question. Total: what cannot be asked is denied with its cause.
    #[must_use]
    pub fn climb(&self, directory: &Directory, question: &Question<'_>) -> Climb {
        let mut prepared = match Prepared::new(self, directory, question) {
            Ok(prepared) => prepared,
            Err(refusal) => {
                return Climb {
                    rung: Rung::Deny,
                    cause: refusal.cause,
                    policies: Vec::new(),
                    tried: Vec::new(),
                    detail: Some(refusal.detail),
                };
            }
        };
        let now = question.now;
        let real = question.assurance;
        let first = wanted(question.facts);
        if first > Rung::Allow && !question.interactive {
            return Climb {
                rung: Rung::Deny,
                cause: Cause::ProofWanted,
                policies: Vec::new(),
                tried: Vec::new(),
                detail: Some("the subject cannot be asked for a proof".to_owned()),
            };
        }
        let mut tried: Vec<RungTried> = Vec::with_capacity(3);
        for (rung, assurance) in [
            (Rung::Allow, real),
            (Rung::Challenge, real.with_challenge_passed(now)),
            (Rung::Mfa, real.with_mfa_passed(now)),
        ] {
            if rung < first {
                continue;
            }
            // A rung that changes nothing that is seen is not tried, but for the first.
            if rung > first && !(question.interactive && prepared.sees_assurance()) {
                break;
            }
            let words = Facts {
                assurance: AssuranceFacts::of(&assurance, now),
                ..Facts::default()
            };
            tried.push(on_rung(rung, prepared.evaluate(&words)));
            if tried.last().is_some_and(|tried| tried.allowed) {
                break;
            }
        }
        settle(tried, first)
    }
}

/// The first rung that is tried: what the session waits for is proven before anything else is let
/// through (M8), whatever the policies would accept.
fn wanted(facts: &Facts) -> Rung {
    match facts.session.required_level {
        Some(level) if level >= Level::Mfa.number() => Rung::Mfa,
        Some(level) if level > Level::None.number() => Rung::Challenge,
        _ => Rung::Allow,
    }
}

fn on_rung(rung: Rung, verdict: Verdict) -> RungTried {
    let allowed = verdict.allows();
    RungTried {
        rung,
        allowed,
        determining: if allowed {
            verdict.permits
        } else {
            verdict.forbids
        },
        errors: verdict.errors,
    }
}

fn settle(tried: Vec<RungTried>, first: Rung) -> Climb {
    if let [only] = tried.as_slice()
        && only.allowed
        && first > Rung::Allow
    {
        return Climb {
            rung: only.rung,
            cause: Cause::ProofWanted,
            policies: Vec::new(),
            tried,
            detail: None,
        };
    }
    let (rung, decisive) = match tried.last() {
        // What a step-up is for are the forbids on the rung below it.
        Some(last) if last.allowed => (
            last.rung,
            tried.iter().rev().nth(usize::from(tried.len() > 1)),
        ),
        last => (Rung::Deny, last),
    };
    let (policies, errors) = decisive
        .map(|tried| (tried.determining.clone(), tried.errors.clone()))
        .unwrap_or_default();
    let cause = match (rung, policies.is_empty(), errors.is_empty()) {
        (Rung::Deny, _, false) => Cause::PolicyError,
        (Rung::Deny, true, true) => Cause::NothingPermits,
        _ => Cause::Policies,
    };
    let detail = (!errors.is_empty()).then(|| errors.join("; "));
    Climb {
        rung,
        cause,
        policies,
        tried,
        detail,
    }
}
