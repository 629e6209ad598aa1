//! What is heard of how much was proven in sessions.

use domain::{Assurance, Level, SessionRecord};

use super::{NotDone, Signal};
use crate::app::App;
use crate::sessions::ending::By;
use crate::sessions::{lift, tells};
use crate::telling::words::ASSURANCE;

impl Signal<'_> {
    pub(super) async fn assurance(&self, namespace: &str, word: &str) -> Result<(), NotDone> {
        let Some(level) = level_of(self.app, namespace, word) else {
            tracing::info!(
                namespace,
                level = word,
                "an assurance level is not known here; `sessions.acr_levels` says what it is"
            );
            return Ok(());
        };
        let (sessions, is_exact) = self.sessions().await?;
        // Only of that very session, or a thief's would rise with its owner's; and as a fact that is
        // told: whoever has the handle may have planted it, and has nobody's step-up.
        let may_lift = is_exact && self.transmitter.settings.may_lift;
        let store = self.app.state.store();
        for session in sessions {
            // Told of late: what was said of a later moment stands.
            let heard_at = store.assurance_heard_at(&session.id).await?;
            if heard_at.is_some_and(|heard_at| heard_at > self.at) {
                continue;
            }
            // First: done again after a crash it changes the same.
            store.note_assurance_heard(&session.id, self.at).await?;
            if level > session.assurance.level && may_lift {
                let passed = Assurance::of(level, Some(self.at));
                lift(
                    self.app,
                    &session.id,
                    &session.subject,
                    passed,
                    None,
                    By::SYSTEM,
                    &self.why,
                )
                .await?;
            } else {
                self.lower(&session, level).await?;
            }
        }
        self.look();
        Ok(())
    }

    /// Lowers what was proven in a session before it happened, and tells of it: others hold their
    /// own against it.
    async fn lower(&self, session: &SessionRecord, level: Level) -> Result<(), NotDone> {
        let (now, until) = (self.now, self.until());
        let change = |known: &mut SessionRecord| {
            let held = known.assurance;
            let is_later = held.at.is_some_and(|proven| proven > until);
            // A caller's own word may be another session by now.
            let is_it = !known.is_over(now) && known.subject == session.subject;
            if !is_it || is_later || level >= held.level {
                return false;
            }
            known.assurance = Assurance::of(level, held.at);
            true
        };
        // Of callers' own sessions nobody else knows.
        let tells = tells::assurance(session, level, By::SYSTEM, &self.why, self.at)
            .filter(|_| session.terms.is_some());
        self.app
            .state
            .change_any_session_durably(&session.id, tells.as_slice(), change)
            .await?;
        Ok(())
    }
}

/// What a level of assurance is here. Ours are told as numbers; those of others by the settings,
/// and NIST's (SP 800-63) by what they take: from AAL2 on two factors.
fn level_of(app: &App, namespace: &str, word: &str) -> Option<Level> {
    if namespace == ASSURANCE {
        return Level::from_number(word.parse().ok()?);
    }
    let known = app.settings.sessions.acr_levels.get(word).copied();
    known.or_else(|| match word.to_ascii_lowercase().as_str() {
        "nist-aal1" => Some(Level::SingleFactor),
        "nist-aal2" | "nist-aal3" => Some(Level::Mfa),
        _ => None,
    })
}
