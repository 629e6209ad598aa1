//! Tokens are pushed (RFC 8935): of each stream one at a time, in their order, until its outbox is
//! empty or its receiver cannot be told. Then later and later again, with chance in it, so that
//! not all streams come back at once. One that is refused for what it is waits on its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use ssf::delivery::{SECEVENT_JWT, SetError};
use ssf::stream::Status;
use store::sqlite::ToTell;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::refusals::{Pass, Refusal, later};
use super::registry::Held;
use crate::app::App;
use crate::inputs::Randomness;
use crate::outbound::Purpose;

/// Tokens that are signed at once.
const BATCH: u32 = 20;
/// Streams that are pushed to at once.
const AT_ONCE: usize = 16;
/// Longest wait between two attempts, seconds.
const BACKOFF_MAX_SECONDS: u64 = 300;
/// How long to wait at most before it is looked again whether something is due.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long to wait after so many failures in a row: twice as long each time, from a second to
/// five minutes, of which between a half and all, by chance.
pub(super) fn backoff(failures: u32, randomness: &dyn Randomness) -> Duration {
    let doubled = 1u64
        .checked_shl(failures.saturating_sub(1))
        .unwrap_or(u64::MAX);
    let millis = doubled.min(BACKOFF_MAX_SECONDS) * 1000;
    let mut random = [0; 2];
    randomness.fill(&mut random);
    let share = u64::from(u16::from_le_bytes(random));
    Duration::from_millis(millis / 2 + millis / 2 * share / u64::from(u16::MAX))
}

/// What a receiver made of a token.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    /// It has it.
    Yes,
    /// It refuses this one; others it may take.
    Refused(String),
    /// It takes none now, perhaps another time.
    Later(String),
}

/// What an answer means (RFC 8935 §2.2 to 2.4).
fn judge(status: u16, body: &[u8]) -> Taken {
    match status {
        202 => Taken::Yes,
        400 => Taken::Refused(match serde_json::from_slice::<SetError>(body) {
            Ok(error) => {
                let words: String = error.description.chars().take(200).collect();
                format!("`{:?}`: {words}", error.err)
            }
            Err(_) => "400, and not why".to_owned(),
        }),
        // Too long for it, or in a form that it does not know: as long as this comes first,
        // nothing else would get through.
        413 | 415 => Taken::Refused(status.to_string()),
        status => Taken::Later(format!(
            "it answered {status}; a token that was taken is answered 202"
        )),
    }
}

/// Pushes what waits, for ever.
pub(crate) async fn push(app: Arc<App>) {
    let mut workers: JoinSet<String> = JoinSet::new();
    let mut busy: HashSet<String> = HashSet::new();
    loop {
        let news = app.telling.waiting.notified();
        let now = app.inputs.clock.now();
        for (id, held) in app.telling.registry.all().iter() {
            let is_due = held.progress.with(|tries| {
                (tries.pending || tries.refusals.is_due(now))
                    && tries.next_at.is_none_or(|at| at <= now)
            });
            if is_due && busy.len() < AT_ONCE && !busy.contains(id) && flows(&app, held) {
                busy.insert(id.clone());
                workers.spawn(push_stream(Arc::clone(&app), id.clone()));
            }
        }
        tokio::select! {
            _ = timeout(LOOK_EVERY, news) => {}
            Some(done) = workers.join_next() => match done {
                Ok(id) => { busy.remove(&id); }
                // Which one is not known; those that go on are found busy again.
                Err(error) => {
                    tracing::error!(%error, "pushing to a stream broke off");
                    workers.abort_all();
                    while workers.join_next().await.is_some() {}
                    busy.clear();
                }
            },
        }
    }
}

/// Whether a stream is pushed to now, and is anybody's.
fn flows(app: &App, held: &Held) -> bool {
    held.push().is_some()
        && held.stream.status == Status::Enabled
        && app
            .keys
            .client(&held.row.client_id, app.inputs.clock.now())
            .is_some()
}

/// Pushes what one stream has to tell; its id when there is nothing more to do now.
async fn push_stream(app: Arc<App>, id: String) -> String {
    let mut pass = Pass::default();
    if let Some(held) = app.telling.registry.get(&id) {
        held.progress.with(|tries| tries.pending = false);
    }
    while let Some(held) = app.telling.registry.get(&id) {
        match push_batch(&app, &held, &mut pass).await {
            Ok(Pushed::Some) => held.progress.with(|tries| {
                tries.failures = 0;
                tries.next_at = None;
            }),
            Ok(Pushed::NoneTaken) => {}
            Ok(Pushed::All) => break,
            // Whoever lets it flow again says so: asking on would be a loop that never waits.
            Ok(Pushed::Stopped) => {
                held.progress.with(|tries| tries.pending = true);
                break;
            }
            Err(why) => {
                let failures = held.progress.with(|tries| {
                    tries.pending = true;
                    tries.failures = tries.failures.saturating_add(1);
                    let wait = backoff(tries.failures, &*app.inputs.randomness);
                    tries.next_at = Some(later(app.inputs.clock.now(), wait));
                    tries.failures
                });
                app.metrics.telling.failed("push");
                tracing::warn!(
                    stream = id,
                    failures,
                    "a token was not taken: {why}; it is tried again"
                );
                break;
            }
        }
    }
    id
}

/// How far it came.
#[derive(Debug, PartialEq, Eq)]
enum Pushed {
    /// Some were taken, and there may be more.
    Some,
    /// Not one of these was taken, and there may be more.
    NoneTaken,
    /// Nothing is left that may go now.
    All,
    /// The stream does not flow, or goes elsewhere now.
    Stopped,
}

