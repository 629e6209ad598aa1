//! `/ssf/subjects/add` and `/ssf/subjects/remove`: of whom a stream hears (SSF 1.0 §8.1.3). The
//! answer is the same whether or not anybody is known by that name.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use ssf::Subject;

use super::{empty, failed, find};
use crate::access::Permission;
use crate::app::App;
use crate::http::Problem;
use crate::http::authn::Authenticated;
use crate::http::authzen::read_object;
use crate::http::to_the_end::to_the_end;

#[derive(Debug, Deserialize)]
struct Named {
    stream_id: String,
    subject: Subject,
}

const FORM: &str =
    r#"{"stream_id": …, "subject": {"format": "email", "email": …} or another of RFC 9493}"#;

/// `POST /ssf/subjects/add`: 200, empty.
pub(in crate::http) async fn add(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    put(app, asker, request, true).await?;
    Ok(empty(StatusCode::OK))
}

/// `POST /ssf/subjects/remove`: 204.
pub(in crate::http) async fn remove(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    put(app, asker, request, false).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn put(
    app: Arc<App>,
    asker: Authenticated,
    request: Request,
    is_added: bool,
) -> Result<(), Problem> {
    asker.require(Permission::ManageStreams)?;
    let named: Named = read_object(&app, request, FORM).await?;
    let wrong = |why: &str| Problem::malformed(format!("`subject`: {why}"));
    if named.subject == Subject::Unknown {
        return Err(wrong("its `format` is not known here"));
    }
    let checked = named.subject.check();
    checked.map_err(|why| wrong(&why.to_string()))?;
    let work = async move { put_now(&app, &asker, named, is_added).await };
    to_the_end("a subject of a stream", work).await?
}

async fn put_now(
    app: &App,
    asker: &Authenticated,
    named: Named,
    is_added: bool,
) -> Result<(), Problem> {
    let _alone = app.telling.registry.alone().await;
    let held = find(app, asker, &named.stream_id)?;
    // Text alone: it cannot fail.
    let written = serde_json::to_string(&named.subject).unwrap_or_default();
    let store = app.state.store();
    // Kept are those who are not as everybody is.
    if is_added == held.row.hears_all {
        let dropped = store.drop_stream_subject(&held.row.id, &written).await;
        dropped.map_err(|error| failed(&error))?;
    } else {
        let most = app.settings.ssf.subjects;
        let put = store.put_stream_subject(&held.row.id, &written, is_added, most);
        if !put.await.map_err(|error| failed(&error))? {
            return Err(Problem::conflict(format!(
                "the stream names {most} subjects, as many as it may"
            )));
        }
    }
    let rows = store.subjects_of_stream(&held.row.id).await;
    let rows = rows.map_err(|error| failed(&error))?;
    app.telling.put_stream(held.with_subjects(rows));
    Ok(())
}
