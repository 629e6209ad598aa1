//! Carrying out what was planned for a session: durable, told and on record.

use domain::{SecurityEventKind, SessionRecord, SessionTerms, Timestamp};
use serde::Serialize;
use serde_json::json;
use store::sqlite::{NewSecurityEvent, StoreError};

use super::plan::{Plan, Why, told_level};
use crate::app::App;
use crate::sessions::ending::{self, By};
use crate::sessions::{Change, relax, tells, tighten};
use crate::telling::body::{Alert, RiskLevelChange, Severity};

/// Records that are put in the journal together.
const RECORDS: u32 = 256;
/// What is told when a proof is wanted.
const REAUTHENTICATION: &str = "re-authentication required";

/// What is told of an act besides.
#[derive(Clone, Debug, Default)]
pub(super) struct Grounds {
    /// What had it looked at.
    pub(super) cause: &'static str,
    /// The score that was found.
    pub(super) score: Option<u8>,
    /// What it rests on, in sentences.
    pub(super) factors: Vec<String>,
    /// The policies that had a say.
    pub(super) policies: Vec<String>,
    /// The access that was decided, if it was one.
    pub(super) decision_id: Option<String>,
    /// What the policies are called.
    pub(super) policy_revision: String,
    /// The model that scored.
    pub(super) model: String,
}

/// Carries a plan out. Durable when this returns, and on record, if the journal takes it.
///
/// # Errors
/// When it could not be made durable: nothing is changed then, and it is to be tried again.
pub(super) async fn carry_out(
    app: &App,
    session: &SessionRecord,
    terms: &SessionTerms,
    plan: &Plan,
    grounds: &Grounds,
) -> Result<(), StoreError> {
    let now = app.inputs.clock.now();
    match *plan {
        Plan::Nothing => {}
        Plan::Note(ref change) => {
            tighten(app, &session.id, change, &[]).await?;
        }
        Plan::End(why) => {
            let by = by(why);
            let done = "session ended";
            let told: Vec<_> = alert(session, why, grounds, done, now)
                .into_iter()
                .collect();
            let told = recorded(told, record(session, terms, None, why, done, grounds, now));
            let reason = why.reason();
            if ending::end_telling(app, &session.id, by, &reason, &told).await? {
                app.metrics.monitor.acted("ended");
                app.telling.wake();
            }
        }
        Plan::Relax(tier, score) => {
            let body = RiskLevelChange {
                previous_level: Some(told_level(terms.tier)),
                current_level: told_level(tier),
                score: Some(score),
            };
            let (kind, why) = (SecurityEventKind::RiskLevelChange, Why::Tier);
            let change = Change {
                tier: Some(tier),
                ..Change::default()
            };
            let told = recorded(
                vec![event(session, kind, why, now, &body)],
                record(session, terms, Some(&change), why, "relaxed", grounds, now),
            );
            if relax(app, &session.id, (tier, score), &told).await? {
                app.metrics.monitor.acted("relaxed");
                app.telling.wake();
            }
        }
        Plan::Tighten(ref change, why) => {
            let mut told = Vec::new();
            if let Some(tier) = change.tier {
                let body = RiskLevelChange {
                    previous_level: Some(told_level(terms.tier)),
                    current_level: told_level(tier),
                    score: change.score,
                };
                let kind = SecurityEventKind::RiskLevelChange;
                told.push(event(session, kind, why, now, &body));
            }
            let done = if change.wanted.is_some() {
                told.extend(alert(session, why, grounds, REAUTHENTICATION, now));
                REAUTHENTICATION
            } else {
                "tightened"
            };
            let told = recorded(
                told,
                record(session, terms, Some(change), why, done, grounds, now),
            );
            if tighten(app, &session.id, change, &told).await?.is_some() {
                app.metrics.monitor.acted(match change.wanted {
                    Some(_) => "reauthentication",
                    None => "tightened",
                });
                app.telling.wake();
            }
        }
    }
    Ok(())
}

const fn by(why: Why) -> By<'static> {
    match why {
        Why::Fault(_) => By::SYSTEM,
        Why::Threshold | Why::Unusual | Why::Policy | Why::Tier => By::POLICY,
    }
}

fn event(
    session: &SessionRecord,
    kind: SecurityEventKind,
    why: Why,
    now: Timestamp,
    body: &impl Serialize,
) -> NewSecurityEvent {
    let body = serde_json::to_value(body).ok();
    tells::event(session, kind, by(why), &why.reason(), now, body.as_ref())
}

fn alert(
    session: &SessionRecord,
    why: Why,
    grounds: &Grounds,
    done: &str,
    now: Timestamp,
) -> Option<NewSecurityEvent> {
    let severity = match why {
        Why::Fault(_) | Why::Threshold => Severity::High,
        Why::Policy if done == REAUTHENTICATION => Severity::Low,
        Why::Unusual | Why::Policy | Why::Tier => Severity::Medium,
    };
    let body = Alert {
        alert: why.alert()?.to_owned(),
        severity,
        decision_id: grounds.decision_id.clone(),
        score: grounds.score,
        factors: grounds.factors.clone(),
        done: done.to_owned(),
        policies: grounds.policies.clone(),
    };
    Some(event(session, SecurityEventKind::Alert, why, now, &body))
}

/// With what is on record of the act, which becomes durable with it.
fn recorded(mut told: Vec<NewSecurityEvent>, record: String) -> Vec<NewSecurityEvent> {
    if let Some(first) = told.first_mut() {
        first.record = Some(record);
    }
    told
}

/// Puts in the journal what was done. It was made durable with the act, so that neither a crash nor
/// a journal that fails loses it: the next call goes on. After a crash a record may come to be there
/// twice.
pub(super) async fn put_on_record(app: &App) {
    if let Err(error) = try_put_on_record(app).await {
        tracing::error!(%error, "what the monitor did is not on record yet; trying again");
    }
}

async fn try_put_on_record(app: &App) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let _alone = app.monitor.recording.lock().await;
    loop {
        let records = app.state.store().act_records(RECORDS).await?;
        let Some((last, _)) = records.last() else {
            return Ok(());
        };
        let last = *last;
        let appended = records
            .into_iter()
            .map(|(_, record)| app.journal.append(record.into_bytes()));
        futures_util::future::try_join_all(appended).await?;
        app.state.store().forget_act_records(last).await?;
    }
}

/// A line of the journal for what is done.
fn record(
    session: &SessionRecord,
    terms: &SessionTerms,
    change: Option<&Change>,
    why: Why,
    done: &str,
    grounds: &Grounds,
    now: Timestamp,
) -> String {
    let tier = change.and_then(|change| change.tier).unwrap_or(terms.tier);
    let wanted = change.and_then(|change| change.wanted);
    json!({
        "v": wire::record::RECORD_VERSION,
        "kind": "monitor",
        "at": wire::time::format(now),
        "session": session.id,
        "subject": {
            "type": session.subject.kind.as_str(), "id": session.subject.id.as_str(),
        },
        "cause": grounds.cause,
        "granted_score": terms.granted_score,
        "before": { "score": terms.score, "tier": terms.tier.as_str() },
        "after": {
            "score": grounds.score.or(terms.score),
            "tier": tier.as_str(),
            "wanted_level": wanted.map(|wanted| wanted.level.number()),
        },
        "done": done,
        "why": why.reason(),
        "factors": grounds.factors,
        "policies": grounds.policies,
        "decision_id": grounds.decision_id,
        "policy_revision": grounds.policy_revision,
        "model": grounds.model,
        "caller": "engine",
    })
    .to_string()
}
