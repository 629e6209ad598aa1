//! What ends by what is heard: sessions, tokens, families of refresh tokens.

use domain::{EntityRef, Timestamp};
use token::revocation::Entry;

use super::{NotDone, Signal};
use crate::hearing::SubjectNames;
use crate::issuers::{ANYBODY, session_name};
use crate::revoking::{self, RevokeError};
use crate::sessions::ending::{self, By};

impl Signal<'_> {
    pub(super) async fn end_sessions(&self) -> Result<(), NotDone> {
        // First: a session that is being opened with one of them finds it revoked.
        self.revoke_tokens_of_named().await?;
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

    /// Revokes what issuers gave in a session of theirs that is named: what has not opened a session
    /// here by now opens none.
    async fn revoke_tokens_of_named(&self) -> Result<(), NotDone> {
        let (app, settings) = (self.app, &self.transmitter.settings);
        let Some(sid) = &self.who.session else {
            return Ok(());
        };
        let of: Vec<String> = if self.who.names_user {
            self.who.subjects.iter().map(written).collect()
        } else {
            vec![match &settings.names {
                SubjectNames::Of(kind) => kind.as_str().to_owned(),
                SubjectNames::Typed => ANYBODY.to_owned(),
            }]
        };
        for issuer in settings.issuers().filter(|name| app.issuers.believes(name)) {
            for of in &of {
                let tokens = Entry::Jti(session_name(issuer, sid, of));
                match revoking::revoke(app, By::SYSTEM.name, tokens, Some(&self.why)).await {
                    // Said there. What the token says is done all the same.
                    Ok(_) | Err(RevokeError::Full | RevokeError::Share) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Revokes the refresh tokens that a subject was given before it happened (T21).
    pub(super) async fn end_families(&self, subject: &EntityRef) -> Result<(), NotDone> {
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
