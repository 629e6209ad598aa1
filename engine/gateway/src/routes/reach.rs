//! Routes that no request reaches, because others before them take all that they are for.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::Method;

use super::index::Index;
use super::{Route, Wanted};

/// For each route that is never reached, a sentence.
pub(super) fn unreachable(routes: &[Arc<Route>]) -> Vec<String> {
    let index = Index::of(routes);
    let mut faults = Vec::new();
    for (number, route) in routes.iter().enumerate() {
        let Some(takers) = takers(routes, &index, number, route) else {
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

/// Who takes each pair of host and method of a route before it. None: something is left for it.
fn takers(
    routes: &[Arc<Route>],
    index: &Index,
    number: usize,
    route: &Route,
) -> Option<BTreeSet<usize>> {
    let hosts: Vec<_> = match route.hosts.as_slice() {
        [] => vec![None],
        hosts => hosts.iter().map(Some).collect(),
    };
    let methods: Vec<Option<&Method>> = match route.methods.as_slice() {
        [] => vec![None],
        methods => methods.iter().map(Some).collect(),
    };
    let mut takers = BTreeSet::new();
    for host in hosts {
        let before: Vec<usize> = index
            .covering(host, route)
            .into_iter()
            .take_while(|other| *other < number)
            .collect();
        for method in &methods {
            let taker = before.iter().find(|other| {
                routes.get(**other).is_some_and(|other| {
                    let all = other.methods.is_empty();
                    let takes = method.is_some_and(|method| other.methods.contains(method));
                    (all || takes) && conditions_follow(other, route)
                })
            });
            takers.insert(*taker?);
        }
    }
    Some(takers)
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
