//! Token Status Lists (draft-ietf-oauth-status-list-21) for verifiers that cannot ask.
//!
//! Off unless `tokens.status_list` is on; the engine itself has no need of them. Each token is
//! given a place in a list before it leaves, with a record in the journal that is durable before
//! the token is handed out, and is drained to the store like all records. So a start knows every
//! token that may live, and serves the same lists as before, whatever ended the process before.
//! It gives out no places of those lists: which of them were taken by tokens that are over is not
//! known any more.

mod list;
mod record;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use domain::Timestamp;
use store::journal::AppendError;
use token::claims::{Status, StatusReference};
use token::revocation::Lineage;
use token::status_list::{Lst, STATUS_LIST_TYP, StatusListClaims};
use token::{Claims, KeyError};

use list::{List, Made};
pub(crate) use record::row;

use crate::administrator::uuid_v7;
use crate::app::App;
use crate::recorder::{Drain, DrainError};

/// Where lists are served; the id follows.
pub(crate) const PATH: &str = "/oauth2/status-lists/";

/// Tokens in all lists at once. Of them, and not of lists: each start begins a list, and each
/// hour, so that there may be many with little in them.
const TOKENS_MAX: usize = 8_000_000;
/// For how long verifiers keep a list, seconds.
pub(crate) const TTL_SECONDS: u32 = 10;
/// A list is believed for so long, seconds: twice the longest time that it is served unchanged.
const LIFE_SECONDS: i64 = 60;
const SERVED_SECONDS: i64 = 30;
/// To make lists takes no more than this share of a core, whoever asks for them.
const SHARE: u32 = 10;

/// Why a token was given no place, and so is not handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPlace {
    /// More tokens live than lists have places.
    #[error(
        "all status lists are full; shorten `tokens.ttl_seconds`, or turn off `tokens.status_list`"
    )]
    Full,
    /// It could not be made durable.
    #[error("{0}")]
    NotRecorded(#[from] AppendError),
}

/// The lists that are served.
#[derive(Debug, Default)]
pub(crate) struct StatusLists(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    by_id: HashMap<String, Arc<List>>,
    /// The one that gives out places.
    open: Option<Arc<List>>,
}

impl StatusLists {
    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, new_id: impl FnOnce() -> String, now: Timestamp) -> Result<Arc<List>, NoPlace> {
        let mut lists = self.lock();
        if let Some(open) = lists.open.as_ref().filter(|open| !open.is_closed(now)) {
            return Ok(Arc::clone(open));
        }
        if lists
            .by_id
            .values()
            .map(|list| list.tokens())
            .sum::<usize>()
            >= TOKENS_MAX
        {
            return Err(NoPlace::Full);
        }
        let list = Arc::new(List::new(new_id(), now));
        lists.by_id.insert(list.id.clone(), Arc::clone(&list));
        lists.open = Some(Arc::clone(&list));
        Ok(list)
    }

    /// Lets go of what is over.
    pub(crate) fn tidy(&self, now: Timestamp) {
        let (lists, open) = {
            let lists = self.lock();
            let all: Vec<Arc<List>> = lists.by_id.values().map(Arc::clone).collect();
            (all, lists.open.as_ref().map(|open| open.id.clone()))
        };
        for list in lists {
            let is_open = open.as_ref() == Some(&list.id) && !list.is_closed(now);
            if !list.tidy(now) && !is_open {
                let mut lists = self.lock();
                lists.by_id.remove(&list.id);
                lists.open = lists.open.take().filter(|open| open.id != list.id);
            }
        }
    }
}

/// Gives a token that is about to be signed its place, durable when this returns. None when lists
/// are off.
///
/// # Errors
/// When there is no place, or it could not be made durable: the token must not be handed out.
pub(crate) async fn assign(app: &App, claims: &Claims) -> Result<Option<Status>, NoPlace> {
    if !app.settings.status_list {
        return Ok(None);
    }
    let now = app.inputs.clock.now();
    let list = app.status_lists.open(|| uuid_v7(app, now), now)?;
    let hashed = app.revocations.list().hashed(&Lineage::of(claims));
    let expires_at = Timestamp::from_seconds(claims.exp);
    let place = list.take(hashed, expires_at, &*app.inputs.randomness);
    let line = record::write(&list.id, place, claims, now).ok_or(AppendError::NotWritten)?;
    app.journal.append(line).await?;
    Ok(Some(Status {
        status_list: StatusReference {
            idx: place.into(),
            uri: uri(app, &list.id),
        },
    }))
}

