//! What a gateway gets back for what came of its question.

use ::token::dpop::Replayed;
use axum::http::HeaderValue;
use axum::http::header::{SET_COOKIE, WWW_AUTHENTICATE};
use domain::{AccessRequest, Cause, EntityRef, Rung, Timestamp};
use gateway::reply::Scheme;
use gateway::{Decided, Door, Known, Question, Reply, Route, Verdict};

use super::subject::{NotKnown, Resolved, Session};
use super::{Checked, Complaint, Told, is_in};
use crate::administrator::Answered;
use crate::app::App;
use crate::sessions::name::is_id;

/// What an answer is for.
pub(super) struct At<'a> {
    pub(super) door: &'a Door,
    pub(super) route: &'a Route,
    pub(super) question: &'a Question<'a>,
    /// Whose credential came.
    pub(super) known: Option<&'a Resolved>,
    /// Who was asked about.
    pub(super) subject: &'a EntityRef,
    pub(super) now: Timestamp,
}

/// An action that the scope of a client's token lacks.
pub(super) struct OutOfScope {
    scheme: Scheme,
    action: String,
}

/// What is answered where nothing was decided and no route is known.
pub(super) fn refuse(
    app: &App,
    door: &Door,
    question: Option<&Question<'_>>,
    verdict: &Verdict<'_>,
) -> Checked {
    undecided(app, door.reply(None, question, verdict), verdict)
}

/// The same on a route.
pub(super) fn refuse_at(
    app: &App,
    door: &Door,
    route: &Route,
    question: &Question<'_>,
    verdict: &Verdict<'_>,
) -> Checked {
    undecided(
        app,
        door.reply(Some(route), Some(question), verdict),
        verdict,
    )
}

fn undecided(app: &App, reply: Reply, verdict: &Verdict<'_>) -> Checked {
    app.metrics.door.gateway_answered(word(verdict));
    Checked { reply, told: None }
}