/// Pushes some.
async fn push_batch(app: &App, held: &Held, pass: &mut Pass) -> Result<Pushed, String> {
    let Some((url, authorization)) = held.push().filter(|_| flows(app, held)) else {
        return Ok(Pushed::Stopped);
    };
    let store = app.state.store();
    let rows = app.next_to_tell(held, pass, BATCH).await;
    let rows = rows.map_err(|error| error.to_string())?;
    if rows.is_empty() {
        return Ok(Pushed::All);
    }
    let claims = rows.iter().map(|row| row.claims.clone()).collect();
    let signed = app.sign_sets(claims).await;
    let signed = signed.map_err(|error| error.to_string())?;
    let mut done = Vec::new();
    let mut stopped = Ok(None);
    for (row, set) in rows.iter().zip(signed) {
        // Paused or changed meanwhile: the next one goes by what holds then.
        let now = app.telling.registry.get(&held.row.id);
        if !now.is_some_and(|now| flows(app, &now) && now.stream.delivery == held.stream.delivery) {
            stopped = Ok(Some(Pushed::Stopped));
            break;
        }
        if !pass.still_lets(row) {
            continue;
        }
        match send(app, held, (url, authorization), set).await {
            Taken::Yes => {
                app.metrics.telling.told("push", 1);
                done.push(row.jti.clone());
            }
            Taken::Refused(why) => {
                app.metrics.telling.failed("push");
                tracing::warn!(
                    stream = held.row.id,
                    jti = row.jti,
                    "a token was refused ({why}); it is offered again"
                );
                pass.hold_up(row);
                match app.was_refused(held, &row.jti).await {
                    Ok(Refusal::AllWait) => {
                        stopped = Err(format!("it was refused ({why}), as many others are"));
                        break;
                    }
                    Ok(Refusal::Waits | Refusal::LetGo) => {}
                    Err(error) => {
                        stopped = Err(error.to_string());
                        break;
                    }
                }
            }
            Taken::Later(why) => {
                stopped = Err(why);
                break;
            }
        }
    }
    // What was taken and is not noted as such comes again, under the same `jti`.
    let noted = store.told(&held.row.id, &done).await;
    noted.map_err(|error| error.to_string())?;
    held.progress.with(|tries| tries.refusals.forget(&done));
    if !done.is_empty() {
        app.receiver_was_seen(&held.row.id).await;
    }
    Ok(match stopped? {
        Some(stopped) => stopped,
        None if done.is_empty() => Pushed::NoneTaken,
        None => Pushed::Some,
    })
}

impl App {
    /// Pushes one token past the outbox, once: for what is true whether or not it is heard.
    pub(super) async fn push_now(&self, held: &Held, one: &ToTell) {
        let Some((url, authorization)) = held.push() else {
            return;
        };
        let taken = match self.sign_sets(vec![one.claims.clone()]).await {
            Ok(signed) => match signed.into_iter().next() {
                Some(set) => send(self, held, (url, authorization), set).await,
                None => return,
            },
            Err(error) => Taken::Later(error.to_string()),
        };
        if taken != Taken::Yes {
            tracing::info!(stream = held.row.id, ?taken, "a receiver was told in vain");
        }
    }
}

/// Sends one token. `Authorization` is what the receiver gave for it, or there is none.
async fn send(
    app: &App,
    held: &Held,
    (url, authorization): (&str, Option<&str>),
    set: String,
) -> Taken {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(authorization) = authorization {
        let Ok(mut value) = HeaderValue::from_str(authorization) else {
            return Taken::Later("its `authorization_header` is no text for a header".to_owned());
        };
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let purpose = Purpose::Stream(&held.row.id);
    let sent = app
        .outbound
        .post(purpose, url, SECEVENT_JWT, headers, set.into_bytes());
    match sent.await {
        Ok(answer) => judge(answer.status.as_u16(), &answer.body),
        Err(error) => Taken::Later(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(u8);

    impl Randomness for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn it_is_tried_again_later_and_later_with_chance_in_it() {
        let waits = |failures| {
            let by = |byte| backoff(failures, &Fixed(byte)).as_millis();
            (by(0), by(255))
        };
        assert_eq!(waits(1), (500, 1000));
        assert_eq!(waits(2), (1000, 2000));
        assert_eq!(waits(5), (8000, 16_000));
        for failures in [10, 63, 64, 65, u32::MAX] {
            assert_eq!(waits(failures), (150_000, 300_000), "{failures}");
        }
    }

    #[test]
    fn only_202_is_a_yes_and_what_is_wrong_with_one_token_stops_no_other() {
        assert_eq!(judge(202, b""), Taken::Yes);
        for status in [200, 204, 302, 401, 403, 404, 429, 500, 503] {
            assert!(matches!(judge(status, b""), Taken::Later(_)), "{status}");
        }
        for status in [413, 415] {
            assert!(matches!(judge(status, b""), Taken::Refused(_)), "{status}");
        }
        for body in [
            "oops",
            "",
            r#"{"err":"authentication_failed","description":""}"#,
            r#"{"err":"access_denied"}"#,
            r#"{"err":"invalid_request"}"#,
            r#"{"err":"invalid_key","description":"no"}"#,
            r#"{"err":"invalid_issuer","description":"no"}"#,
            r#"{"err":"invalid_audience","description":"no"}"#,
            r#"{"err":"of_their_own"}"#,
        ] {
            let judged = judge(400, body.as_bytes());
            assert!(matches!(judged, Taken::Refused(_)), "{body}");
        }
    }
}