fn uri(app: &App, id: &str) -> String {
    format!("{}{PATH}{id}", app.public_url())
}

/// Restores the lists of earlier processes: drains what they left in the journal, and takes over
/// the tokens that may live.
///
/// # Errors
/// When journal or store cannot be read. Tokens from before then have a list that is not found,
/// and verifiers refuse them.
pub(crate) async fn restore(app: &Arc<App>) -> Result<(), DrainError> {
    let mut drain = Drain::resume(Arc::clone(app)).await?;
    drain.run().await?;
    let now = app.inputs.clock.now();
    for row in app.state.store().token_statuses(now).await? {
        let Ok(body) = serde_json::from_str::<record::Body<'_>>(&row.body) else {
            tracing::error!(list = row.list, "a token's place cannot be read");
            continue;
        };
        let list = {
            let mut lists = app.status_lists.lock();
            let known = lists.by_id.entry(row.list.clone());
            Arc::clone(known.or_insert_with(|| Arc::new(List::new(row.list.clone(), now))))
        };
        let hashed = app.revocations.list().hashed(&body.lineage());
        list.restore(row.place, hashed, row.expires_at);
    }
    Ok(())
}

/// A list, signed: as it is now, or as it was a moment ago where so many ask that to make it anew
/// for each of them would cost too much. None when there is no such list.
///
/// # Errors
/// When the library refuses to sign.
pub(crate) async fn signed(app: &Arc<App>, id: &str) -> Option<Result<String, KeyError>> {
    let list = app.status_lists.lock().by_id.get(id).map(Arc::clone)?;
    let mut made = list.made.lock().await;
    let now = app.inputs.clock.now();
    let changes = app.revocations.list().changes();
    if let Some(made) = &*made {
        let is_fresh = changes == made.changes && now < made.at.plus_seconds(SERVED_SECONDS);
        let is_believed = now < made.at.plus_seconds(LIFE_SECONDS / 2);
        if is_fresh || is_believed && Instant::now() < made.next {
            return Some(Ok(made.text.clone()));
        }
    }
    let making = (Arc::clone(app), Arc::clone(&list));
    // Goes through every token of the list and deflates it: not for the threads that answer.
    let done = tokio::task::spawn_blocking(move || {
        let (app, list) = making;
        let started = Instant::now();
        let text = sign(&app, &list, now)?;
        let ended = Instant::now();
        Ok(Made {
            text,
            at: now,
            changes,
            next: ended + (ended - started) * SHARE,
        })
    });
    Some(match done.await {
        Ok(Ok(new)) => {
            let text = new.text.clone();
            *made = Some(new);
            Ok(text)
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(KeyError::Refused),
    })
}

fn sign(app: &App, list: &List, now: Timestamp) -> Result<String, KeyError> {
    let statuses = list.statuses(app.revocations.list(), now);
    let claims = StatusListClaims {
        iss: app.public_url(),
        sub: &uri(app, &list.id),
        iat: now.seconds(),
        exp: now.seconds() + LIFE_SECONDS,
        ttl: TTL_SECONDS,
        status_list: Lst {
            bits: 1,
            lst: statuses.encode(),
        },
    };
    token::mint(app.signing.current().signer(), STATUS_LIST_TYP, &claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_starts_in_a_row_do_not_use_up_the_lists() {
        let lists = StatusLists::default();
        let now = Timestamp::from_seconds(1_795_215_660);
        // Each start leaves a list that is served on and gives out no places any more.
        for number in 0..40 {
            let opened = lists.open(|| number.to_string(), now).unwrap();
            assert_eq!(opened.id, number.to_string());
            lists.lock().open = None;
        }
        assert_eq!(lists.lock().by_id.len(), 40);
    }
}
