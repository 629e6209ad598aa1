//! Looking at live sessions: many at once, because scoring them together costs less for each.

use std::collections::HashSet;
use std::sync::Arc;

use domain::{Cause, Decision, RiskScore, Rung, SessionRecord, SessionTerms, Timestamp};
use policy::Question;
use risk::behaviour::{Recommendation, WINDOW_SECONDS};
use risk::extract::CONTINUE;

use super::act::{Grounds, carry_out, put_on_record};
use super::plan::{Found, Plan, plan};
use super::question::{Asked, LookedUp, ask, device_id};
use super::rules::{Verdict, judge};
use super::{Monitor, health, lock};
use crate::app::App;
use crate::engine::{self, Snapshot};

/// Sentences of a score that are told at most.
const FACTORS_TOLD: usize = 5;

/// A session, and what is to be done with it.
type Planned<'a> = (&'a SessionRecord, &'a SessionTerms, Plan, Grounds);

/// Looks at these sessions, and does what follows. Those that are over are passed over (M3).
/// Returns how many were looked at.
pub(super) async fn check(
    app: &App,
    sessions: &[Arc<SessionRecord>],
    cause: &'static str,
) -> usize {
    let now = app.inputs.clock.now();
    let live: Vec<&Arc<SessionRecord>> = sessions
        .iter()
        .filter(|session| session.terms.is_some() && !session.is_over(now))
        .collect();
    let snapshot = Arc::clone(&app.live.current());
    let subjects: HashSet<_> = live.iter().map(|session| session.subject.clone()).collect();
    let devices: HashSet<_> = live
        .iter()
        .filter_map(|session| device_id(session))
        .collect();
    let (profiles, devices) = tokio::join!(
        app.state
            .profiles_among(subjects.into_iter().collect(), now),
        app.state.devices_among(devices.into_iter().collect(), now),
    );
    let looked_up = LookedUp { profiles, devices };
    let looked = live.len();
    let planned = look(app, &snapshot, &live, &looked_up, cause, now);
    drop(looked_up);
    let mut has_acted = false;
    for (session, terms, plan, grounds) in planned {
        has_acted |= plan.is_act();
        if let Err(error) = carry_out(app, session, terms, &plan, &grounds).await {
            tracing::error!(
                %error, session = %session.id,
                "what the monitor found could not be made durable; trying again",
            );
            lock(&app.monitor.unfinished).add(&session.id, plan, grounds);
            app.monitor.touched(&session.id);
        }
    }
    if has_acted {
        put_on_record(app).await;
    }
    app.metrics.monitor.checked(looked);
    looked
}

/// The part without waiting: from what is known to what is to be done.
fn look<'a>(
    app: &App,
    snapshot: &Snapshot,
    sessions: &[&'a Arc<SessionRecord>],
    looked_up: &LookedUp,
    cause: &'static str,
    now: Timestamp,
) -> Vec<Planned<'a>> {
    let mut asked: Vec<Asked<'a>> = sessions
        .iter()
        .filter_map(|session| ask(app, snapshot, session, looked_up, now))
        .collect();
    let points = snapshot
        .model
        .points_of_each(asked.iter().map(|asked| &asked.evidence.features));
    let is_current = snapshot.deny_from.is_none_or(|from| now < from);
    let looking = Looking {
        monitor: &app.monitor,
        snapshot,
        rise: app.settings.monitor.rise,
        knows_action: snapshot.policies.knows_action(CONTINUE) && is_current,
        may_permit: app.monitor.may_permit(snapshot),
        is_current,
        cause,
        now,
    };
    let mut planned = Vec::new();
    for (asked, points) in asked.iter_mut().zip(points) {
        let fault = health::fault(app, snapshot, asked.session, &asked.device, now);
        let found = looking.one(asked, points, fault);
        planned.extend(found.filter(|(_, _, plan, _)| *plan != Plan::Nothing));
    }
    planned
}

struct Looking<'a> {
    monitor: &'a Monitor,
    snapshot: &'a Snapshot,
    rise: u8,
    /// Whether policies can be asked at all whether a session goes on.
    knows_action: bool,
    /// Whether any of them could say yes. Where none could, that nothing permits says nothing.
    may_permit: bool,
    /// Whether policies and model are not too old to trust.
    is_current: bool,
    cause: &'static str,
    now: Timestamp,
}

