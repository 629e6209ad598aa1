//! What becomes of a signal. Each may be done twice: the second time finds it done.
//!
//! What happened, happened at a moment (`event_timestamp`, else `iat`), and nothing that began
//! later is touched: a signal that comes late ends no newer session.

mod assurance;
mod posture;
mod subjects;

use domain::{EntityRef, RiskLevel, SessionRecord, Timestamp};
use ssf::Event;
use ssf::event::{Common, Compliance};
use ssf::set::Received;
use store::journal::AppendError;
use store::sqlite::{NewSecurityEvent, StoreError};
use token::revocation::Entry;

use super::Transmitter;
use super::who::{Who, resolve};
use crate::app::App;
use crate::monitor::Look;
use crate::revoking::{self, REASON_MAX, RevokeError};
use crate::sessions::ending::{self, By};
use crate::telling::body::AccountStatus;
use subjects::raise;

/// The word that the monitor's records have for it.
const CAUSE: &str = "shared signal";

/// Why something is not done yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotDone {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Revoke(#[from] RevokeError),
    #[error("it is not on record: {0}")]
    Record(#[from] AppendError),
}

/// Does what a token says. What is to be passed on to those whom we tell.
///
/// # Errors
/// When something could not be made durable: all of it is done again.
pub(super) async fn of(app: &App, claims: &str) -> Result<Vec<NewSecurityEvent>, NotDone> {
    let read = serde_json::from_str(claims)
        .ok()
        .and_then(|claims| Received::read(claims).ok());
    let Some(set) = read else {
        tracing::error!("a token that was taken cannot be read any more; it is passed over");
        return Ok(Vec::new());
    };
    let Some(transmitter) = app.hearing.named(&set.iss) else {
        tracing::warn!(
            issuer = set.iss,
            jti = set.jti,
            "its issuer is not heard any more; what it said is passed over"
        );
        return Ok(Vec::new());
    };
    let now = app.inputs.clock.now();
    let mut signal = Signal {
        app,
        transmitter,
        who: resolve(app, transmitter, &set.sub_id),
        at: Timestamp::MIN,
        why: String::new(),
        now,
        passed_on: Vec::new(),
    };
    let mut names = Vec::new();
    for event in &set.events {
        let common = event.common();
        signal.at = moment(&set, common, now);
        signal.why = why(&set.iss, common);
        names.push(signal.hear(event).await?);
    }
    record(app, &set, &names, &signal.who, now).await?;
    Ok(signal.passed_on)
}

/// When it happened. Not later than now.
fn moment(set: &Received, common: Option<&Common>, now: Timestamp) -> Timestamp {
    let seconds = common
        .and_then(|common| common.event_timestamp)
        .unwrap_or(set.iat);
    Timestamp::from_seconds(seconds.clamp(0, Timestamp::MAX.seconds())).min(now)
}

/// Why something is done, for people and records.
fn why(iss: &str, common: Option<&Common>) -> String {
    let reasons = common.map(|common| &common.reason_admin);
    let reason = reasons.and_then(|all| all.get("en").or_else(|| all.values().next()));
    let mut why = format!("heard from {iss}");
    if let Some(reason) = reason {
        why.push_str(": ");
        why.push_str(reason);
    }
    let end = (0..=REASON_MAX.min(why.len()))
        .rev()
        .find(|end| why.is_char_boundary(*end));
    why.truncate(end.unwrap_or_default());
    why
}

/// Puts what was heard on record.
async fn record(
    app: &App,
    set: &Received,
    names: &[&str],
    who: &Who,
    now: Timestamp,
) -> Result<(), AppendError> {
    let subjects: Vec<_> = who
        .subjects
        .iter()
        .map(|subject| serde_json::json!({ "type": subject.kind.as_str(), "id": subject.id.as_str() }))
        .collect();
    let told = serde_json::json!({
        "v": wire::record::RECORD_VERSION,
        "kind": "heard",
        "at": wire::time::format(now),
        "issuer": set.iss,
        "jti": set.jti,
        "txn": set.txn,
        "events": names,
        "unknown": set.unknown,
        "subjects": subjects,
        "session": who.session,
        "device": who.device,
        "caller": "engine",
    });
    app.journal.append(told.to_string().into_bytes()).await
}

/// One event, and what has come of it so far.
struct Signal<'a> {
    app: &'a App,
    transmitter: &'a Transmitter,
    who: Who,
    /// When it happened.
    at: Timestamp,
    why: String,
    now: Timestamp,
    passed_on: Vec<NewSecurityEvent>,
}

