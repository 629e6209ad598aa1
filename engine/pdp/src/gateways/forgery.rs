//! Pages of other origins that act with the session cookie of whoever looks at them (F22).
//!
//! `SameSite=Lax` keeps the cookie from pages of other sites; a neighbouring host is of the same
//! site. Browsers say in `Origin` which page sends what changes something.

use axum::http::header::{ORIGIN, UPGRADE};
use axum::http::{HeaderName, Method};
use gateway::{Door, Question, original};

use super::subject::{Resolved, Session};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const REFUSED: &str = "a page of another origin sent it; the app's own pages may";

/// Why a request is refused that a page of another origin sent with somebody's session cookie. What
/// only reads is let through (no page can read the answer without the app's leave), but for
/// connections that go on (`Upgrade`), which have no such rule. A client that says nothing of origins
/// is none in which pages run.
pub(super) fn found(
    door: &Door,
    question: &Question<'_>,
    known: &Resolved,
) -> Option<&'static str> {
    let is_by_cookie = matches!(known.session, Some(Session::Handle(_)));
    let (original, headers) = (question.original, question.headers);
    let only_reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&original.method)
        && !headers.contains_key(UPGRADE);
    if !is_by_cookie || only_reads {
        return None;
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    let is_fine = match (origins.next(), origins.next()) {
        (None, _) => headers
            .get(SEC_FETCH_SITE)
            .is_none_or(|site| site == "same-origin" || site == "none"),
        (Some(origin), None) => {
            origin
                .to_str()
                .ok()
                .and_then(original::origin)
                .is_some_and(|origin| {
                    origin.1 == original.origin().1 || door.credentials.origins.contains(&origin)
                })
        }
        (Some(_), Some(_)) => false,
    };
    (!is_fine).then_some(REFUSED)
}
