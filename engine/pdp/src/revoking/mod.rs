//! Taking back what was issued, before its time (V10, J11).
//!
//! A revocation is durable in the store, then in effect in this process, then on record in the
//! journal, then answered: in this order, so that nobody sees a token refused that a crash could
//! bring back. What is in effect is the list in memory ([`token::revocation::Live`]), which is
//! restored from the store before anything is answered and takes up what other processes write.

mod meters;
mod passed;
mod shares;
mod take_up;
pub mod tokens;

#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use domain::Timestamp;
use store::Store;
use store::sqlite::{NewRevocation, RevocationRow, StoreError};
use token::revocation::{Entry, Kind, Lineage, Live, Lives, RevocationList as _, RevokedBy, Seed};
use tokio::sync::Mutex;

use crate::app::App;
use crate::inputs::Randomness;
use crate::issuers;
use crate::settings::Settings;

pub use meters::Meters;
use passed::{KEPT_SECONDS, Passed};
use shares::Shares;

/// Between two clocks, and until a request is answered that read its clock before a revocation:
/// what brings a policy set may take a minute.
const LEEWAY_SECONDS: i64 = 120;

/// The longest life of a session that the settings allow, whatever they say now: it may have begun
/// under others.
const SESSION_MAX_SECONDS: i64 = 30 * 86_400;

/// Longest name that is revoked, bytes, and longest reason.
pub const NAME_MAX: usize = 1024;
/// Longest reason, bytes.
pub const REASON_MAX: usize = 1024;

/// What to revoke, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// What. A moment that lies ahead means "everything up to now": [`Timestamp::MAX`] does.
    pub entry: Entry,
    /// A key's id, or `engine`.
    pub by: String,
    /// Whose it was, as `sub` says it, where that is known and the entry does not say so.
    pub subject: Option<String>,
    /// For people.
    pub reason: Option<String>,
    /// When the session or family ends by itself, if that is known.
    pub ends_at: Option<Timestamp>,
    /// It is one of many that a client makes of its own tokens: of these it may have a share.
    pub is_own: bool,
}

/// A revocation that is durable and in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// What, with the moment up to which it counts.
    pub entry: Entry,
    /// Until when it is kept.
    pub until: Timestamp,
    /// It was revoked before, and nothing has changed.
    pub already: bool,
}

/// Why nothing was revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// There is no room for another entry.
    #[error(
        "the list of revocations is full; revoke everything of a subject or client at once, or \
         raise `limits.revocations`"
    )]
    Full,
    /// Its maker has its share of them.
    #[error(
        "this key has revoked as many single tokens as one key may; end their sessions, let them \
         expire, or have the client revoked"
    )]
    Share,
    /// It could not be made durable. It may be in effect until the next start all the same.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// What was revoked, as this process knows it.
#[derive(Debug)]
pub struct Revocations {
    list: Live,
    lives: Lives,
    meters: Meters,
    passed: Passed,
    shares: Shares,
    /// How far the store's rows are in memory and in the journal. Held while they are taken up.
    taken_up: Mutex<take_up::Progress>,
    /// Something was not taken up, which was said, and is tried again.
    is_unfinished: AtomicBool,
}

impl Revocations {
    /// The list as the store holds it.
    ///
    /// # Errors
    /// When the store cannot be read: no token could be trusted.
    pub async fn restore(
        settings: &Settings,
        store: &Store,
        meters: Meters,
        randomness: &dyn Randomness,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let mut seed = [0; 16];
        randomness.fill(&mut seed);
        // A family may have begun when the settings gave it longer.
        let last_family = store.last_refresh_family_expiry().await?;
        let families = last_family.map_or(0, |last| last.whole_seconds_since(now) + 1);
        let lives = Lives {
            leeway_seconds: LEEWAY_SECONDS,
            family_seconds: seconds(settings.refresh.ttl).max(families),
            session_seconds: seconds(settings.sessions.tier(domain::Tier::Standard).absolute)
                .max(SESSION_MAX_SECONDS),
            // As above: an issuer may be given longer lives later.
            foreign_seconds: seconds(Duration::from_secs(issuers::LIFE_MAX_SECONDS)),
        };
        let list = Live::new(Seed::new(seed), settings.limits.revocations);
        let restored = Self {
            list,
            lives,
            meters,
            passed: Passed::since(now, Instant::now()),
            shares: Shares::of(settings.limits.revocations),
            taken_up: Mutex::default(),
            is_unfinished: AtomicBool::new(false),
        };
        restored.read_all(store, now).await?;
        Ok(restored)
    }

    /// Holds a token, a family or a session against the list. Whoever does that reads the clock
    /// before (`now`, and what is issued on the strength of it), never after: what is issued in
    /// the moment of a revocation is then either refused here or covered by it.
    pub fn check(&self, lineage: &Lineage<'_>, now: Timestamp) -> Option<RevokedBy> {
        let started = Instant::now();
        let by = self.list.check(lineage, now);
        self.meters.checked(by, started.elapsed());
        by
    }

