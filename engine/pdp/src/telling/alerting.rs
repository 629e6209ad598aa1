//! Alerts: what people should look at goes to a webhook, to syslog, or to standard output (M16).
//! From an outbox, in its order, and tried again until it is taken.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use domain::{SecurityEventKind, Timestamp};
use serde_json::{Value, json};
use ssf::event::{Compliance, RiskLevel};
use store::sqlite::{Initiator, NewSecurityEvent, SecurityEventRow};
use tokio::time::{sleep, timeout};

use super::body::{AccountStatus, Body, Severity};
use super::pushing::backoff;
use super::syslog;
use crate::app::App;
use crate::outbound::Purpose;
use crate::settings::{AlertSettings, AlertTarget};

/// Version of what is written.
const VERSION: &str = "1.0";
/// Alerts that wait for one channel at most.
pub(super) const HELD: u32 = 10_000;
/// Alerts that are read at once.
const BATCH: u32 = 50;
/// Bytes of a webhook's secret at least, and of its file at most.
const SECRET_BYTES: (usize, usize) = (16, 4096);
/// Factors in one alert at most, and bytes of one.
const FACTORS_MAX: usize = 32;
const FACTOR_BYTES_MAX: usize = 500;
/// How often one is sent to somebody who refuses it for what it is.
const REFUSED_MAX: u32 = 5;
/// How long to wait at most before it is looked again whether there is something to tell.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A channel, ready.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Under which the store keeps what waits for it.
    pub(crate) name: String,
    target: Target,
    severity: Severity,
    events: Vec<SecurityEventKind>,
}

enum Target {
    Webhook { url: String, key: Box<hmac::Key> },
    Syslog { address: String },
    Stdout,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Webhook { url, .. } => f.debug_tuple("Webhook").field(url).finish(),
            Self::Syslog { address } => f.debug_tuple("Syslog").field(address).finish(),
            Self::Stdout => f.write_str("Stdout"),
        }
    }
}

/// Why one was not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    /// It would not be taken another time either.
    #[error("it was refused: {0}")]
    Refused(String),
    /// Another time.
    #[error("{0}")]
    Later(String),
}

impl Channel {
    /// Reads what the channel needs.
    ///
    /// # Errors
    /// When the file of its secret cannot be read, or holds too little.
    pub(super) fn open(settings: &AlertSettings) -> io::Result<Self> {
        let target = match &settings.target {
            AlertTarget::Webhook { url, secret_file } => {
                let told = |what: String| {
                    let place = secret_file.display();
                    io::Error::other(format!("`alerts.secret_file`: {place}: {what}"))
                };
                let secret = std::fs::read_to_string(secret_file)
                    .map_err(|error| told(error.to_string()))?;
                let secret = secret.trim();
                let (least, most) = SECRET_BYTES;
                if !(least..=most).contains(&secret.len()) {
                    return Err(told(format!(
                        "a secret has {least} to {most} characters; `openssl rand -hex 32` makes one"
                    )));
                }
                Target::Webhook {
                    url: url.clone(),
                    key: Box::new(hmac::Key::new(HMAC_SHA256, secret.as_bytes())),
                }
            }
            AlertTarget::Syslog { address } => Target::Syslog {
                address: address.clone(),
            },
            AlertTarget::Stdout => Target::Stdout,
        };
        Ok(Self {
            name: settings.name(),
            target,
            severity: settings.severity,
            events: settings.events.clone(),
        })
    }

    /// Whether it is to be told of something.
    pub(super) fn wants(&self, kind: SecurityEventKind, severity: Severity) -> bool {
        severity >= self.severity && self.events.contains(&kind)
    }

    async fn send(&self, app: &App, alert: &str, at: Timestamp) -> Result<(), NotTaken> {
        match &self.target {
            Target::Webhook { url, key } => {
                let now = app.inputs.clock.now();
                let headers = signed(key, alert, now).ok_or_else(|| {
                    NotTaken::Later("the signature is no text for a header".to_owned())
                })?;
                let body = alert.as_bytes().to_vec();
                let purpose = Purpose::Alerts(&self.name);
                let answer = app
                    .outbound
                    .post(purpose, url, "application/json", headers, body)
                    .await
                    .map_err(|error| NotTaken::Later(error.to_string()))?;
                match answer.status.as_u16() {
                    200..=299 => Ok(()),
                    status @ (400 | 413 | 415 | 422) => {
                        Err(NotTaken::Refused(format!("status {status}")))
                    }
                    status => Err(NotTaken::Later(format!("it answered with status {status}"))),
                }
            }
            Target::Syslog { address } => {
                let line = syslog::line(alert, at, app.public_url());
                let sent = syslog::datagram(address, line.as_bytes()).await;
                sent.map_err(|error| {
                    let why = format!("{address}: {error}");
                    if syslog::is_too_long(&error) {
                        NotTaken::Refused(why)
                    } else {
                        NotTaken::Later(why)
                    }
                })
            }
            Target::Stdout => {
                let line = format!("{alert}\n");
                let written = tokio::task::spawn_blocking(move || {
                    let mut out = io::stdout().lock();
                    out.write_all(line.as_bytes())?;
                    out.flush()
                });
                let written = written.await.map_err(io::Error::other);
                written
                    .and_then(|written| written)
                    .map_err(|error| NotTaken::Later(format!("standard output: {error}")))
            }
        }
    }
}

