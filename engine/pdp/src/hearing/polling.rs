//! Fetching the tokens of transmitters that do not push (RFC 8936).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use ssf::delivery::{POLL_MAX, Poll, Polled, SetError};

use super::{Transmitter, take};
use crate::app::App;

/// What is acknowledged with the next poll.
#[derive(Debug, Default)]
struct Outcome {
    acks: Vec<String>,
    errors: BTreeMap<String, SetError>,
    /// Whether there may be more at once.
    has_more: bool,
}

/// Polls one of them, for as long as the engine runs.
pub(crate) async fn poll(app: Arc<App>, place: usize) {
    let Some(transmitter) = app.hearing.transmitter(place) else {
        return;
    };
    let Some(settings) = &transmitter.settings.poll else {
        return;
    };
    let mut outcome = Outcome::default();
    let mut was_fine = true;
    loop {
        match once(&app, transmitter, &outcome).await {
            Ok(next) => {
                outcome = next;
                was_fine = true;
            }
            Err(why) => {
                // What is to be acknowledged is told again.
                outcome.has_more = false;
                if was_fine {
                    tracing::warn!(
                        issuer = transmitter.settings.issuer,
                        why,
                        "a transmitter cannot be polled; it is tried again"
                    );
                }
                was_fine = false;
            }
        }
        // Acknowledgements go at once: until then the tokens would come again.
        let has_told = outcome.acks.is_empty() && outcome.errors.is_empty();
        if !was_fine || has_told && !outcome.has_more {
            tokio::time::sleep(settings.every).await;
        }
    }
}

/// Acknowledges what was taken before, fetches what is there, and takes it.
async fn once(app: &App, transmitter: &Transmitter, before: &Outcome) -> Result<Outcome, String> {
    let Some(settings) = &transmitter.settings.poll else {
        return Ok(Outcome::default());
    };
    let wish = Poll {
        max_events: u32::try_from(POLL_MAX).ok(),
        return_immediately: true,
        ack: before.acks.clone(),
        set_errs: before.errors.clone(),
    };
    let body = serde_json::to_vec(&wish).map_err(|error| error.to_string())?;
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(file) = &settings.authorization_file {
        // Read each time: such tokens live an hour at most, and somebody renews the file.
        let text = tokio::fs::read(file).await;
        let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
        let value = HeaderValue::from_bytes(text.trim_ascii())
            .map_err(|_| format!("{}: no text for a header", file.display()))?;
        headers.insert(AUTHORIZATION, value);
    }
    let answer = app
        .outbound
        .post(&settings.url, "application/json", headers, body)
        .await
        .map_err(|error| error.to_string())?;
    if answer.status != StatusCode::OK {
        return Err(format!("{} answered {}", settings.url, answer.status));
    }
    let polled: Polled = wire::read(&answer.body)
        .map_err(|why| format!("{} answered no tokens: {why}", settings.url))?;
    let mut outcome = Outcome {
        has_more: polled.more_available,
        ..Outcome::default()
    };
    for (jti, text) in polled.sets {
        match take(app, transmitter, &text, Some(&jti)).await {
            Ok(()) => outcome.acks.push(jti),
            Err(why) => {
                tracing::warn!(
                    issuer = transmitter.settings.issuer,
                    jti,
                    ?why,
                    "a security event token is not taken"
                );
                // Neither the one nor the other: it comes again.
                if let Some(error) = why.told() {
                    outcome.errors.insert(jti, error);
                } else {
                    outcome.has_more = false;
                }
            }
        }
    }
    Ok(outcome)
}
