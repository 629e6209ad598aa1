//! Each access is a look at its session: the score of the access counts as the session's.

use std::sync::Arc;

use domain::{Cause, Rung, SessionRecord};

use super::act::{Grounds, carry_out, put_on_record};
use super::check::{grounds, points_of};
use super::lock;
use super::plan::{Found, Plan, plan};
use super::rules::judge;
use crate::app::App;
use crate::engine::Outcome;
use crate::sessions::Change;

/// Judges a live session by an access that was decided in it, and does what follows: durable when
/// this returns, so that nothing is answered that the next access would not meet.
pub(crate) async fn after_access(
    app: &App,
    session: &SessionRecord,
    outcome: &Outcome,
    decision_id: &str,
) {
    let Some(terms) = &session.terms else { return };
    let decision = &outcome.decision;
    let undefined = [Cause::ScoreUndefined, Cause::HandleSuperseded];
    // Who comes with an old handle is not who holds the session, and must not end it.
    if session.ended || undefined.contains(&decision.cause) {
        return;
    }
    let snapshot = Arc::clone(&app.live.current());
    let levels = snapshot.settings.levels;
    let score = decision.risk.score;
    let granted = terms.granted_score.and_then(points_of);
    let found = Found {
        fault: None,
        score: Some(score),
        verdict: judge(granted, score, levels, app.settings.monitor.rise),
        // The access itself was answered; whether the session goes on is another question.
        rung: None,
        is_well: decision.rung == Rung::Allow && outcome.evidence.facts.unavailable.is_empty(),
    };
    let plan = match plan(session, terms, &found, levels, app.inputs.clock.now()) {
        Plan::Nothing => Plan::Note(Change {
            score: Some(score.points()),
            ..Change::default()
        }),
        plan => plan,
    };
    let grounds = if plan.is_act() {
        Grounds {
            cause: "access",
            decision_id: Some(decision_id.to_owned()),
            policy_revision: snapshot.revisions.policies.to_string(),
            ..grounds(decision)
        }
    } else {
        Grounds::default()
    };
    if let Err(error) = carry_out(app, session, terms, &plan, &grounds).await {
        tracing::error!(
            %error, session = %session.id,
            "what an access says of its session could not be made durable; trying again",
        );
        lock(&app.monitor.unfinished).add(&session.id, plan, grounds);
    } else if plan.is_act() {
        put_on_record(app).await;
    }
}
