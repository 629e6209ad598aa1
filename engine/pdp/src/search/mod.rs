//! Searches (AuthZEN 1.0 §8): who may, on what, and what may be done.
//!
//! A search is a question and not an access: it is recorded once, teaches nobody, counts nothing
//! and mints nothing. It looks at stored entities, off the threads that answer, a page at a time.

pub mod look;
mod token;

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::record::Revisions;
use domain::{Name, Signal};
use risk::Crowds;
use store::journal::AppendError;
use tokio::sync::Semaphore;
use wire::found::{FoundView, SearchRecord};
use wire::search::{Search, Sought};

use crate::access::{Caller, Permission};
use crate::administrator::{Admitted, Unanswered, admit, uuid_v7};
use crate::app::App;
use crate::inputs::Randomness;
use crate::pip;
use crate::sessions;
use crate::settings::Limits;
use look::{Bounds, Page, Quest};
use token::{Binding, PageTokens};

/// What searches share.
#[derive(Debug)]
pub struct Searches {
    tokens: PageTokens,
    at_work: Arc<Semaphore>,
}

impl Searches {
    /// For the limits of the settings.
    #[must_use]
    pub fn new(limits: &Limits, randomness: &dyn Randomness) -> Self {
        Self {
            tokens: PageTokens::new(randomness),
            at_work: Arc::new(Semaphore::new(limits.searches)),
        }
    }
}

/// Why a search was not answered.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The question makes no sense, or the record could not be made durable.
    #[error("{0}")]
    Unanswered(#[from] Unanswered),
    /// Others are at work.
    #[error("too many searches are at work; ask again")]
    Busy,
}

/// A page whose record is durable.
#[derive(Debug)]
pub struct Found {
    sought: Sought,
    kind: Option<Name>,
    page: Page,
    next_token: Option<String>,
    search_id: String,
    revisions: Arc<Revisions>,
}

impl Found {
    /// The page as its caller sees it.
    #[must_use]
    pub fn view(&self) -> FoundView<'_> {
        FoundView {
            sought: self.sought,
            kind: self.kind.as_ref(),
            found: &self.page.found,
            next_token: self.next_token.as_deref(),
            search_id: &self.search_id,
            evaluated: self.page.evaluated,
            revisions: &self.revisions,
        }
    }
}

/// Answers one page of a search.
///
/// # Errors
/// When the question makes no sense, its token is of another one, too many searches are at work,
/// or the record cannot be made durable.
pub async fn search(
    app: &App,
    caller: &Caller,
    search: Search,
    request_id: &str,
) -> Result<Found, SearchError> {
    let now = app.inputs.clock.now();
    let snapshot = Arc::clone(&app.live.current());
    let Search {
        sought,
        incoming,
        page: wish,
        canonical,
    } = search;
    let Admitted {
        mut request,
        moment,
        ..
    } = admit(app, caller, incoming, now)?;
    let named = sessions::name::find(app, caller, &mut request.context, now).await;
    let binding = Binding {
        caller: &caller.client_id,
        sought: sought.as_str(),
        canonical: &canonical,
        revisions: &snapshot.revisions,
    };
    let tokens = &app.searches.tokens;
    let from = match &wish.token {
        Some(token) => tokens
            .read(&binding, token)
            .map_err(|why| Unanswered::Malformed(why.to_string()))?,
        None => 0,
    };
    let at_work = Arc::clone(&app.searches.at_work);
    let at_work = at_work.try_acquire_owned().map_err(|_| SearchError::Busy)?;

    let may_assert = app.keys.permits(caller, Permission::AssertAssurance);
    let mut signals = pip::gather(app, &request, &named, &snapshot, may_assert, now).await;
    if sought == Sought::Subject {
        // Nobody's history, and nobody's session: to read everybody's would cost more than the
        // search, and the score is taken to be 0 anyway.
        signals.profile = Signal::Absent;
        signals.session = Signal::Absent;
        signals.crowds = Crowds::default();
    }
    let limits = &app.settings.limits;
    let wanted = wish.limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    let results = wanted.min(limits.search_results);
    let evaluations = limits.search_evaluations;
    let time = time_of(limits.request_timeout);
    let attribute = app.settings.sensitivity_attribute.clone();
    let size_attribute = app.settings.size_attribute.clone();
    let looking = {
        let (request, snapshot) = (request.clone(), Arc::clone(&snapshot));
        move || {
            let _at_work = at_work;
            let started = Instant::now();
            let expired = move || started.elapsed() >= time;
            let quest = Quest {
                sought,
                request: &request,
                signals: &signals,
                snapshot: &snapshot,
                sensitivity_attribute: &attribute,
                size_attribute: &size_attribute,
                now,
            };
            quest.page(
                from,
                &Bounds {
                    results,
                    evaluations,
                    expired: &expired,
                },
            )
        }
    };
    let page = tokio::task::spawn_blocking(looking)
        .await
        .map_err(|_| SearchError::Busy)?;

    let search_id = uuid_v7(app, now);
    let record = SearchRecord {
        search_id: &search_id,
        at: now,
        time: moment,
        caller: &caller.key_id,
        caller_token: caller.token_id.as_deref(),
        request_id,
        sought,
        request: &request,
        from,
        limit: results,
        count: page.found.len(),
        complete: page.next.is_none(),
        evaluated: page.evaluated,
        revisions: &snapshot.revisions,
    };
    let line = serde_json::to_vec(&record)
        .map_err(|_| Unanswered::NotRecorded(AppendError::NotWritten))?;
    app.journal
        .append(line)
        .await
        .map_err(Unanswered::NotRecorded)?;
    let next_token = page.next.map(|place| tokens.issue(&binding, place));
    let kind = match sought {
        Sought::Subject => Some(request.subject.entity.kind),
        Sought::Resource => Some(request.resource.entity.kind),
        Sought::Action => None,
    };
    Ok(Found {
        sought,
        kind,
        page,
        next_token,
        search_id,
        revisions: Arc::clone(&snapshot.revisions),
    })
}

/// The time that a page may take: the other half of a request's is for everything around it.
fn time_of(request_timeout: Duration) -> Duration {
    request_timeout / 2
}
