//! Routes that no request reaches, because others before them take all that they are for; and
//! those that some requests do not reach that the author may have meant for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::Method;

use super::index::Index;
use super::{Case, Route, Wanted};
use crate::host::HostPattern;

/// The most routes that a warning names.
const NAMED_MAX: usize = 5;

/// For each route that is never reached, a sentence.
pub(super) fn unreachable(routes: &[Arc<Route>], case: Case) -> Vec<String> {
    let index = Index::of(routes, case);
    let mut faults = Vec::new();
    for (number, route) in routes.iter().enumerate() {
        let Some(takers) = takers(routes, &index, case, number) else {
            continue;
        };
        let names: Vec<String> = takers
            .iter()
            .filter_map(|taker| routes.get(*taker))
            .map(|taker| format!("`{}`", taker.name))
            .collect();
        faults.push(format!(
            "`{}`: `{}` is never reached: {} before it take all its requests; move it up, or take \
             it out",
            route.place,
            route.name,
            names.join(", ")
        ));
    }
    faults
}

/// For each route of which others for more paths take some methods, a sentence.
pub(super) fn shadowed(routes: &[Arc<Route>], case: Case) -> Vec<String> {
    let index = Index::of(routes, case);
    let mut warnings = Vec::new();
    for (number, route) in routes.iter().enumerate() {
        let before = hosts(route)
            .flat_map(|host| index.covering(host, route))
            .filter(|other| *other < number)
            .filter_map(|other| routes.get(other));
        let taker = before
            .filter(|other| !route.covers(other, case) && conditions_follow(other, route))
            .find(|other| {
                let mut methods = other.methods.iter();
                methods.any(|method| route.takes(method))
            });
        let Some(taker) = taker else { continue };
        let taken = taker.methods.iter().filter(|method| route.takes(method));
        let taken: Vec<&str> = taken.map(Method::as_str).collect();
        warnings.push(format!(
            "`{}`: {} of `{}` is decided by `{}` before it, which is for more paths; move it up",
            route.place,
            taken.join(", "),
            route.name,
            taker.name
        ));
    }
    warnings
}

/// What a caller's own routes, the first `own` of `routes`, take of those of all that they are not
/// the same as.
pub(crate) fn across(
    routes: &[Arc<Route>],
    own: usize,
    case: Case,
    place: &str,
    warnings: &mut Vec<String>,
) {
    let index = Index::of(routes, case);
    let mut taken: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (number, route) in routes.iter().enumerate().skip(own) {
        let takers = takers(routes, &index, case, number).unwrap_or_default();
        let wider = takers.into_iter().find(|taker| {
            let taker = routes.get(*taker).filter(|_| *taker < own);
            taker.is_some_and(|taker| !route.covers(taker, case))
        });
        if let Some(taker) = wider {
            taken.entry(taker).or_default().push(&route.name);
        }
    }
    for (taker, names) in taken {
        let Some(taker) = routes.get(taker) else {
            continue;
        };
        warnings.push(format!(
            "`{place}`: its `{}` takes all requests of {} in `gateway.routes`; set \
             `only_own_routes = true` where that is meant",
            taker.name,
            listed(&names)
        ));
    }
}

/// The names of routes; of many, how many more.
pub(super) fn listed(names: &[&str]) -> String {
    let named = names.iter().take(NAMED_MAX);
    let named: Vec<String> = named.map(|name| format!("`{name}`")).collect();
    let more = match names.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    named.join(", ") + &more
}

pub(super) fn hosts(route: &Route) -> impl Iterator<Item = Option<&HostPattern>> {
    let any = route.hosts.is_empty().then_some(None);
    any.into_iter().chain(route.hosts.iter().map(Some))
}

/// Who takes each pair of host and method of a route before it. None: something is left for it.
fn takers(
    routes: &[Arc<Route>],
    index: &Index,
    case: Case,
    number: usize,
) -> Option<BTreeSet<usize>> {
    let route = routes.get(number)?;
    let methods: Vec<Option<&Method>> = match route.methods.as_slice() {
        [] => vec![None],
        methods => methods.iter().map(Some).collect(),
    };
    let mut takers = BTreeSet::new();
    for host in hosts(route) {
        let before: Vec<usize> = index
            .covering(host, route)
            .into_iter()
            .take_while(|other| *other < number)
            .collect();
        for method in &methods {
            let taker = before.iter().find(|at| {
                routes.get(**at).is_some_and(|other| {
                    let takes = match method {
                        Some(method) => other.takes(method),
                        None => other.methods.is_empty(),
                    };
                    takes
                        && conditions_follow(other, route)
                        && !is_kept_off(other, route, routes.get(..**at), case)
                })
            });
            takers.insert(*taker?);
        }
    }
    Some(takers)
}

/// Whether a route without methods leaves some requests of `route` alone, since one before it names
/// the methods of their paths.
fn is_kept_off(other: &Route, route: &Route, before: Option<&[Arc<Route>]>, case: Case) -> bool {
    let mut before = before.unwrap_or_default().iter();
    other.methods.is_empty()
        && before.any(|guard| {
            !guard.methods.is_empty()
                && guard.path.meets(&route.path, case)
                && !guard.covers(other, case)
        })
}

/// Whether a request that meets the conditions of `route` meets those of `other` too.
fn conditions_follow(other: &Route, route: &Route) -> bool {
    fn all<N: PartialEq>(wanted: &[(N, Wanted)], given: &[(N, Wanted)]) -> bool {
        wanted.iter().all(|(name, wanted)| {
            given
                .iter()
                .any(|(known, given)| known == name && wanted.follows_from(given))
        })
    }
    all(&other.headers, &route.headers) && all(&other.claims, &route.claims)
}

impl Wanted {
    fn follows_from(&self, given: &Self) -> bool {
        match (self, given) {
            (Self::Present, _) => true,
            (Self::AnyOf(_), Self::Present) => false,
            (Self::AnyOf(wanted), Self::AnyOf(given)) => {
                given.iter().all(|one| wanted.contains(one))
            }
        }
    }
}
