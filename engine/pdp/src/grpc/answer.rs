//! A reply as Envoy takes it. Pure.

use std::collections::HashMap;

use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use envoy_types::pb::envoy::config::core::v3::{HeaderValue as Header, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{BoolValue, ListValue, Struct, Value};
use envoy_types::pb::google::rpc;
use gateway::Reply;
use tonic::Code;

use crate::gateways::Told;

/// What a check is answered with. `strip` is taken off the client's request if it is let through.
pub(super) fn response(reply: Reply, told: Option<&Told>, strip: &[HeaderName]) -> CheckResponse {
    // INVARIANT: what has no code is an OK to Envoy, so there is always one.
    let code = code(reply.status);
    let status = rpc::Status {
        code: code.into(),
        message: reply
            .status
            .canonical_reason()
            .unwrap_or_default()
            .to_owned(),
        details: Vec::new(),
    };
    let response = match code {
        Code::Ok => HttpResponse::OkResponse(passed(&reply.headers, strip)),
        _ => HttpResponse::DeniedResponse(denied(reply)),
    };
    CheckResponse {
        status: Some(status),
        dynamic_metadata: told.map(metadata),
        http_response: Some(response),
    }
}

/// The gRPC code of a status. Envoy heeds whether it is OK; the rest is for its log and for
/// people who ask by hand.
fn code(status: StatusCode) -> Code {
    match status {
        StatusCode::OK => Code::Ok,
        StatusCode::BAD_REQUEST | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            Code::InvalidArgument
        }
        StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        status if status.is_redirection() => Code::Unauthenticated,
        status if status.is_server_error() => Code::Unavailable,
        _ => Code::PermissionDenied,
    }
}

fn passed(headers: &HeaderMap, strip: &[HeaderName]) -> OkHttpResponse {
    let mut response = OkHttpResponse {
        headers_to_remove: strip.iter().map(ToString::to_string).collect(),
        ..OkHttpResponse::default()
    };
    for (name, value) in headers {
        if name == SET_COOKIE {
            // Beside the cookies of the app, and in no cache that others share.
            let kept = HeaderValue::from_static("private");
            let added = [(name, value), (&CACHE_CONTROL, &kept)];
            let added = added.map(|(name, value)| option(name, value, true));
            response
                .response_headers_to_add
                .extend(added.into_iter().flatten());
        } else if name != CACHE_CONTROL {
            // That one is for whoever would keep this answer; it is not the client's to the app.
            match option(name, value, false) {
                Some(option) => response.headers.push(option),
                // INVARIANT: nothing of the client's stays where something else was to stand: with
                // its own `Cookie` the app would get the session.
                None => response.headers_to_remove.push(name.to_string()),
            }
        }
    }
    response
}

fn denied(reply: Reply) -> DeniedHttpResponse {
    let mut headers = Vec::new();
    for name in reply.headers.keys() {
        for (number, value) in reply.headers.get_all(name).iter().enumerate() {
            headers.extend(option(name, value, number > 0));
        }
    }
    DeniedHttpResponse {
        status: Some(HttpStatus {
            code: i32::from(reply.status.as_u16()),
        }),
        headers,
        body: reply.body.unwrap_or_default(),
    }
}

/// A header to be set, or to be added to what is there. None: it is not text, which Envoy takes
/// alone. All are but `Cookie`, in which the client's bytes are.
fn option(name: &HeaderName, value: &HeaderValue, append: bool) -> Option<HeaderValueOption> {
    #[expect(
        deprecated,
        reason = "Envoy heeds it before `append_action`, which older ones do not know"
    )]
    let option = HeaderValueOption {
        header: Some(Header {
            key: name.to_string(),
            value: std::str::from_utf8(value.as_bytes()).ok()?.to_owned(),
            raw_value: Vec::new(),
        }),
        append: Some(BoolValue { value: append }),
        append_action: 0,
        keep_empty_value: true,
    };
    Some(option)
}

/// What Envoy's access log and its later filters can read: `%DYNAMIC_METADATA(envoy.filters.http.
/// ext_authz:outcome)%`.
fn metadata(told: &Told) -> Struct {
    let subject = &told.subject;
    let policies = told.policies.iter().map(|policy| value(text(policy)));
    let policies = ListValue {
        values: policies.collect(),
    };
    let mut fields = vec![
        ("outcome", text(told.outcome.as_str())),
        ("decision_id", text(&told.decision_id)),
        (
            "subject",
            text(&format!("{}::{}", subject.kind, subject.id)),
        ),
        ("policies", Kind::ListValue(policies)),
    ];
    fields.extend(told.session.as_deref().map(|id| ("session", text(id))));
    if let (Some(score), Some(level)) = (told.score, told.level) {
        let risk = [
            ("score", Kind::NumberValue(f64::from(score))),
            ("level", text(level)),
        ];
        fields.push(("risk", Kind::StructValue(record(risk))));
    }
    record(fields)
}

fn record(fields: impl IntoIterator<Item = (&'static str, Kind)>) -> Struct {
    let fields = fields.into_iter();
    let fields: HashMap<String, Value> = fields
        .map(|(name, kind)| (name.to_owned(), value(kind)))
        .collect();
    Struct { fields }
}

fn text(text: &str) -> Kind {
    Kind::StringValue(text.to_owned())
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests;
