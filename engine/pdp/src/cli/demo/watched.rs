//! After the day, now: a session is opened, its laptop is reported stolen, the monitor ends the
//! session in the middle of its life, and another system hears of it (CAEP 1.0). Over real
//! sockets, as an identity provider or an application would.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};
use token::keys::admit_jwks;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::timeout;

use super::client::Client;
use super::{Desk, Failure};
use crate::access::Role;
use crate::app::App;
use crate::cli::output::table;
use crate::outbound::Allowed;

/// What the session's end is told as.
const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
/// How long the receiver waits.
const PATIENCE: Duration = Duration::from_secs(20);
/// Tokens that wait to be looked at.
const WAITING_MAX: usize = 100;

/// Another system that hears of what happens.
#[derive(Debug)]
pub(super) struct Listening {
    address: SocketAddr,
    came: Receiver<String>,
}

impl Listening {
    /// Listens on a free port of this machine.
    pub(super) async fn open() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (sender, came) = channel(WAITING_MAX);
        let take = async move |token: String| {
            // Taken is what somebody will look at.
            match sender.send(token).await {
                Ok(()) => StatusCode::ACCEPTED,
                Err(_) => StatusCode::SERVICE_UNAVAILABLE,
            }
        };
        let router = Router::new().route("/events", post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, came })
    }

    /// So that the engine may call it, although it is on this machine.
    pub(super) fn allowed(&self) -> Option<Allowed> {
        Allowed::parse(&self.address.to_string())
    }

    /// The claims of the next token about a session, its signature verified by the keys that the
    /// transmitter publishes.
    async fn hear_of(&mut self, client: &Client, session: &str) -> Result<Option<Value>, Failure> {
        let Ok(Some(token)) = timeout(PATIENCE, self.came.recv()).await else {
            return Ok(None);
        };
        let (_, keys) = client.call("GET", "/.well-known/jwks.json", None).await?;
        let claims = verified(&token, &keys.to_string())
            .ok_or_else(|| Failure::No("the token's signature does not hold".to_owned()))?;
        let about = claims.pointer("/sub_id/session/id");
        Ok((about == Some(&json!(session))).then_some(claims))
    }
}

fn verified(token: &str, jwks: &str) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let decoded = |part: &str| data_encoding::BASE64URL_NOPAD.decode(part.as_bytes()).ok();
    let header: Value = serde_json::from_slice(&decoded(header)?).ok()?;
    let keys = admit_jwks(jwks).ok()?;
    let kid = header.get("kid")?.as_str()?;
    let key = keys.keys().iter().find(|key| key.kid() == kid)?;
    let holds = key.verify(signed.as_bytes(), &decoded(signature)?);
    let claims = decoded(claims).filter(|_| holds)?;
    serde_json::from_slice(&claims).ok()
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Watched {
    rows: Vec<(u128, String)>,
    /// For programs.
    pub(super) report: Value,
    /// What did not go as it must.
    pub(super) wrong: Option<String>,
}

impl Watched {
    /// A line for each thing that happened, with milliseconds from the report on.
    pub(super) fn text(&self) -> String {
        let mut rows = table(&["ms", "now, after the day"]);
        for (at, what) in &self.rows {
            rows.add_row([at.to_string(), what.clone()]);
        }
        rows.to_string()
    }
}

