//! Tokens are pushed (RFC 8935): of each stream one at a time, in their order, until its outbox is
//! empty or its receiver does not take one. Then later and later again, with chance in it, so that
//! not all streams come back at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use ssf::delivery::{ErrorCode, SECEVENT_JWT, SetError};
use ssf::stream::Status;
use store::sqlite::ToTell;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::registry::Held;
use crate::app::App;
use crate::inputs::Randomness;

/// Tokens that are signed at once.
const BATCH: u32 = 20;
/// Streams that are pushed to at once.
const AT_ONCE: usize = 16;
/// Longest wait between two attempts, seconds.
const BACKOFF_MAX_SECONDS: u64 = 300;
/// How often one is sent to a receiver that refuses it for what it is.
const REFUSED_MAX: u32 = 3;
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
    /// It would not take it another time either, and says why.
    Never(SetError),
    /// Perhaps another time.
    Later(String),
}

/// What an answer means (RFC 8935 §2.2 to 2.4).
fn judge(status: u16, body: &[u8]) -> Taken {
    match status {
        202 => Taken::Yes,
        400 => match serde_json::from_slice::<SetError>(body) {
            Ok(error) if is_about_the_token(error.err) => Taken::Never(error),
            Ok(error) => Taken::Later(format!("it answered `{:?}`", error.err)),
            Err(_) => Taken::Later("it answered 400 and not why".to_owned()),
        },
        status => Taken::Later(format!(
            "it answered {status}; a token that was taken is answered 202"
        )),
    }
}

/// Whether the same token would be refused again, whoever sends it.
fn is_about_the_token(why: ErrorCode) -> bool {
    match why {
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidKey
        | ErrorCode::InvalidIssuer
        | ErrorCode::InvalidAudience
        | ErrorCode::InvalidState => true,
        ErrorCode::AuthenticationFailed | ErrorCode::AccessDenied => false,
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
            let is_due = held
                .progress
                .with(|tries| tries.pending && tries.next_at.is_none_or(|at| at <= now));
            let flows = held.push().is_some() && held.stream.status == Status::Enabled;
            if is_due && flows && busy.len() < AT_ONCE && !busy.contains(id) {
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

/// Pushes what one stream has to tell; its id when there is nothing more to do now.
async fn push_stream(app: Arc<App>, id: String) -> String {
    while let Some(held) = app.telling.registry.get(&id) {
        match push_batch(&app, &held).await {
            Ok(true) => held.progress.with(|tries| {
                tries.failures = 0;
                tries.next_at = None;
            }),
            Ok(false) => break,
            Err(why) => {
                let failures = held.progress.with(|tries| {
                    tries.pending = true;
                    tries.failures = tries.failures.saturating_add(1);
                    let wait = backoff(tries.failures, &*app.inputs.randomness);
                    let millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
                    let now = app.inputs.clock.now().millis();
                    tries.next_at =
                        Some(domain::Timestamp::from_millis(now.saturating_add(millis)));
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

/// Pushes some. False when there is nothing left, or the stream does not flow.
async fn push_batch(app: &App, held: &Held) -> Result<bool, String> {
    let Some((url, authorization)) = held.push() else {
        return Ok(false);
    };
    held.progress.with(|tries| tries.pending = false);
    let store = app.state.store();
    let rows = store.to_tell(&held.row.id, BATCH).await;
    let rows = rows.map_err(|error| error.to_string())?;
    if rows.is_empty() {
        return Ok(false);
    }
    let claims = rows.iter().map(|row| row.claims.clone()).collect();
    let signed = app.sign_sets(claims).await;
    let signed = signed.map_err(|error| error.to_string())?;
    let mut done = Vec::new();
    let mut outcome = Ok(true);
    for (row, set) in rows.iter().zip(signed) {
        // Paused or changed meanwhile: the next one goes by what holds then.
        let now = app.telling.registry.get(&held.row.id).filter(|now| {
            now.stream.status == Status::Enabled && now.stream.delivery == held.stream.delivery
        });
        let client = app.keys.client(&held.row.client_id, app.inputs.clock.now());
        let is_same = now.is_some() && client.is_some();
        if !is_same {
            held.progress.with(|tries| tries.pending = true);
            break;
        }
        match send(app, url, authorization, set).await {
            Taken::Yes => {
                app.metrics.telling.told("push", 1);
                done.push(row.jti.clone());
            }
            Taken::Never(error) if refused_too_often(held, &row.jti) => {
                app.metrics.telling.lost("set", 1);
                tracing::error!(
                    stream = held.row.id,
                    jti = row.jti,
                    "a token was refused again and again ({:?}), and is let go: {}",
                    error.err,
                    error.description
                );
                done.push(row.jti.clone());
            }
            Taken::Never(error) => {
                outcome = Err(format!("it was refused ({:?})", error.err));
                break;
            }
            Taken::Later(why) => {
                outcome = Err(why);
                break;
            }
        }
    }
    // What was taken and is not noted as such comes again, under the same `jti`.
    let noted = store.told(&held.row.id, &done).await;
    noted.map_err(|error| error.to_string())?;
    if !done.is_empty() {
        app.receiver_was_seen(&held.row.id).await;
    }
    outcome
}

impl App {
    /// Pushes one token past the outbox, once: for what is true whether or not it is heard.
    pub(super) async fn push_now(&self, held: &Held, one: &ToTell) {
        let Some((url, authorization)) = held.push() else {
            return;
        };
        let taken = match self.sign_sets(vec![one.claims.clone()]).await {
            Ok(signed) => match signed.into_iter().next() {
                Some(set) => send(self, url, authorization, set).await,
                None => return,
            },
            Err(error) => Taken::Later(error.to_string()),
        };
        if taken != Taken::Yes {
            tracing::info!(stream = held.row.id, ?taken, "a receiver was told in vain");
        }
    }
}

/// Counts a refusal of one token; whether it has been refused often enough.
fn refused_too_often(held: &Held, jti: &str) -> bool {
    held.progress.with(|tries| {
        if tries.refused.0 != jti {
            tries.refused = (jti.to_owned(), 0);
        }
        tries.refused.1 += 1;
        tries.refused.1 >= REFUSED_MAX
    })
}

/// Sends one token. `Authorization` is what the receiver gave for it, or there is none.
async fn send(app: &App, url: &str, authorization: Option<&str>, set: String) -> Taken {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(authorization) = authorization {
        let Ok(mut value) = HeaderValue::from_str(authorization) else {
            return Taken::Later("its `authorization_header` is no text for a header".to_owned());
        };
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let sent = app
        .outbound
        .post(url, SECEVENT_JWT, headers, set.into_bytes());
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
    fn only_202_is_a_yes_and_what_is_wrong_with_the_token_is_no_reason_to_stop_for_ever() {
        assert_eq!(judge(202, b""), Taken::Yes);
        for (status, body) in [
            (200, &b""[..]),
            (204, b""),
            (401, b""),
            (500, b""),
            (302, b""),
            (400, b"oops"),
            (400, br#"{"err":"authentication_failed","description":""}"#),
            (400, br#"{"err":"access_denied"}"#),
        ] {
            assert!(matches!(judge(status, body), Taken::Later(_)), "{status}");
        }
        for err in [
            "invalid_request",
            "invalid_key",
            "invalid_issuer",
            "invalid_audience",
        ] {
            let body = format!(r#"{{"err":"{err}","description":"no"}}"#);
            assert!(
                matches!(judge(400, body.as_bytes()), Taken::Never(_)),
                "{err}"
            );
        }
    }
}
