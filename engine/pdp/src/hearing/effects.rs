//! What becomes of a signal. Each may be done twice: the second time finds it done.
//!
//! What happened, happened at a moment (`event_timestamp`, else `iat`), and nothing that began
//! later is touched: a signal that comes late ends no newer session.

mod assurance;
mod ending;
mod posture;
mod subjects;

use std::collections::BTreeSet;

use domain::{RiskLevel, SessionRecord, Timestamp};
use ssf::Event;
use ssf::event::{Common, Compliance};
use ssf::set::Received;
use store::journal::AppendError;
use store::sqlite::StoreError;

use super::Transmitter;
use super::who::{Who, resolve};
use crate::app::App;
use crate::monitor::Look;
use crate::revoking::{REASON_MAX, RevokeError};
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

/// Does what a token says.
///
/// # Errors
/// When something could not be made durable: all of it is done again.
pub(super) async fn of(app: &App, claims: &str) -> Result<(), NotDone> {
    let read = serde_json::from_str(claims)
        .ok()
        .and_then(|claims| Received::read(claims).ok());
    let Some(set) = read else {
        tracing::error!("a token that was taken cannot be read any more; it is passed over");
        return Ok(());
    };
    let Some(transmitter) = app.hearing.named(&set.iss) else {
        tracing::warn!(
            issuer = set.iss,
            jti = set.jti,
            "its issuer is not heard any more; what it said is passed over"
        );
        return Ok(());
    };
    let now = app.inputs.clock.now();
    let mut signal = Signal {
        app,
        transmitter,
        who: resolve(app, transmitter, &set.sub_id),
        at: Timestamp::MIN,
        why: String::new(),
        named: Vec::new(),
        now,
    };
    let (mut names, mut sessions) = (Vec::new(), BTreeSet::new());
    for event in &set.events {
        let common = event.common();
        signal.at = moment(&set, common, now);
        signal.why = why(&set.iss, common);
        if signal.who.is_beyond_us {
            app.metrics.heard(&set.iss, "not_understood");
            continue;
        }
        signal.named = signal.find().await?;
        sessions.extend(signal.named.iter().cloned());
        names.push(signal.hear(event).await?);
    }
    record(&signal, &set, &names, &sessions).await?;
    Ok(())
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

/// Puts what was heard on record: a session by the transmitter's name, and which ones of ours those
/// were.
async fn record(
    signal: &Signal<'_>,
    set: &Received,
    names: &[&str],
    sessions: &BTreeSet<String>,
) -> Result<(), AppendError> {
    let who = &signal.who;
    let subjects: Vec<_> = who
        .subjects
        .iter()
        .map(|subject| serde_json::json!({ "type": subject.kind.as_str(), "id": subject.id.as_str() }))
        .collect();
    let told = serde_json::json!({
        "v": wire::record::RECORD_VERSION,
        "kind": "heard",
        "at": wire::time::format(signal.now),
        "issuer": set.iss,
        "jti": set.jti,
        "txn": set.txn,
        "events": names,
        "unknown": set.unknown,
        "subjects": subjects,
        "session": who.session,
        "sessions": sessions,
        "device": who.device,
        "caller": "engine",
    });
    signal
        .app
        .journal
        .append(told.to_string().into_bytes())
        .await
}

/// One event, and what has come of it so far.
struct Signal<'a> {
    app: &'a App,
    transmitter: &'a Transmitter,
    who: Who,
    /// When it happened.
    at: Timestamp,
    why: String,
    /// Those of our sessions that a session that is named stands for.
    named: Vec<String>,
    now: Timestamp,
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
                // All of them, whichever is named; what else the token says is about that one.
                let named = self.who.session.take();
                let done = self.end_sessions().await;
                self.who.session = named;
                done?;
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
                self.remember(|heard| raise(heard, RiskLevel::High, at), None)
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

    /// The ids of our sessions that the session that is named stands for.
    async fn find(&self) -> Result<Vec<String>, NotDone> {
        if self.who.session.is_none() {
            return Ok(Vec::new());
        }
        let (sessions, _) = self.sessions().await?;
        Ok(sessions.into_iter().map(|session| session.id).collect())
    }

    /// Has the monitor look at whom it is about.
    fn look(&self) {
        for subject in &self.who.subjects {
            self.app
                .monitor
                .look_at(Look::Subject(subject.clone()), CAUSE);
        }
        for session in &self.named {
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

    /// Whether a session is of a subject that is named, or that the transmitter may speak of where
    /// none is; and began before it happened.
    fn is_meant(&self, session: &SessionRecord) -> bool {
        let is_theirs = if self.who.names_user {
            self.who.subjects.contains(&session.subject)
        } else {
            self.transmitter.settings.speaks_of(&session.subject)
        };
        is_theirs && session.birth.at <= self.until()
    }

    /// The sessions that it is about, and whether a session is named. One that is none of ours and
    /// that none of ours came of is unknown here: then it is about nothing. Were it about each of
    /// its user's, one sign-out would end them all, everywhere.
    async fn sessions(&self) -> Result<(Vec<SessionRecord>, bool), NotDone> {
        let (app, who) = (self.app, &self.who);
        // Callers' own, and on which device one was last seen, may be in memory alone.
        app.state.flush(self.now).await?;
        let store = app.state.store();
        let mut found = Vec::new();
        if let Some(id) = &who.session {
            let ours = store.session(id).await?;
            if let Some(session) = ours
                && (who.names_user || self.is_of_its_issuers(id).await?)
            {
                found.push(session);
            }
            for issuer in self.transmitter.settings.issuers() {
                found.extend(store.sessions_from_upstream(issuer, id).await?);
            }
            found.retain(|session| self.is_meant(session));
            return Ok((found, true));
        }
        for subject in &who.subjects {
            found.extend(store.open_sessions_of(subject).await?);
        }
        if !who.names_user
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
        found.retain(|session| self.is_meant(session) && on_device(session));
        Ok((found, false))
    }

    /// Whether a session of ours, where an issuer vouched for it, is of one that the transmitter
    /// may speak for.
    async fn is_of_its_issuers(&self, id: &str) -> Result<bool, StoreError> {
        let upstream = self.app.state.store().session_upstream(id).await?;
        let mut issuers = self.transmitter.settings.issuers();
        Ok(upstream.is_none_or(|upstream| issuers.any(|issuer| issuer == upstream)))
    }
}
