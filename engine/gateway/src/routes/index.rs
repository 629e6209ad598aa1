//! Which routes can match a host and a path at all.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::path::{Case, compared};
use super::{Piece, Route};
use crate::host::{Host, HostPattern};

/// A tree of segments for each host, each with a name and below a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    exact: HashMap<Host, Node>,
    below: HashMap<String, Node>,
    any: Node,
    case: Case,
}

#[derive(Clone, Debug, Default)]
struct Node {
    literals: HashMap<String, Node>,
    capture: Option<Box<Node>>,
    /// Routes that end here.
    here: Vec<usize>,
    /// Routes that take whatever follows.
    rest: Vec<usize>,
}

impl Index {
    pub(super) fn of(routes: &[Arc<Route>], case: Case) -> Self {
        let mut index = Self {
            case,
            ..Self::default()
        };
        for (number, route) in routes.iter().enumerate() {
            if route.hosts.is_empty() {
                index.any.add(number, route, case);
            }
            for pattern in &route.hosts {
                let node = match pattern {
                    HostPattern::Exact(host) => index.exact.entry(host.clone()).or_default(),
                    HostPattern::Below(parent) => {
                        index.below.entry(parent.to_string()).or_default()
                    }
                };
                node.add(number, route, case);
            }
        }
        index
    }

    /// Every route that fits host and path, in order.
    pub(super) fn candidates(&self, host: &Host, segments: &[String]) -> Vec<usize> {
        let mut found = Vec::new();
        let segments: Vec<_> = segments
            .iter()
            .map(|segment| compared(segment, self.case))
            .collect();
        for node in self.trees(Some(host), host.parent()) {
            node.visit(&mut found, &segments);
        }
        in_order(found)
    }

    /// Every route that takes all requests of this host and path, in order.
    pub(super) fn covering(&self, host: Option<&HostPattern>, route: &Route) -> Vec<usize> {
        let mut found = Vec::new();
        let trees = match host {
            Some(HostPattern::Exact(host)) => self.trees(Some(host), host.parent()),
            Some(HostPattern::Below(parent)) => self.trees(None, Some(parent.as_str())),
            None => self.trees(None, None),
        };
        for node in trees {
            let has_rest = route.path.rest.is_some();
            node.visit_covering(&mut found, &route.path.pieces, has_rest, self.case);
        }
        in_order(found)
    }

    /// The trees of a host, of all below its parent, and of all hosts.
    fn trees<'a>(
        &'a self,
        host: Option<&Host>,
        parent: Option<&str>,
    ) -> impl Iterator<Item = &'a Node> + use<'a> {
        let exact = host.and_then(|host| self.exact.get(host));
        let below = parent.and_then(|parent| self.below.get(parent));
        exact.into_iter().chain(below).chain([&self.any])
    }
}

impl Node {
    fn add(&mut self, number: usize, route: &Route, case: Case) {
        let mut node = self;
        for piece in &route.path.pieces {
            node = match piece {
                Piece::Literal(literal) => {
                    let literal = compared(literal, case).into_owned();
                    node.literals.entry(literal).or_default()
                }
                Piece::Capture(_) => node.capture.get_or_insert_default(),
            };
        }
        match route.path.rest {
            Some(_) => node.rest.push(number),
            None => node.here.push(number),
        }
    }

    fn visit(&self, found: &mut Vec<usize>, segments: &[Cow<'_, str>]) {
        found.extend(&self.rest);
        match segments.split_first() {
            None => found.extend(&self.here),
            Some((first, behind)) => {
                let next = [self.literals.get(&**first), self.capture.as_deref()];
                for node in next.into_iter().flatten() {
                    node.visit(found, behind);
                }
            }
        }
    }

    fn visit_covering(&self, found: &mut Vec<usize>, pieces: &[Piece], has_rest: bool, case: Case) {
        found.extend(&self.rest);
        match pieces.split_first() {
            None if !has_rest => found.extend(&self.here),
            None => {}
            Some((first, behind)) => {
                let literal = match first {
                    Piece::Literal(literal) => self.literals.get(&*compared(literal, case)),
                    Piece::Capture(_) => None,
                };
                for node in [literal, self.capture.as_deref()].into_iter().flatten() {
                    node.visit_covering(found, behind, has_rest, case);
                }
            }
        }
    }
}

fn in_order(mut found: Vec<usize>) -> Vec<usize> {
    found.sort_unstable();
    found.dedup();
    found
}