/// Plays it.
pub(super) async fn watch(
    app: &Arc<App>,
    address: SocketAddr,
    listening: &mut Listening,
    (who, desk): (&str, &Desk),
) -> Result<Watched, Failure> {
    let with_key = async |name: &str, role: Role| {
        let made = app.create_key(name, role).await.map_err(Failure::unable)?;
        Ok::<_, Failure>(Client::new(address, &made.key))
    };
    let gateway = with_key("demo-gateway", Role::Gateway).await?;
    let devices = with_key("demo-devices", Role::Operator).await?;
    let receiver = with_key("demo-receiver", Role::Receiver).await?;
    let stream = json!({
        "description": "the demo's other system",
        "events_requested": [REVOKED],
        "delivery": {
            "method": "urn:ietf:rfc:8935",
            "endpoint_url": format!("http://{}/events", listening.address),
        },
    });
    let made = receiver.call("POST", "/ssf/streams", Some(&stream)).await?;
    wanted(&made, StatusCode::CREATED)?;

    let now = wire::time::format(app.inputs.clock.now());
    let context = json!({
        "ip": desk.ip,
        "user_agent": desk.user_agent,
        "device": {"id": desk.device},
        "assurance": {"level": 3, "auth_time": now},
    });
    let opening = json!({
        "subject": {"type": "User", "id": who},
        "context": context,
    });
    let opened = gateway.call("POST", "/v1/sessions", Some(&opening)).await?;
    wanted(&opened, StatusCode::CREATED)?;
    let word = |value: &Value, place: &str| {
        let word = value.pointer(place).and_then(Value::as_str);
        word.unwrap_or_default().to_owned()
    };
    let session = word(&opened.1, "/id");
    let question = json!({
        "subject": {"type": "User", "id": who},
        "action": {"name": "read"},
        "resource": {"type": "Document", "id": "handbook"},
        "context": {
            "ip": desk.ip,
            "user_agent": desk.user_agent,
            "device": {"id": desk.device},
            "session_id": word(&opened.1, "/handle"),
        },
    });
    let ask = async || {
        let answer = gateway
            .call("POST", "/access/v1/evaluation", Some(&question))
            .await?;
        wanted(&answer, StatusCode::OK)?;
        Ok::<_, Failure>(answer.1)
    };
    let before = word(&ask().await?, "/context/outcome");
    let mut seen = Watched::default();
    let tier = word(&opened.1, "/tier");
    seen.rows.push((
        0,
        format!("{who} has a session, {session}, tier {tier}, and reads the handbook: {before}"),
    ));

    let path = format!("/v1/devices/{}", desk.device);
    let stolen = json!({"owner": {"type": "User", "id": who}, "revoked": true});
    let started = Instant::now();
    let written = devices.call("PUT", &path, Some(&stolen)).await?;
    wanted(&written, StatusCode::NO_CONTENT)?;
    let at = started.elapsed().as_millis();
    let what = format!(
        "device management reports the laptop stolen: {}",
        desk.device
    );
    seen.rows.push((at, what));
    let heard = listening.hear_of(&receiver, &session).await?;
    let heard_after = started.elapsed().as_millis();
    let after = word(&ask().await?, "/context/outcome");
    let path = format!("/v1/sessions/{session}");
    let shown = gateway.call("GET", &path, None).await?;
    let ended_reason = word(&shown.1, "/ended_reason");
    seen.rows.push((
        heard_after,
        format!("the monitor has ended the session: {ended_reason}"),
    ));
    let event = heard.as_ref().and_then(|claims| claims.get("events"));
    if let Some(claims) = &heard {
        seen.rows.push((
            heard_after,
            format!(
                "another system hears of it, signed: session-revoked of {}, because: {}",
                word(claims, "/sub_id/user/sub"),
                event
                    .and_then(|event| event.get(REVOKED))
                    .map(|event| word(event, "/reason_admin/en"))
                    .unwrap_or_default(),
            ),
        ));
    }
    let last = started.elapsed().as_millis();
    seen.rows
        .push((last, format!("{who} reads the handbook: {after}")));
    let is_good = heard.is_some() && before == "allow" && after == "deny";
    if !is_good {
        seen.wrong = Some(format!(
            "the session of a stolen laptop: {before} before, {after} after, {}",
            if heard.is_some() {
                "heard"
            } else {
                "not heard"
            }
        ));
    }
    seen.report = json!({
        "as_it_must": is_good,
        "session": session,
        "tier": tier,
        "before": before,
        "after": after,
        "ended_reason": ended_reason,
        "heard": heard,
        "heard_after_ms": u64::try_from(heard_after).unwrap_or(u64::MAX),
    });
    Ok(seen)
}

fn wanted((status, body): &(StatusCode, Value), wanted: StatusCode) -> Result<(), Failure> {
    if *status == wanted {
        return Ok(());
    }
    Err(Failure::Unable(format!(
        "the engine answered {status}: {body}"
    )))
}
