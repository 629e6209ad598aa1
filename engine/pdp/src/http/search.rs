//! `POST /access/v1/search/{subject,resource,action}` (AuthZEN 1.0 §8).

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use wire::Malformed;
use wire::search::Sought;

use super::Problem;
use super::authn::Authenticated;
use super::authzen::{json, read_json};
use super::guard::RequestId;
use crate::access::Permission;
use crate::app::App;
use crate::search::{SearchError, search};

/// Who may do this to that?
pub(super) async fn subject(
    app: State<Arc<App>>,
    id: Extension<RequestId>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    found(Sought::Subject, app, id, asker, request).await
}

/// What may they do this to?
pub(super) async fn resource(
    app: State<Arc<App>>,
    id: Extension<RequestId>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    found(Sought::Resource, app, id, asker, request).await
}

/// What may they do to that?
pub(super) async fn action(
    app: State<Arc<App>>,
    id: Extension<RequestId>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    found(Sought::Action, app, id, asker, request).await
}

async fn found(
    sought: Sought,
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::Evaluate)?;
    let body = read_json(&app, request).await?;
    let asked =
        wire::search::parse(&body, sought).map_err(|Malformed(why)| Problem::malformed(why))?;
    let found = search(&app, &asker.caller, asked, &id.to_text())
        .await
        .map_err(|why| match why {
            SearchError::Unanswered(why) => Problem::from(why),
            SearchError::Busy => Problem::unavailable(why.to_string()),
        })?;
    json(&found.view())
}
