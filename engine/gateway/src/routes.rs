//! Which request is which question: `[gateway]` routes, in their order.
//!
//! The first route that matches makes the evaluation; where none does, the answer is no. The
//! order is the author's, so an index may only say which routes are worth trying: a
//! tree of segments per host, in which a request meets all routes whose host and path fit and no
//! others, of which the one with the lowest number wins. A router like `matchit` picks the most
//! specific path instead, takes each path once, and so cannot hold two routes that differ in a
//! claim.

pub(crate) mod check;
pub(crate) mod doubts;
mod evaluation;
mod index;
mod path;
pub(crate) mod raw;
pub(crate) mod reach;

use std::fmt;
use std::sync::Arc;

use domain::{EntityRef, Name};
use http::{HeaderName, Method};

use crate::host::HostPattern;
use crate::template::{Captures, MapFault, Question, Template, claim, header};

pub use path::{Case, PathTemplate, Piece};

/// What a header or a claim has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// There, whatever it says.
    Present,
    /// One of these; of a claim that is a list, one of its members.
    AnyOf(Vec<String>),
}

/// Who is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectRule {
    /// Whom the credential names.
    Credential {
        /// Its type; none: the credential's own.
        kind: Option<Name>,
        /// Types of credentials that are taken; empty: `kind`, or any where none is said.
        from: Vec<Name>,
    },
    /// Somebody whom a claim of the credential names.
    Claim {
        /// Its type.
        kind: Name,
        /// Types of credentials that are taken; empty: `kind` alone.
        from: Vec<Name>,
        /// Where the id stands.
        claim: String,
    },
    /// Always the same one: no credential is needed.
    Fixed(EntityRef),
}

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionRule {
    /// One action.
    One(Name),
    /// One for each method.
    ByMethod(Vec<(Method, Name)>),
}

/// What a client gets that has to prove more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StepUp {
    /// 401 with `WWW-Authenticate` (RFC 9470).
    #[default]
    Challenge,
    /// A browser is sent to the login page; others get the 401.
    Redirect,
}

/// The token that an allow hands to the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRule {
    /// Whom it is for.
    pub audience: String,
    /// The scopes asked for; empty: the action alone.
    pub scope: Vec<Name>,
}

/// One route, checked.
#[derive(Clone, Debug)]
pub struct Route {
    /// What people call it.
    pub name: String,
    /// Where it stands in the settings, for example `gateway.routes[3]`.
    pub place: String,
    /// Methods, of which `GET` takes `HEAD` along; empty: all that are left over, see
    /// [`WhyNot::MethodElsewhere`].
    pub methods: Vec<Method>,
    /// Hosts; empty: all.
    pub hosts: Vec<HostPattern>,
    /// Path.
    pub path: PathTemplate,
    /// Headers that have to be so.
    pub headers: Vec<(HeaderName, Wanted)>,
    /// Claims that have to be so.
    pub claims: Vec<(String, Wanted)>,
    /// Who.
    pub subject: SubjectRule,
    /// What.
    pub action: ActionRule,
    /// Type of the resource.
    pub resource_type: Name,
    /// Id of the resource.
    pub resource_id: Template,
    /// `resource.properties`.
    pub resource_properties: Vec<(String, Template)>,
    /// `subject.properties`.
    pub subject_properties: Vec<(String, Template)>,
    /// `action.properties`.
    pub action_properties: Vec<(String, Template)>,
    /// Words of the context.
    pub context: Vec<(String, Template)>,
    /// What a step-up looks like.
    pub step_up: StepUp,
    /// The token for the app.
    pub token: Option<TokenRule>,
}

/// Why a route is not the one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// Another host.
    Host,
    /// Another path.
    Path,
    /// Another method.
    Method,
    /// It is for more paths than a route before it that names the methods of its own, this one not
    /// among them: whoever guards a path by methods does not mean the others to go by a rule for
    /// everything. A route for the same paths, or one that names the method, takes it.
    MethodElsewhere,
    /// A header is not there, or says something else.
    Header(HeaderName),
    /// A claim is not there, or says something else.
    Claim(String),
    /// It wants a claim, and no credential came.
    NoCredential,
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("it is for another host"),
            Self::Path => f.write_str("it is for another path"),
            Self::Method => f.write_str("it is for another method"),
            Self::MethodElsewhere => f.write_str(
                "a route before it names the methods of this path, and a route for more paths \
                 takes none of the others unless it names them",
            ),
            Self::Header(name) => write!(f, "the header `{name}` is not what it wants"),
            Self::Claim(name) => write!(f, "the claim `{name}` is not what it wants"),
            Self::NoCredential => f.write_str("it wants a claim, and no credential came"),
        }
    }
}

/// Why no route is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// None matches: 403, or 401 where a credential might have brought one.
    NoMatch {
        /// A route would have been tried further with a credential.
        needs_credential: bool,
    },
    /// A route on the way cannot tell whether it matches: 400.
    Fault(MapFault),
}

/// The route that is taken, and what its placeholders stand for.
#[derive(Clone, Debug)]
pub struct Matched<'r> {
    /// The route.
    pub route: &'r Route,
    captures: Captures,
}

/// Routes in their order, with their index.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    routes: Vec<Arc<Route>>,
    index: index::Index,
    case: Case,
}

