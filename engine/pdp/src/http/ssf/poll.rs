//! `POST /ssf/poll/{stream}`: a receiver fetches what it is told, and says what it has
//! (RFC 8936).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use ssf::delivery::{ACKS_MAX, Poll, Polled};
use ssf::stream::Status;
use store::sqlite::ToTell;
use tokio::time::timeout;

use super::{failed, find, require_read};
use crate::app::App;
use crate::http::Problem;
use crate::http::authn::Authenticated;
use crate::http::authzen::{json as answer, read_object};
use crate::http::path::Id;
use crate::http::to_the_end::to_the_end;
use crate::telling::refusals::Pass;
use crate::telling::registry::Held;

/// How long a poll waits for something to tell, unless it asks for an answer at once.
const WAIT: Duration = Duration::from_secs(20);

/// How long the whole of a request for a poll may take.
pub(in crate::http) const WITHIN: Duration = Duration::from_secs(30);

/// Where polls go to.
pub(in crate::http) const PATH: &str = "/ssf/poll/";

/// What is acknowledged is never told again; what is not, is.
pub(in crate::http) async fn poll(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Id(id): Id,
    request: Request,
) -> Result<Response, Problem> {
    require_read(&app, &asker)?;
    let form = r#"{"maxEvents"?: …, "returnImmediately"?: …, "ack"?: [jti…], "setErrs"?: {jti: {"err": …, "description": …}}}"#;
    let poll: Poll = read_object(&app, request, form).await?;
    if poll.is_too_long() {
        return Err(Problem::malformed(format!(
            "`ack` and `setErrs` have more than {ACKS_MAX} together; send several polls"
        )));
    }
    let held = find(&app, &asker, &id)?;
    if held.push().is_some() {
        return Err(Problem::conflict(
            "this stream is pushed; change its `delivery` to fetch what it tells",
        ));
    }
    app.receiver_was_seen(&id).await;
    let (most, at_once) = (poll.most(), poll.return_immediately);
    take(&app, &held, poll).await?;
    if most == 0 {
        return answer(&Polled::default());
    }
    let mut stopping = app.telling.stopping.subscribe();
    let rows = loop {
        let news = held.progress.news.notified();
        // It may have been paused or removed while this waited.
        let now = find(&app, &asker, &id)?;
        let rows = if now.stream.status == Status::Enabled {
            waiting(&app, &now, most + 1).await?
        } else {
            Vec::new()
        };
        let place = app.telling.waiting_polls.try_acquire();
        let (Ok(_place), true, false, false) =
            (place, rows.is_empty(), at_once, *stopping.borrow())
        else {
            break rows;
        };
        let waited = timeout(WAIT, async {
            tokio::select! {
                () = news => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        });
        if waited.await.is_err() {
            break rows;
        }
    };
    polled(&app, rows, most).await
}

async fn waiting(app: &App, held: &Held, most: usize) -> Result<Vec<ToTell>, Problem> {
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    let wanted = usize::try_from(most).unwrap_or(usize::MAX);
    let mut pass = Pass::default();
    let mut all = Vec::new();
    while all.len() < wanted {
        let rows = app.next_to_tell(held, &mut pass, most).await;
        let rows = rows.map_err(|error| failed(&error))?;
        if rows.is_empty() {
            break;
        }
        all.extend(rows);
    }
    Ok(all)
}

/// Lets go of what the receiver has. What it says that it cannot take is offered again for a
/// while, as if it was pushed: most such faults are mended.
async fn take(app: &Arc<App>, held: &Arc<Held>, poll: Poll) -> Result<(), Problem> {
    for (jti, error) in &poll.set_errs {
        tracing::warn!(
            stream = held.row.id,
            jti,
            "a receiver does not take a token ({:?}): {}",
            error.err,
            error.description.chars().take(200).collect::<String>()
        );
    }
    let (done, refused) = (poll.ack, poll.set_errs);
    if done.is_empty() && refused.is_empty() {
        return Ok(());
    }
    let (app, held) = (Arc::clone(app), Arc::clone(held));
    let work = async move {
        let told = app.state.store().told(&held.row.id, &done).await?;
        app.metrics.telling.told("poll", told);
        held.progress.with(|tries| tries.refusals.forget(&done));
        for jti in refused.keys() {
            app.metrics.telling.failed("poll");
            app.was_refused(&held, jti).await?;
        }
        Ok(())
    };
    let taken = to_the_end("an acknowledgement", work).await?;
    taken.map_err(|error| failed(&error))
}

async fn polled(app: &App, mut rows: Vec<ToTell>, most: usize) -> Result<Response, Problem> {
    let more_available = rows.len() > most;
    rows.truncate(most);
    let claims = rows.iter().map(|row| row.claims.clone()).collect();
    let signed = app.sign_sets(claims).await.map_err(|error| {
        tracing::error!(%error, "tokens could not be signed");
        Problem::unavailable("the tokens could not be signed; ask again in a moment")
    })?;
    answer(&Polled {
        sets: rows.into_iter().map(|row| row.jti).zip(signed).collect(),
        more_available,
    })
}
