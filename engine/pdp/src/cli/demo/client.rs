//! What a gateway does: ask, and tell of step-ups.

use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::Value;
use wire::Event;
use wire::event::WrittenEvent;

use super::Failure;

/// A caller of the engine.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    base: String,
    key: String,
}

/// What the demo looks at of an answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) outcome: String,
    pub(super) decision_id: String,
    pub(super) score: i64,
    pub(super) policies: Vec<String>,
    pub(super) reason_user: String,
    pub(super) reason_admin: String,
    pub(super) factors: Vec<Factor>,
    pub(super) cause: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Factor {
    pub(super) contribution: i64,
    pub(super) reason: String,
}

impl Answer {
    /// The level that a step-up would have to reach.
    pub(super) fn step_up_level(&self) -> Option<i64> {
        match self.outcome.as_str() {
            "challenge" => Some(2),
            "mfa" => Some(3),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct Raw {
    context: RawContext,
}

#[derive(Deserialize)]
struct RawContext {
    outcome: String,
    decision_id: String,
    risk: RawRisk,
    policies: Vec<String>,
    cause: String,
    reason_user: English,
    reason_admin: English,
}

#[derive(Deserialize)]
struct RawRisk {
    score: i64,
    factors: Vec<Factor>,
}

#[derive(Deserialize)]
struct English {
    en: String,
}

impl Client {
    pub(super) fn new(address: SocketAddr, key: &str) -> Self {
        Self {
            http: HttpClient::builder(TokioExecutor::new()).build_http(),
            base: format!("http://{address}"),
            key: key.to_owned(),
        }
    }

    /// Puts an event as a question, for the moment at which it happened.
    pub(super) async fn ask(&self, event: &Event) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(&WrittenEvent {
            event,
            as_question: true,
        })
        .map_err(Failure::unable)?;
        let (status, body) = self.post("/access/v1/evaluation", body).await?;
        if status != StatusCode::OK {
            return Err(Failure::Unable(format!(
                "the engine answered {status}: {}",
                String::from_utf8_lossy(&body)
            )));
        }
        let Raw { context } = serde_json::from_slice(&body).map_err(Failure::unable)?;
        Ok(Answer {
            outcome: context.outcome,
            decision_id: context.decision_id,
            score: context.risk.score,
            policies: context.policies,
            reason_user: context.reason_user.en,
            reason_admin: context.reason_admin.en,
            factors: context.risk.factors,
            cause: context.cause,
        })
    }

    /// Tells a fact that was observed.
    pub(super) async fn tell(&self, event: &Event) -> Result<(), Failure> {
        let body = serde_json::to_vec(&WrittenEvent {
            event,
            as_question: false,
        })
        .map_err(Failure::unable)?;
        let (status, body) = self.post("/v1/events", body).await?;
        if status.is_success() {
            return Ok(());
        }
        let what = String::from_utf8_lossy(&body);
        Err(Failure::Unable(format!(
            "the engine took no fact: {status}: {what}"
        )))
    }

    /// Tells that a step-up was passed.
    pub(super) async fn step_up(
        &self,
        decision_id: &str,
        level: i64,
        at: domain::Timestamp,
    ) -> Result<(), Failure> {
        let body = serde_json::json!({ "level": level, "time": wire::time::format(at) });
        let path = format!("/v1/decisions/{decision_id}/step-up");
        let (status, body) = self.post(&path, body.to_string().into_bytes()).await?;
        if status.is_success() {
            return Ok(());
        }
        let what = String::from_utf8_lossy(&body);
        Err(Failure::Unable(format!(
            "the engine took no step-up: {status}: {what}"
        )))
    }

    /// Calls the engine with JSON, and reads what it answers; nothing is null.
    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let method = method.parse().map_err(Failure::unable)?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let (status, answer) = self.send(method, path, body.into_bytes()).await?;
        Ok((status, serde_json::from_slice(&answer).unwrap_or_default()))
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> Result<(StatusCode, Bytes), Failure> {
        self.send(Method::POST, path, body).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(AUTHORIZATION, format!("Bearer {}", self.key))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(Failure::unable)?;
        let response = self.http.request(request).await.map_err(Failure::unable)?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(Failure::unable)?
            .to_bytes();
        Ok((status, body))
    }
}
