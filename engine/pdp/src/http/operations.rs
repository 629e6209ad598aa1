//! For those who run the engine: is it alive, is it fit to decide, what does it measure.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::authn::Authenticated;
use crate::access::Permission;
use crate::app::App;

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> Response {
    ([(CONTENT_TYPE, "application/json")], r#"{"status":"ok"}"#).into_response()
}

/// Whether it is fit to decide, as `/readyz` says.
pub(crate) fn is_ready(app: &App) -> bool {
    let model_fault = app.models.faults().champion.is_some();
    let is_stale = app.live.stale().is_some() || app.tls.fault().is_some();
    !is_stale && app.state.failing_since().is_none() && !model_fault
}

/// `GET /readyz`: whether it is fit to decide, and if not, why. A reload that failed shows here
/// at once; the engine still decides by what it had, until that is too old.
///
/// Probes have no key. The faults themselves quote policies and name files, so they are for
/// callers with one.
pub(super) async fn readyz(State(app): State<Arc<App>>, asker: Option<Authenticated>) -> Response {
    let may_see = asker.is_some_and(|asker| asker.require(Permission::SeeAdminReason).is_ok());
    let now = app.inputs.clock.now();
    let stale = app.live.stale();
    let failing = app.state.failing_since();
    let snapshot = app.live.current();
    let denying = snapshot.deny_from.is_some_and(|from| now >= from) || app.state.has_given_up(now);
    let model_fault = app.models.faults().champion.clone();
    let door = app.tls.fault();
    let ready = is_ready(&app);
    let body = serde_json::json!({
        "status": if denying { "denying" } else if ready { "ready" } else { "degraded" },
        "policies": {
            "revision": &*snapshot.revisions.policies,
            "count": snapshot.policies.len(),
            "stale_since": stale.as_ref().map(|stale| wire::time::format(stale.since)),
            "deny_from": snapshot.deny_from.map(wire::time::format),
            "fault_count": stale.as_ref().map_or(0, |stale| stale.faults.len()),
            "faults": may_see.then(|| stale.map(|stale| stale.faults).unwrap_or_default()),
        },
        "model": &*snapshot.revisions.model,
        "model_fault": model_fault.filter(|_| may_see),
        "tls": {
            "stale_since": door.as_ref().map(|fault| wire::time::format(fault.since)),
            "fault": door.map(|fault| fault.why).filter(|_| may_see),
        },
        "store": { "failing_since": failing.map(wire::time::format) },
        // No reason not to decide: new records are as good as ever.
        "journal": { "damaged_since": app.journal_damaged_since().map(wire::time::format) },
        // Nor this, for as long as the key that signs may sign.
        "signing_keys": { "failing_since": app.signing.failing_since().map(wire::time::format) },
        // Nor this: only replay will miss it.
        "archive": { "failing_since": app.archive.failing_since().map(wire::time::format) },
    });
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        [(CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

/// `GET /metrics`, in Prometheus's text form.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let now = app.inputs.clock.now();
    let age = app
        .live
        .stale()
        .map_or(0, |stale| now.whole_seconds_since(stale.since));
    let page = app.metrics.text(age, app.state.sessions_held());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], page).into_response()
}