impl Routes {
    pub(crate) fn new(routes: Vec<Arc<Route>>, case: Case) -> Self {
        let index = index::Index::of(&routes, case);
        Self {
            routes,
            index,
            case,
        }
    }

    /// Begins to go through routes in their order.
    pub(crate) fn walk(&self) -> Walk<'_> {
        Walk {
            case: self.case,
            guards: Vec::new(),
        }
    }

    /// All of them, the first one first.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().map(|route| &**route)
    }

    /// The first route that matches.
    ///
    /// # Errors
    /// When none does, or one cannot tell: a condition on a header that came twice.
    pub fn find(&self, question: &Question<'_>) -> Result<Matched<'_>, NoRoute> {
        let original = question.original;
        let segments = original.target.segments();
        let mut needs_credential = false;
        let mut walk = self.walk();
        for number in self.index.candidates(&original.authority.host, segments) {
            let Some(route) = self.routes.get(number) else {
                continue;
            };
            match walk.against(route, question).map_err(NoRoute::Fault)? {
                Ok(captures) => return Ok(Matched { route, captures }),
                Err(WhyNot::NoCredential) => needs_credential = true,
                Err(_) => {}
            }
        }
        Err(NoRoute::NoMatch { needs_credential })
    }
}

impl Route {
    /// Whether it has a subject of its own, so that no credential is needed.
    #[must_use]
    pub const fn is_for_anybody(&self) -> bool {
        matches!(self.subject, SubjectRule::Fixed(_))
    }

    /// Whether it names a method that a request has, or names none.
    #[must_use]
    pub fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty()
            || self.methods.contains(method)
            || (method == Method::HEAD && self.methods.contains(&Method::GET))
    }

    /// Whether it is for all hosts and paths that `other` is for.
    pub(crate) fn covers(&self, other: &Self, case: Case) -> bool {
        let covers_hosts = match (self.hosts.as_slice(), other.hosts.as_slice()) {
            ([], _) => true,
            (_, []) => false,
            (own, other) => other
                .iter()
                .all(|host| own.iter().any(|own| own.covers(host))),
        };
        covers_hosts && self.path.covers(&other.path, case)
    }

    /// Whether headers and claims are as it wants them.
    fn conditions(&self, question: &Question<'_>) -> Result<Option<WhyNot>, MapFault> {
        for (name, wanted) in &self.headers {
            let found = header(question.headers, name)?;
            if !found.is_some_and(|found| wanted.holds(found)) {
                return Ok(Some(WhyNot::Header(name.clone())));
            }
        }
        for (path, wanted) in &self.claims {
            let Some(credential) = question.credential else {
                return Ok(Some(WhyNot::NoCredential));
            };
            let found = claim(credential.claims, path);
            if !found.is_some_and(|found| wanted.holds_claim(found)) {
                return Ok(Some(WhyNot::Claim(path.clone())));
            }
        }
        Ok(None)
    }
}

/// One way through routes, in their order.
pub(crate) struct Walk<'r> {
    case: Case,
    /// Routes of the request's path that name other methods.
    guards: Vec<&'r Route>,
}

impl<'r> Walk<'r> {
    /// What the placeholders of a route stand for, or why it is not the one.
    ///
    /// # Errors
    /// When it cannot tell.
    pub(crate) fn against(
        &mut self,
        route: &'r Route,
        question: &Question<'_>,
    ) -> Result<Result<Captures, WhyNot>, MapFault> {
        let original = question.original;
        let host = &original.authority.host;
        if !route.hosts.is_empty() && !route.hosts.iter().any(|pattern| pattern.matches(host)) {
            return Ok(Err(WhyNot::Host));
        }
        let Some(fit) = route.path.fit(original.target.segments(), self.case) else {
            return Ok(Err(WhyNot::Path));
        };
        if !route.takes(&original.method) {
            self.guards.push(route);
            return Ok(Err(WhyNot::Method));
        }
        let mut guards = self.guards.iter();
        if route.methods.is_empty() && guards.any(|guard| !guard.covers(route, self.case)) {
            return Ok(Err(WhyNot::MethodElsewhere));
        }
        if let Some(why) = route.conditions(question)? {
            return Ok(Err(why));
        }
        if fit.is_folded && self.case == Case::Refuse {
            return Err(MapFault::OtherCase);
        }
        Ok(Ok(fit.captures))
    }
}

impl ActionRule {
    /// The action of a method: `HEAD` is `GET`, unless it is named.
    fn of(&self, method: &Method) -> Option<&Name> {
        match self {
            Self::One(name) => Some(name),
            Self::ByMethod(all) => {
                let named = |wanted: &Method| all.iter().find(|(known, _)| known == wanted);
                let as_get = || named(&Method::GET).filter(|_| method == Method::HEAD);
                named(method).or_else(as_get).map(|(_, name)| name)
            }
        }
    }
}

impl Wanted {
    fn holds(&self, found: &str) -> bool {
        match self {
            Self::Present => true,
            Self::AnyOf(all) => all.iter().any(|one| one == found),
        }
    }

    fn holds_claim(&self, found: &domain::Value) -> bool {
        match (self, found) {
            (Self::Present, _) => true,
            (_, domain::Value::List(items)) => items
                .iter()
                .filter_map(crate::identity::scalar)
                .any(|item| self.holds(&item)),
            (_, one) => crate::identity::scalar(one).is_some_and(|one| self.holds(&one)),
        }
    }
}

#[cfg(test)]
mod tests;
