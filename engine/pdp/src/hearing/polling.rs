//! Fetching the tokens of transmitters that do not push (RFC 8936).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use ssf::delivery::{POLL_MAX, Poll, Polled, SetError};

use super::{NotTaken, Transmitter, check, keep};
use crate::app::App;
use crate::outbound::{OutboundError, Purpose};

/// What is acknowledged with the next poll.
#[derive(Debug, Default)]
struct Outcome {
    acks: Vec<String>,
    errors: BTreeMap<String, SetError>,
    /// Something was taken that had not been before.
    has_news: bool,
}

impl Outcome {
    /// Whether the next poll follows at once: there may be more after what is new, and until it is
    /// acknowledged the same would come again. Errors are told at once too, and once: whoever
    /// offers the same again, whatever is acknowledged or refused, is not asked in a circle.
    fn is_told_at_once(&self, before: &Self) -> bool {
        self.has_news || !self.errors.is_empty() && before.errors.is_empty()
    }
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
    let mut most = POLL_MAX;
    loop {
        let is_at_once = match once(&app, transmitter, &outcome, most).await {
            Ok(next) => {
                let is_at_once = next.is_told_at_once(&outcome);
                outcome = next;
                was_fine = true;
                most = more(most);
                is_at_once
            }
            Err(Failed::TooLarge) if most > 1 => {
                // What is to be acknowledged is told again.
                most /= 2;
                true
            }
            Err(why) => {
                let why = why.to_string();
                // What is to be acknowledged is told again.
                if was_fine {
                    tracing::warn!(
                        issuer = transmitter.settings.issuer,
                        why,
                        "a transmitter cannot be polled; it is tried again"
                    );
                }
                was_fine = false;
                false
            }
        };
        if !is_at_once {
            tokio::time::sleep(settings.every).await;
        }
    }
}

/// How many tokens are asked for after so many were no trouble.
fn more(most: usize) -> usize {
    most.saturating_add(most / 4 + 1).min(POLL_MAX)
}

/// Why a poll came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// So many tokens are more than is read of an answer.
    #[error("even one token is more than is read of an answer")]
    TooLarge,
    #[error("{0}")]
    Other(String),
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

/// Acknowledges what was taken before, fetches what is there, at most so many, and takes it in the
/// order in which it was issued: an answer has none of its own.
async fn once(
    app: &App,
    transmitter: &Transmitter,
    before: &Outcome,
    most: usize,
) -> Result<Outcome, Failed> {
    let Some(settings) = &transmitter.settings.poll else {
        return Ok(Outcome::default());
    };
    let wish = Poll {
        max_events: u32::try_from(most).ok(),
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
    let purpose = Purpose::Poll(&transmitter.settings.issuer);
    let answer = app
        .outbound
        .post(purpose, &settings.url, "application/json", headers, body)
        .await
        .map_err(|error| match error {
            OutboundError::TooLarge(_) => Failed::TooLarge,
            other => Failed::Other(other.to_string()),
        })?;
    if answer.status != StatusCode::OK {
        let why = format!("{} answered {}", settings.url, answer.status);
        return Err(Failed::Other(why));
    }
    let polled: Polled = wire::read(&answer.body)
        .map_err(|why| format!("{} answered no tokens: {why}", settings.url))?;
    let mut outcome = Outcome::default();
    let mut checked = Vec::new();
    for (jti, text) in polled.sets {
        match check(app, transmitter, &text, Some(&jti)).await {
            Ok(one) => checked.push((jti, one)),
            Err(why) => not_taken(transmitter, &mut outcome, jti, why),
        }
    }
    checked.sort_by_key(|(_, one)| one.set.iat);
    for (jti, one) in checked {
        match keep(app, one).await {
            Ok(is_new) => {
                outcome.acks.push(jti);
                outcome.has_news |= is_new;
            }
            Err(why) => not_taken(transmitter, &mut outcome, jti, why),
        }
    }
    Ok(outcome)
}

fn not_taken(transmitter: &Transmitter, outcome: &mut Outcome, jti: String, why: NotTaken) {
    tracing::warn!(
        issuer = transmitter.settings.issuer,
        jti,
        ?why,
        "a security event token is not taken"
    );
    // Neither the one nor the other, where nothing is told: it comes again.
    if let Some(error) = why.told() {
        outcome.errors.insert(jti, error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `new` tokens, those that were known, and refused ones.
    fn outcome(new: usize, known: usize, refused: usize) -> Outcome {
        let error = |number| {
            let error = SetError {
                err: ssf::delivery::ErrorCode::InvalidKey,
                description: String::new(),
            };
            (format!("bad-{number}"), error)
        };
        Outcome {
            acks: (0..new + known).map(|number| number.to_string()).collect(),
            errors: (0..refused).map(error).collect(),
            has_news: new > 0,
        }
    }

    #[test]
    fn nobody_is_asked_in_a_circle() {
        let first = outcome(0, 0, 0);
        for (next, at_once) in [
            (outcome(0, 0, 0), false),
            (outcome(1, 0, 0), true),
            (outcome(3, 5, 7), true),
            // It takes no notice of what is acknowledged.
            (outcome(0, 100, 0), false),
            (outcome(0, 0, 100), true),
        ] {
            assert_eq!(next.is_told_at_once(&first), at_once, "{next:?}");
        }
        // It offers again what was refused, or ever more of it.
        let refused = outcome(0, 0, 100);
        assert!(!outcome(0, 0, 100).is_told_at_once(&refused));
        assert!(!outcome(0, 20, 80).is_told_at_once(&refused));
        assert!(outcome(1, 0, 99).is_told_at_once(&refused));
    }

    #[test]
    fn from_one_token_at_a_time_it_goes_up_to_as_many_as_may_be() {
        let mut most = 1;
        for _ in 0..40 {
            let next = more(most);
            assert!(next > most || most == POLL_MAX, "{most}: {next}");
            most = next;
        }
        assert_eq!(most, POLL_MAX);
    }
}
