//! What is remembered of subjects: their accounts, their credentials, their risk.

use domain::{EntityRef, Heard, RiskLevel, SecurityEventKind, Timestamp};
use ssf::event::{Change, RiskLevel as ToldRisk};
use store::sqlite::{HeardRow, Initiator, NewSecurityEvent, SessionsOf};

use super::{NotDone, Signal};
use crate::hearing::Hearing;
use crate::sessions::ending::{self, By};
use crate::telling::body::{AccountStatus, AccountStatusChange, Body, CredentialChange};

impl Signal<'_> {
    /// Remembers something of every subject that it is about, and passes on what is news here, in
    /// one with it. What two engines tell each other ends with the first that knows it.
    pub(super) async fn remember(
        &self,
        change: impl Fn(&mut Heard) -> bool,
        passed_on: Option<(SecurityEventKind, &Body)>,
    ) -> Result<(), NotDone> {
        let (app, transmitter) = (self.app, self.transmitter);
        let hearing: &Hearing = &app.hearing;
        for subject in &self.who.subjects {
            let mut heard = hearing.said_by(transmitter, subject);
            if !change(&mut heard) {
                continue;
            }
            if hearing.is_full_for(subject) {
                tracing::error!(%subject, "there is no room to remember what was heard of more subjects");
                continue;
            }
            let row = HeardRow {
                subject: subject.clone(),
                iss: transmitter.settings.issuer.clone(),
                heard: heard.clone(),
            };
            let event = passed_on.map(|(kind, body)| self.news(kind, subject, body));
            let store = app.state.store();
            store.put_heard(&row, event.as_ref()).await?;
            hearing.note(transmitter, subject, heard);
        }
        Ok(())
    }

    fn news(&self, kind: SecurityEventKind, subject: &EntityRef, body: &Body) -> NewSecurityEvent {
        NewSecurityEvent {
            at: self.at,
            kind,
            subject: Some(subject.clone()),
            session_id: None,
            device_id: None,
            initiator: Initiator::System,
            by: By::SYSTEM.name.to_owned(),
            why: self.why.clone(),
            body: body.to_text(),
            record: None,
        }
    }

    pub(super) async fn credential(&self, kind: &str, change: Change) -> Result<(), NotDone> {
        let at = self.at;
        let body = Body::CredentialChange(CredentialChange {
            credential_type: kind.to_owned(),
            change_type: change,
        });
        let is_news = |heard: &mut Heard| {
            let is_news = heard.credential_at < Some(at);
            heard.credential_at = heard.credential_at.max(Some(at));
            is_news
        };
        let passed_on = Some((SecurityEventKind::CredentialChange, &body));
        self.remember(is_news, passed_on).await?;
        let is_secret = matches!(kind, "password" | "pin");
        if is_secret && matches!(change, Change::Update | Change::Revoke | Change::Delete) {
            for subject in &self.who.subjects {
                self.end_families(subject).await?;
            }
        }
        self.look();
        Ok(())
    }

    pub(super) async fn account(
        &self,
        status: AccountStatus,
        reason: Option<String>,
    ) -> Result<(), NotDone> {
        let (at, disabled) = (self.at, status != AccountStatus::Enabled);
        let is_newer = |heard: &Heard| heard.disabled.is_none_or(|(_, known)| known <= at);
        let is_news = |heard: &mut Heard| {
            let is_news = is_newer(heard) && heard.disabled != Some((disabled, at));
            if is_news {
                heard.disabled = Some((disabled, at));
            }
            is_news
        };
        let body = Body::AccountStatusChange(AccountStatusChange { status, reason });
        let passed_on = Some((SecurityEventKind::AccountStatusChange, &body));
        self.remember(is_news, passed_on).await?;
        if disabled {
            for subject in &self.who.subjects {
                let said = self.app.hearing.said_by(self.transmitter, subject);
                // Enabled again since: only what is older than that is over.
                if said.disabled.is_some_and(|(disabled, _)| !disabled) {
                    self.end_sessions().await?;
                    continue;
                }
                let of = SessionsOf {
                    subject,
                    client_id: None,
                };
                ending::end_all(self.app, of, By::SYSTEM, &self.why).await?;
            }
        }
        self.look();
        Ok(())
    }

    pub(super) async fn risk(&self, principal: &str, level: ToldRisk) -> Result<(), NotDone> {
        let level = match level {
            ToldRisk::Low => RiskLevel::Low,
            ToldRisk::Medium => RiskLevel::Medium,
            ToldRisk::High => RiskLevel::High,
        };
        let at = self.at;
        // Of a session or a device it can make its user's risk higher, and never lower.
        let is_users = principal == "USER";
        let is_news = |heard: &mut Heard| {
            if !is_users {
                return raise(heard, level, at);
            }
            let is_news =
                heard.risk.is_none_or(|(_, known)| known <= at) && heard.risk != Some((level, at));
            if is_news {
                heard.risk = Some((level, at));
            }
            is_news
        };
        self.remember(is_news, None).await?;
        self.look();
        Ok(())
    }
}

/// Makes a risk higher, not lower. Whether it did.
pub(super) fn raise(heard: &mut Heard, level: RiskLevel, at: Timestamp) -> bool {
    let is_higher = heard.risk_at(at) < Some(level);
    if is_higher && level > RiskLevel::Low {
        heard.risk = Some((level, at));
        return true;
    }
    false
}