/// The word of a verdict in metrics.
const fn word(verdict: &Verdict<'_>) -> &'static str {
    match verdict {
        Verdict::Allow { .. } => "allow",
        Verdict::StepUp { rung, .. } => rung.as_str(),
        Verdict::Deny(_) => "deny",
        Verdict::Unauthenticated { .. } => "unauthenticated",
        Verdict::Refused(_) => "refused",
        Verdict::Malformed(_) | Verdict::HeaderTooLong => "malformed",
        Verdict::TooMany { .. } => "too_many",
        Verdict::Unavailable(_) => "unavailable",
    }
}

/// What is answered where nobody knows who the client is.
pub(super) fn not_known(
    app: &App,
    door: &Door,
    (route, question): (Option<&Route>, &Question<'_>),
    why: &NotKnown,
) -> Checked {
    let verdict = match why {
        NotKnown::Malformed(why) => Verdict::Malformed(why),
        NotKnown::Invalid { scheme, .. } => Verdict::Unauthenticated {
            invalid: true,
            scheme: *scheme,
        },
        NotKnown::Unavailable => {
            Verdict::Unavailable("who you are cannot be told at the moment; try again")
        }
    };
    let mut checked = undecided(app, door.reply(route, Some(question), &verdict), &verdict);
    if let NotKnown::Invalid {
        clears_cookie: true,
        ..
    } = why
    {
        let headers = &mut checked.reply.headers;
        headers.append(SET_COOKIE, door.cookie.clear());
    }
    checked
}

/// Whether a token's scope lacks what is asked for. A token of which nothing is said is good for
/// whatever the policies allow its subject.
pub(super) fn out_of_scope(known: &Resolved, request: &AccessRequest) -> Option<OutOfScope> {
    let scope = known.scope.as_ref()?;
    let action = &request.action.name;
    (!is_in(scope, action)).then(|| OutOfScope {
        scheme: known.scheme,
        action: action.as_str().to_owned(),
    })
}

/// 403 with what the token would have to be good for (RFC 6750 §3.1).
pub(super) fn refuse_scope(
    app: &App,
    door: &Door,
    (route, question): (&Route, &Question<'_>),
    lacks: &OutOfScope,
) -> Checked {
    let verdict = Verdict::Refused("the token is not good for this; get one with its scope");
    let mut checked = refuse_at(app, door, route, question, &verdict);
    let scheme = match lacks.scheme {
        Scheme::Bearer => "Bearer",
        Scheme::Dpop => "DPoP",
    };
    let mut challenge = format!("{scheme} error=\"insufficient_scope\"");
    if token::claims::is_scope_word(&lacks.action) {
        challenge.push_str(&format!(", scope=\"{}\"", lacks.action));
    }
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        checked.reply.headers.insert(WWW_AUTHENTICATE, challenge);
    }
    checked
}

/// What is answered where a proof does not count, or that cannot be told: which is not the client's
/// fault, and nothing that another token would mend.
pub(super) const fn not_proven(why: Replayed, text: &str) -> Verdict<'_> {
    match why {
        Replayed::Before => Verdict::Unauthenticated {
            invalid: true,
            scheme: Scheme::Dpop,
        },
        Replayed::TooManyOfKey => Verdict::TooMany {
            retry_after_seconds: 1,
        },
        Replayed::Started | Replayed::TooMany => Verdict::Unavailable(text),
    }
}

/// What is answered to a question that was decided.
pub(super) fn answered(app: &App, at: &At<'_>, answered: Answered) -> Checked {
    let told = told(at, &answered);
    let decision = &answered.outcome.decision;
    let decided = Decided {
        decision_id: &answered.decision_id,
        reason_user: &decision.reason.user,
    };
    let scheme = at.known.map_or(Scheme::Bearer, |known| known.scheme);
    let is_by_cookie = matches!(
        at.known.and_then(|known| known.session.as_ref()),
        Some(Session::Handle(_))
    );
    let mut clears_cookie = false;
    let authorization = match answered.token() {
        Some(Ok(minted)) => Some(format!("{} {}", minted.token_type, minted.text)),
        Some(Err(why)) => {
            let why = format!("{} ({}): {}", why.error, at.route.place, why.why);
            app.gateway_complaints
                .note_why(Complaint::NoToken, at.now, Some(&why));
            None
        }
        None => None,
    };
    let verdict = match (decision.rung, decision.cause) {
        (Rung::Allow, _) => Verdict::Allow {
            known: Known {
                subject: Some(at.subject),
                claims: at.known.map(|known| &known.claims),
                decision_id: &answered.decision_id,
                risk_level: told.level,
                session: told.session.as_deref(),
            },
            authorization: authorization.as_deref(),
        },
        (rung @ (Rung::Challenge | Rung::Mfa), _) => Verdict::StepUp {
            decided,
            rung,
            acr_values: answered.acr_values().unwrap_or_default(),
            scheme,
        },
        // Nobody can do anything about these but come again.
        (Rung::Deny, Cause::SnapshotStale | Cause::SourceFailed) => {
            Verdict::Unavailable(&decision.reason.user)
        }
        (Rung::Deny, Cause::SessionEnded) if at.known.is_some() => {
            clears_cookie = is_by_cookie;
            Verdict::Unauthenticated {
                invalid: true,
                scheme,
            }
        }
        (Rung::Deny, _) => Verdict::Deny(decided),
    };
    app.metrics.door.gateway_answered(word(&verdict));
    let mut reply = at.door.reply(Some(at.route), Some(at.question), &verdict);
    if clears_cookie {
        reply.headers.append(SET_COOKIE, at.door.cookie.clear());
    } else if let Some(cookie) = cookie(at, &answered).filter(|_| is_by_cookie) {
        reply.headers.append(SET_COOKIE, cookie);
    }
    Checked {
        reply,
        told: Some(told),
    }
}

/// The cookie from now on, where the session has another handle: until the session ends.
fn cookie(at: &At<'_>, answered: &Answered) -> Option<HeaderValue> {
    let handle = answered.handle()?;
    let terms = answered
        .session()
        .and_then(|session| session.terms.as_ref());
    let left = terms.map(|terms| terms.expires_at.whole_seconds_since(at.now));
    let left = left.and_then(|left| u64::try_from(left).ok())?;
    at.door.cookie.set(handle.as_str(), left)
}

fn told(at: &At<'_>, answered: &Answered) -> Told {
    let decision = &answered.outcome.decision;
    let sees_risk = answered.sight().risk;
    let session = answered.session().map(|session| &session.id);
    Told {
        outcome: decision.rung,
        decision_id: answered.decision_id.clone(),
        score: sees_risk.then(|| decision.risk.score.points()),
        level: sees_risk.then(|| decision.risk.level.as_str()),
        policies: decision
            .policies
            .iter()
            .map(|policy| policy.id.to_string())
            .collect(),
        subject: at.subject.clone(),
        session: session.filter(|id| is_id(id)).cloned(),
    }
}