/// How urgent something is: an alert says so itself.
pub(super) fn severity(happened: &NewSecurityEvent, body: &Body) -> Severity {
    let is_urgent = match body {
        Body::Alert(alert) => return alert.severity,
        Body::SessionRevoked => {
            matches!(happened.initiator, Initiator::Policy | Initiator::System)
        }
        Body::RiskLevelChange(body) => body.current_level == RiskLevel::High,
        Body::DeviceComplianceChange(body) => body.current_status == Compliance::NotCompliant,
        Body::AccountStatusChange(body) => body.status != AccountStatus::Enabled,
        _ => false,
    };
    if is_urgent {
        Severity::Medium
    } else {
        Severity::Low
    }
}

/// What is told, JSON (G12). The same `id` is the same alert.
pub(super) fn written(row: &SecurityEventRow, body: &Body, severity: Severity) -> String {
    let happened = &row.event;
    let kind = happened.kind.as_str();
    let mut alert = json!({
        "version": VERSION,
        "id": format!("sev_{}", row.number),
        "type": kind,
        "severity": severity.as_str(),
        "timestamp": wire::time::format(happened.at),
        "why": happened.why,
        "initiator": happened.initiator.as_str(),
        "by": happened.by,
    });
    let mut put = |name: &str, value: Value| {
        if let Some(members) = alert.as_object_mut() {
            members.insert(name.to_owned(), value);
        }
    };
    if let Some(subject) = &happened.subject {
        put(
            "subject",
            json!({"type": subject.kind.as_str(), "id": subject.id.as_str()}),
        );
    }
    if let Some(session) = &happened.session_id {
        put("session_id", json!(session));
    }
    if let Some(device) = &happened.device_id {
        put("device_id", json!(device));
    }
    if let Body::Alert(body) = body {
        let factors = body.factors.iter().take(FACTORS_MAX);
        let factors: Vec<&str> = factors.map(|factor| cut(factor)).collect();
        let policies: Vec<&String> = body.policies.iter().take(FACTORS_MAX).collect();
        put("type", json!(body.alert));
        put("factors", json!(factors));
        put("done", json!(body.done));
        put("policies", json!(policies));
        if let Some(id) = &body.decision_id {
            put("decision_id", json!(id));
        }
        if let Some(score) = body.score {
            put("score", json!(score));
        }
    } else if let Some(data) = happened.body.as_deref() {
        // It was read before; a body that is no JSON has got nobody here.
        put("data", serde_json::from_str(data).unwrap_or_default());
    }
    alert.to_string()
}

fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(FACTOR_BYTES_MAX);
    text.get(..end).unwrap_or(text)
}

/// `Portreeve-Signature: t=SECONDS,v1=HEX`: HMAC-SHA256 over the seconds, a dot and the body, so
/// that what was sent once cannot be sent again later by somebody else.
fn signed(key: &hmac::Key, body: &str, now: Timestamp) -> Option<HeaderMap> {
    let seconds = now.seconds();
    let tag = hmac::sign(key, format!("{seconds}.{body}").as_bytes());
    let value = format!("t={seconds},v1={}", hex::encode(tag.as_ref()));
    let mut headers = HeaderMap::new();
    headers.insert(
        HeaderName::from_static("portreeve-signature"),
        HeaderValue::from_str(&value).ok()?,
    );
    Some(headers)
}

/// Tells a channel what waits for it, for ever.
pub(crate) async fn tell_channel(app: Arc<App>, position: usize) {
    let Some(channel) = app.telling.channels.get(position) else {
        return;
    };
    let mut failures: u32 = 0;
    let mut refused: u32 = 0;
    loop {
        let news = app.telling.waiting.notified();
        let told = tell_all(&app, channel, &mut refused).await;
        match told {
            Ok(()) => {
                failures = 0;
                // Woken when something is there; the rest is for what another run left.
                let _ = timeout(LOOK_EVERY, news).await;
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                app.metrics.telling.failed("alert");
                tracing::warn!(channel = channel.name, %error, failures, "an alert was not taken; it is tried again");
                sleep(backoff(failures, &*app.inputs.randomness)).await;
            }
        }
    }
}