impl Looking<'_> {
    fn one<'a>(
        &self,
        asked: &mut Asked<'a>,
        points: Option<u8>,
        fault: Option<&'static str>,
    ) -> Option<Planned<'a>> {
        let session: &'a SessionRecord = asked.session;
        let terms = session.terms.as_ref()?;
        let settings = &self.snapshot.settings;
        let levels = settings.levels;
        let quick = points.and_then(|points| {
            risk::score::score_of(&asked.request, &asked.evidence, points, settings)
        });
        let verdict = |score: Option<RiskScore>| {
            let granted = terms.granted_score.and_then(points_of);
            score.map_or(Verdict::GoesOn, |score| {
                judge(granted, score, levels, self.rise)
            })
        };
        let by_score = verdict(quick.as_ref().map(|(score, _)| *score));
        let mut found = Found {
            fault,
            score: quick.as_ref().map(|(score, _)| *score),
            verdict: by_score.max(by_behaviour(asked, by_score, self.now)),
            rung: None,
            is_well: self.is_current
                && !asked.signals.given_up
                && asked.evidence.facts.unavailable.is_empty(),
        };
        // Where what the policies see is what they saw when they let it go on, they would again.
        let asks = self.knows_action && !asked.signals.given_up && quick.is_some();
        let mut glance = None;
        if let (true, Some((_, facts))) = (asks, quick) {
            asked.evidence.facts.risk = facts;
            glance = self.glance(asked);
            let same = glance.is_some_and(|glance| self.monitor.allowed.is(session, glance));
            found.rung = same.then_some(Rung::Allow);
        }
        let is_quiet = found.rung.is_some() || !asks;
        let planned = plan(session, terms, &found, levels, self.now);
        if is_quiet && matches!(planned, Plan::Nothing | Plan::Note(_)) {
            return Some((session, terms, planned, Grounds::default()));
        }
        // Something may be done: with the reasons, and the policies asked.
        let decision = engine::judge(
            &asked.request,
            &mut asked.evidence,
            None,
            &self.snapshot.model,
            self.snapshot.basis(),
            self.now,
        );
        if asks {
            found.rung = rung_of(&decision, self.may_permit);
            // An answer that was not reached makes nothing better.
            found.is_well &= found.rung == Some(Rung::Allow);
            if found.rung == Some(Rung::Allow)
                && let Some(glance) = glance
            {
                self.monitor.allowed.note(session, glance);
            }
        }
        let planned = plan(session, terms, &found, levels, self.now);
        let grounds = Grounds {
            cause: self.cause,
            policy_revision: self.snapshot.revisions.policies.to_string(),
            ..grounds(&decision)
        };
        Some((session, terms, planned, grounds))
    }

    fn glance(&self, asked: &mut Asked<'_>) -> Option<u64> {
        let snapshot = self.snapshot;
        asked.evidence.facts.time = engine::clock(&asked.request, snapshot.basis(), self.now);
        let subject = &asked.request.subject.entity;
        let question = Question {
            request: &asked.request,
            facts: &asked.evidence.facts,
            assurance: asked.evidence.assurance,
            now: self.now,
            interactive: snapshot.settings.is_interactive(subject.kind.as_str()),
        };
        self.monitor.allowed.glance(snapshot, &question)
    }
}

/// What is to become of a session by what is done in it (M5). A pattern by itself is a question,
/// and ends a session only where the score is up too; who has answered within the window of what is
/// looked at is not asked for the same again.
fn by_behaviour(asked: &Asked<'_>, by_score: Verdict, now: Timestamp) -> Verdict {
    let Some(behaviour) = &asked.signals.behaviour else {
        return Verdict::GoesOn;
    };
    let answered = asked.session.assurance.mfa_at;
    if answered.is_some_and(|at| now.whole_seconds_since(at) <= WINDOW_SECONDS) {
        return Verdict::GoesOn;
    }
    match behaviour.recommendation {
        Recommendation::None | Recommendation::Watch => Verdict::GoesOn,
        Recommendation::End if by_score > Verdict::GoesOn => Verdict::Ends,
        Recommendation::Reauthenticate | Recommendation::End => Verdict::Reauthenticates,
    }
}

/// What an answer says of a session. An answer that was not reached says nothing: only what is
/// known to be a no ends a session.
fn rung_of(decision: &Decision, may_permit: bool) -> Option<Rung> {
    match (decision.rung, decision.cause) {
        (Rung::Deny, Cause::Policies) => Some(Rung::Deny),
        (Rung::Deny, Cause::NothingPermits) if may_permit => Some(Rung::Deny),
        (Rung::Deny, _) => None,
        (rung, _) => Some(rung),
    }
}

/// What is told of a decision.
pub(super) fn grounds(decision: &Decision) -> Grounds {
    let risk = &decision.risk;
    Grounds {
        score: Some(risk.score.points()),
        factors: risk
            .factors
            .iter()
            .filter(|factor| factor.contribution > 0)
            .take(FACTORS_TOLD)
            .map(|factor| factor.reason.clone())
            .collect(),
        policies: decision
            .policies
            .iter()
            .map(|policy| policy.id.to_string())
            .collect(),
        model: risk.model.to_string(),
        ..Grounds::default()
    }
}

pub(super) fn points_of(points: u8) -> Option<RiskScore> {
    RiskScore::from_points(f64::from(points))
}