impl Signal<'_> {
    /// Does what one event asks for; its name, for the record.
    async fn hear(&mut self, event: &Event) -> Result<&'static str, NotDone> {
        Ok(match event {
            Event::SessionRevoked(_) => {
                self.end_sessions().await?;
                "session-revoked"
            }
            Event::SessionsRevoked(_) => {
                self.who.session = None;
                self.end_sessions().await?;
                "sessions-revoked"
            }
            Event::CredentialChange {
                credential_type,
                change_type,
                ..
            } => {
                self.credential(credential_type, *change_type).await?;
                "credential-change"
            }
            Event::DeviceComplianceChange { current_status, .. } => {
                self.posture(*current_status == Compliance::Compliant)
                    .await?;
                "device-compliance-change"
            }
            Event::AssuranceLevelChange {
                namespace,
                current_level,
                ..
            } => {
                self.assurance(namespace, current_level).await?;
                "assurance-level-change"
            }
            Event::RiskLevelChange {
                principal,
                current_level,
                ..
            } => {
                self.risk(principal, *current_level).await?;
                "risk-level-change"
            }
            Event::AccountDisabled { reason, .. } => {
                self.account(AccountStatus::Disabled, reason.clone())
                    .await?;
                "account-disabled"
            }
            Event::AccountPurged(_) => {
                self.account(AccountStatus::Purged, None).await?;
                "account-purged"
            }
            Event::AccountEnabled(_) => {
                self.account(AccountStatus::Enabled, None).await?;
                "account-enabled"
            }
            Event::CredentialCompromise { .. } => {
                self.end_sessions().await?;
                let at = self.at;
                self.remember(|heard| raise(heard, RiskLevel::High, at))
                    .await?;
                self.look();
                "credential-compromise"
            }
            Event::AccountCredentialChangeRequired(_) => {
                self.look();
                "account-credential-change-required"
            }
            Event::TokenClaimsChange { .. } => {
                self.look();
                "token-claims-change"
            }
            Event::SessionEstablished { .. } => "session-established",
            Event::SessionPresented(_) => "session-presented",
            Event::Verification { .. } => "verification",
            Event::StreamUpdated { status, reason } => {
                tracing::warn!(
                    issuer = self.transmitter.settings.issuer,
                    status,
                    reason,
                    "a transmitter changed its stream"
                );
                "stream-updated"
            }
        })
    }

    /// Has the monitor look at whom it is about.
    fn look(&self) {
        for subject in &self.who.subjects {
            self.app
                .monitor
                .look_at(Look::Subject(subject.clone()), CAUSE);
        }
        if let Some(session) = &self.who.session {
            self.app
                .monitor
                .look_at(Look::Session(session.clone()), CAUSE);
        }
    }

    /// The last millisecond of the second in which it happened: signals have whole seconds, and
    /// what began within the same one is not newer.
    fn until(&self) -> Timestamp {
        Timestamp::from_millis(self.at.millis().saturating_add(999))
    }

    /// The sessions that it is about, and whether exactly one is named. A session that the
    /// transmitter names and that is none of ours is unknown here: then it is about each of its
    /// user's that may have come of it (SSF 1.0: what one side does not say matches).
    async fn sessions(&self) -> Result<(Vec<SessionRecord>, bool), NotDone> {
        let (app, who) = (self.app, &self.who);
        // Callers' own, and on which device one was last seen, may be in memory alone.
        app.state.flush(self.now).await?;
        let store = app.state.store();
        let begun = |session: &SessionRecord| session.birth.at <= self.until();
        if let Some(id) = &who.session
            && let Some(session) = store.session(id).await?
        {
            let is_theirs = !who.names_user || who.subjects.contains(&session.subject);
            let found = Some(session).filter(|session| is_theirs && begun(session));
            return Ok((found.into_iter().collect(), true));
        }
        let mut found = Vec::new();
        for subject in &who.subjects {
            found.extend(store.open_sessions_of(subject).await?);
        }
        if !who.names_user
            && who.session.is_none()
            && let Some(device) = &who.device
        {
            for id in store.unended_sessions_on(device).await? {
                found.extend(store.session(&id).await?);
            }
        }
        let on_device = |session: &SessionRecord| {
            let sight = session
                .sight
                .as_ref()
                .and_then(|sight| sight.device.as_ref());
            let seen = sight.and_then(|device| device.id.as_ref());
            let seen = seen.or(session.birth.device_id.as_ref());
            who.device.is_none() || seen.is_none() || seen == who.device.as_ref()
        };
        found.retain(|session| begun(session) && on_device(session));
        Ok((found, false))
    }

    async fn end_sessions(&self) -> Result<(), NotDone> {
        let (sessions, _) = self.sessions().await?;
        for session in &sessions {
            ending::end(self.app, &session.id, By::SYSTEM, &self.why).await?;
        }
        // All that the subject was given, where nothing narrows it.
        if self.who.session.is_none() && self.who.device.is_none() {
            for subject in &self.who.subjects {
                let everything = Entry::SubjectNotBefore {
                    subject: written(subject),
                    before: self.until(),
                };
                revoking::revoke(self.app, By::SYSTEM.name, everything, Some(&self.why)).await?;
                self.end_families(subject).await?;
            }
        }
        Ok(())
    }

    /// Revokes the refresh tokens that a subject was given before it happened (T21).
    async fn end_families(&self, subject: &EntityRef) -> Result<(), NotDone> {
        let ending = ending::now(self.app, self.now, By::SYSTEM, &self.why);
        let before = Timestamp::from_millis(self.until().millis().saturating_add(1));
        let store = self.app.state.store();
        store
            .revoke_families_before(subject, before, &ending)
            .await?;
        self.app.take_up_revocations().await;
        Ok(())
    }
}

fn written(subject: &EntityRef) -> String {
    token::claims::subject(subject.kind.as_str(), subject.id.as_str())
}
