//! What an app may read otherwise than the engine can see: a method in a form, a format behind a
//! name. Nobody can refuse that here, so whoever writes the routes is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::Name;
use http::Method;

use super::index::Index;
use super::reach::{hosts, listed};
use super::{Case, Piece, Route, SubjectRule};

/// The methods that Rails, Laravel and others take from a form's body in place of `POST`.
const BY_FORM: [Method; 3] = [Method::PUT, Method::PATCH, Method::DELETE];

/// Where a form may have the app do by `POST` what is decided otherwise, a sentence.
pub(crate) fn by_form(routes: &[Arc<Route>], case: Case, place: &str) -> Option<String> {
    let index = Index::of(routes, case);
    let differs = |route: &Route| {
        let posts: Vec<_> = hosts(route)
            .flat_map(|host| index.covering(host, route))
            .filter_map(|number| routes.get(number))
            // One without methods takes none of a path for which another names some.
            .filter(|post| {
                let is_same = post.methods.is_empty() && route.covers(post, case);
                is_same || post.methods.contains(&Method::POST)
            })
            .map(|post| asks(post, &Method::POST))
            .collect();
        let mut taken = BY_FORM.iter().filter(|method| route.takes(method));
        taken.any(|method| posts.iter().any(|post| *post != asks(route, method)))
    };
    let differing = routes.iter().filter(|route| differs(route));
    let names: Vec<&str> = differing.map(|route| &*route.name).collect();
    (!names.is_empty()).then(|| {
        format!(
            "`{place}`: PUT, PATCH or DELETE of {} is another question than POST, and an app that \
             reads `_method` from a form (Rails and Laravel do) takes a POST for it: the engine \
             sees no bodies; turn it off in the app, then set `gateway.method_override` to say \
             that this is known",
            listed(&names)
        )
    })
}

/// What is asked, but for the ids.
fn asks<'r>(route: &'r Route, method: &Method) -> (Option<&'r Name>, &'r SubjectRule, &'r Name) {
    let action = route.action.of(method);
    (action, &route.subject, &route.resource_type)
}

/// For each route for anybody that takes the names of others with something behind them, a
/// sentence.
pub(super) fn by_format(routes: &[Arc<Route>], case: Case) -> Vec<String> {
    let index = Index::of(routes, case);
    let mut open: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (number, route) in routes.iter().enumerate() {
        let Some(beside) = beside(route).filter(|_| !route.is_for_anybody()) else {
            continue;
        };
        let taker = |at: &usize| routes.get(*at).filter(|taker| takes_some(taker, route));
        let takers: BTreeSet<usize> = hosts(route)
            .filter_map(|host| {
                let behind = index.covering(host, &beside).into_iter();
                behind
                    .filter(|at| *at > number)
                    .find(|at| taker(at).is_some())
            })
            .collect();
        for at in takers {
            if taker(&at).is_some_and(|taker| taker.is_for_anybody()) {
                open.entry(at).or_default().push(&route.name);
            }
        }
    }
    let sentence = |(taker, names): (usize, Vec<&str>)| {
        let taker = routes.get(taker)?;
        Some(format!(
            "`{}`: `{}`, for anybody, takes the paths of {} with a format behind them, such as \
             `.json`, and some apps (Rails, Spring) serve the same page there; give it paths of \
             its own, or turn formats off in the app",
            taker.place,
            taker.name,
            listed(&names)
        ))
    };
    open.into_iter().filter_map(sentence).collect()
}

/// The route's path with any name in place of its last: `/account.json` is one where `/account` is
/// another.
fn beside(route: &Route) -> Option<Route> {
    let Some((Piece::Literal(_), above)) = route.path.pieces.split_last() else {
        return None;
    };
    let mut beside = route.clone();
    beside.path.pieces = above.to_vec();
    beside.path.pieces.push(Piece::Capture(String::new()));
    beside.path.rest.is_none().then_some(beside)
}

/// Whether requests with a method of `route` go by `taker` where the path is its. A route that is
/// not for anybody and has conditions may leave them to the next.
fn takes_some(taker: &Route, route: &Route) -> bool {
    let mut methods = taker.methods.iter();
    let has_methods = taker.methods.is_empty()
        || route.methods.is_empty()
        || methods.any(|method| route.takes(method));
    let is_sure = taker.headers.is_empty() && taker.claims.is_empty();
    has_methods && (is_sure || taker.is_for_anybody())
}