    /// Until when the last access token may live that was issued up to a moment.
    pub(crate) fn last_token_ends(&self, at: Timestamp) -> Timestamp {
        self.lives.end(&Entry::Jti(String::new()), None, at)
    }

    /// Before when what was over may be forgotten, by a clock that does not jump.
    pub(crate) fn over_before(&self, now: Timestamp) -> Timestamp {
        self.passed.over_before(now, Instant::now())
    }

    /// The list itself, for those who look through many tokens at once.
    pub(crate) const fn list(&self) -> &Live {
        &self.list
    }

    /// How many entries are in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Revokes: durable, in effect and on record when this returns.
///
/// # Errors
/// When there is no room, or it could not be made durable.
pub async fn revoke(
    app: &App,
    by: &str,
    entry: Entry,
    reason: Option<&str>,
) -> Result<Revoked, RevokeError> {
    let revocation = Revocation {
        entry,
        by: by.to_owned(),
        subject: None,
        reason: reason.map(str::to_owned),
        ends_at: None,
        is_own: false,
    };
    revoke_with(app, revocation).await
}

/// The same with all that is known of it.
///
/// # Errors
/// As [`revoke`].
pub async fn revoke_with(app: &App, asked: Revocation) -> Result<Revoked, RevokeError> {
    let started = Instant::now();
    let now = app.inputs.clock.now();
    let revocations = &app.revocations;
    let (entry, is_up_to_now) = up_to(asked.entry, now);
    let kind = entry.kind();
    let until = revocations.lives.end(&entry, asked.ends_at, now);
    if let Some(until) = revocations.list.knows(&entry, until) {
        let already = true;
        return Ok(Revoked {
            entry,
            until,
            already,
        });
    }
    if !revocations.list.has_room_for(kind) {
        tracing::error!("the list of revocations is full; raise `limits.revocations`");
        return Err(RevokeError::Full);
    }
    if asked.is_own && !revocations.shares.take(kind, &asked.by) {
        tracing::warn!(by = %asked.by, "a key has its share of the list of revocations");
        return Err(RevokeError::Share);
    }
    let store = app.state.store();
    let new = NewRevocation {
        kind: kind.as_str(),
        id: entry.id().to_owned(),
        before: entry.before(),
        until,
        at: now,
        by: asked.by,
        subject: asked.subject,
        reason: asked.reason,
    };
    store.add_revocation(&new).await?;
    revocations.list.put(&entry, until);
    let (entry, until) = if is_up_to_now {
        catch_up(app, entry, until).await?
    } else {
        (entry, until)
    };
    revocations.meters.in_effect_after(started.elapsed());
    // It counts from here on; a journal that fails is tried again.
    app.take_up_revocations().await;
    Ok(Revoked {
        entry,
        until,
        already: false,
    })
}

/// While the disk wrote, more may have been issued to the same, from what is refused from now on.
/// So the moment is moved on to now, durable before it is in effect. Returns when that millisecond
/// is over: what is issued after the answer counts as after.
async fn catch_up(
    app: &App,
    entry: Entry,
    until: Timestamp,
) -> Result<(Entry, Timestamp), StoreError> {
    let clock = &app.inputs.clock;
    let now = clock.now();
    let before = entry.before().map_or(now, |before| before.max(now));
    let moved = with_moment(entry, before);
    let until = until.max(app.revocations.lives.end(&moved, None, now));
    let store = app.state.store();
    let kind = moved.kind().as_str();
    store
        .move_revocation(kind, moved.id(), before, until)
        .await?;
    app.revocations.list.put(&moved, until);
    if clock.now() <= before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok((moved, until))
}

/// Nobody revokes what will only be issued: a moment ahead is now.
fn up_to(entry: Entry, now: Timestamp) -> (Entry, bool) {
    match entry.before() {
        Some(before) if before >= now => (with_moment(entry, now), true),
        _ => (entry, false),
    }
}

fn with_moment(entry: Entry, moment: Timestamp) -> Entry {
    match entry {
        Entry::SubjectNotBefore { subject, .. } => Entry::SubjectNotBefore {
            subject,
            before: moment,
        },
        Entry::Client { client_id, .. } => Entry::Client {
            client_id,
            before: moment,
        },
        Entry::IssuerEpoch { .. } => Entry::IssuerEpoch { before: moment },
        lasting @ (Entry::Session(_) | Entry::Family(_) | Entry::Jti(_)) => lasting,
    }
}

/// What a row of the store says. None for one of a kind that a later version may know.
fn entry_of(row: &RevocationRow) -> Option<Entry> {
    Entry::from_parts(Kind::from_word(&row.kind)?, row.id.clone(), row.before)
}

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}