async fn tell_all(app: &App, channel: &Channel, refused: &mut u32) -> Result<(), NotTaken> {
    let store = app.state.store();
    let later = |error: store::sqlite::StoreError| NotTaken::Later(error.to_string());
    loop {
        let rows = store.alerts(&channel.name, BATCH).await.map_err(later)?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            match channel.send(app, &row.body, row.at).await {
                Ok(()) => app.metrics.telling.told("alert", 1),
                Err(NotTaken::Refused(why)) if *refused + 1 >= REFUSED_MAX => {
                    app.metrics.telling.lost("alert", 1);
                    tracing::error!(
                        channel = channel.name,
                        why,
                        alert = row.body,
                        "an alert was refused again and again, and is let go"
                    );
                }
                Err(error) => {
                    if matches!(error, NotTaken::Refused(_)) {
                        *refused += 1;
                    }
                    return Err(error);
                }
            }
            *refused = 0;
            store
                .alerts_told(&channel.name, row.number)
                .await
                .map_err(later)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::EntityRef;

    use super::*;
    use crate::telling::body::Alert;

    fn row(body: &Body) -> SecurityEventRow {
        SecurityEventRow {
            number: 7,
            event: NewSecurityEvent {
                at: Timestamp::from_seconds(1_795_215_660),
                kind: body.kind(),
                subject: Some(EntityRef::new("User", "alice").unwrap()),
                session_id: Some("ses_1".to_owned()),
                device_id: None,
                initiator: Initiator::Policy,
                by: "engine".to_owned(),
                why: "Risk threshold exceeded".to_owned(),
                body: body.to_text(),
                record: None,
            },
        }
    }

    #[test]
    fn m7_m16_an_alert_says_how_urgent_it_is_why_and_what_was_done() {
        let body = Body::Alert(Alert {
            alert: "risk-threshold".to_owned(),
            severity: Severity::High,
            decision_id: Some("dec_1".to_owned()),
            score: Some(91),
            factors: vec!["Paris to Osaka in 2 h 18 min".to_owned(), "é".repeat(400)],
            done: "session ended".to_owned(),
            policies: Vec::new(),
        });
        let row = row(&body);
        let written = written(&row, &body, severity(&row.event, &body));
        let read: Value = serde_json::from_str(&written).unwrap();
        for (name, wanted) in [
            ("version", json!("1.0")),
            ("id", json!("sev_7")),
            ("type", json!("risk-threshold")),
            ("severity", json!("high")),
            ("timestamp", json!("2026-11-20T23:01:00.000Z")),
            ("subject", json!({"type": "User", "id": "alice"})),
            ("session_id", json!("ses_1")),
            ("decision_id", json!("dec_1")),
            ("score", json!(91)),
            ("done", json!("session ended")),
            ("why", json!("Risk threshold exceeded")),
        ] {
            assert_eq!(read[name], wanted, "{name}");
        }
        assert_eq!(read["factors"][0], "Paris to Osaka in 2 h 18 min");
        assert_eq!(read["factors"][1].as_str().unwrap().len(), FACTOR_BYTES_MAX);
    }

    #[test]
    fn m16_a_webhook_is_signed_with_its_time() {
        let key = hmac::Key::new(HMAC_SHA256, b"0123456789abcdef");
        let headers = signed(&key, "{}", Timestamp::from_seconds(1_795_215_660)).unwrap();
        let value = headers["portreeve-signature"].to_str().unwrap();
        let (time, tag) = value.split_once(",v1=").unwrap();
        assert_eq!(time, "t=1795215660");
        let tag = hex::decode(tag).unwrap();
        hmac::verify(&key, b"1795215660.{}", &tag).unwrap();
    }

    #[test]
    fn a_channel_hears_what_is_urgent_enough_and_of_its_kinds() {
        let channel = |severity, events: &[SecurityEventKind]| Channel {
            name: "stdout".to_owned(),
            target: Target::Stdout,
            severity,
            events: events.to_vec(),
        };
        use SecurityEventKind as Kind;
        let alerts = channel(Severity::Medium, &[Kind::Alert]);
        assert!(alerts.wants(Kind::Alert, Severity::High));
        assert!(alerts.wants(Kind::Alert, Severity::Medium));
        assert!(!alerts.wants(Kind::Alert, Severity::Low));
        assert!(!alerts.wants(Kind::SessionRevoked, Severity::High));
        let row = row(&Body::SessionRevoked);
        assert_eq!(
            severity(&row.event, &Body::SessionRevoked),
            Severity::Medium
        );
    }
}
