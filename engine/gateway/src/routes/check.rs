//! From the text of routes to routes, with all that is wrong said at once.

mod who;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use domain::Name;
use http::{HeaderName, Method};

use super::evaluation::DEVICE_WORDS;
use super::raw::{RawAction, RawRoute, RawScalar, RawWanted};
use super::{ActionRule, Case, PathTemplate, Route, StepUp, Wanted, doubts, reach};
use crate::host::HostPattern;
use crate::identity::{self, Identity};
use crate::template::{Source, Template, unknown_captures};

/// The most routes that a caller can have.
pub(crate) const ROUTES_MAX: usize = 10_000;

/// Words of the context that the engine makes itself, and what a request has of its own. A session
/// is named by its cookie or token: what a client sends names none.
const ENGINE_WORDS: [&str; 15] = [
    "action",
    "actor",
    "assurance",
    "device",
    "dry_run",
    "ip",
    "network",
    "risk",
    "session",
    "session_id",
    "signals",
    "time",
    "token",
    "unavailable",
    "user_agent",
];
/// Headers that are secrets, and would be in every record.
const SECRETS: [&str; 9] = [
    "authorization",
    "cookie",
    "dpop",
    "portreeve-key",
    "proxy-authorization",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-forwarded-access-token",
];
/// Methods as settings name them; others are possible, and likely slips when in lower case.
const METHOD_EXAMPLE: &str = "for example `GET`, in upper case";

/// What is said of settings.
pub(crate) struct Said<'a> {
    /// What is wrong.
    pub(crate) faults: &'a mut Vec<String>,
    /// What is allowed and hardly meant.
    pub(crate) warnings: &'a mut Vec<String>,
}

/// Checks a list of routes. `place` is its name, for example `gateway.routes`.
pub(crate) fn routes(
    raw: &[RawRoute],
    place: &str,
    identity: &Identity,
    case: Case,
    said: &mut Said<'_>,
) -> Vec<Arc<Route>> {
    let faults = &mut *said.faults;
    if raw.len() > ROUTES_MAX {
        faults.push(format!(
            "`{place}`: {} routes, and {ROUTES_MAX} are the most",
            raw.len()
        ));
        return Vec::new();
    }
    let before = faults.len();
    let mut found: Vec<Arc<Route>> = Vec::with_capacity(raw.len());
    let mut names = BTreeSet::new();
    for (number, raw) in raw.iter().enumerate() {
        let mut checking = Checking {
            place: format!("{place}[{number}]"),
            identity,
            faults: Vec::new(),
            warnings: Vec::new(),
        };
        let route = checking.route(raw);
        faults.append(&mut checking.faults);
        said.warnings.append(&mut checking.warnings);
        let Some(route) = route else { continue };
        if !names.insert(route.name.clone()) {
            faults.push(format!(
                "`{}.name`: `{}` is another route's name already; give each its own `name`",
                route.place, route.name
            ));
        }
        found.push(Arc::new(route));
    }
    // Where some could not be read, who comes before whom is not known.
    if faults.len() == before {
        faults.append(&mut reach::unreachable(&found, case));
        said.warnings.append(&mut reach::shadowed(&found, case));
        said.warnings.append(&mut doubts::by_format(&found, case));
    }
    found
}

/// Checks that a gateway that vouches for other headers than all do still vouches for those that
/// routes of all rest on.
pub(crate) fn vouched(
    routes: &[Arc<Route>],
    identity: &Identity,
    place: &str,
    faults: &mut Vec<String>,
) {
    for route in routes {
        let mut headers: Vec<_> = route.headers_read().into_iter().collect();
        headers.sort_unstable_by_key(|header| header.as_str());
        for header in headers {
            if !identity.is_vouched(header) {
                faults.push(format!(
                    "`{place}.headers_set`: lacks `{header}`, which `{}` rests on",
                    route.name
                ));
            }
        }
    }
}

impl Route {
    /// The headers that it takes conditions or facts from.
    fn headers_read(&self) -> HashSet<&HeaderName> {
        let lists = [
            &self.resource_properties,
            &self.subject_properties,
            &self.action_properties,
            &self.context,
        ];
        let templates = lists.into_iter().flatten().map(|(_, template)| template);
        let sources = templates
            .chain([&self.resource_id])
            .flat_map(Template::sources);
        let named = sources.filter_map(|source| match source {
            Source::Header(header) => Some(header),
            _ => None,
        });
        named
            .chain(self.headers.iter().map(|(name, _)| name))
            .collect()
    }
}

struct Checking<'a> {
    place: String,
    identity: &'a Identity,
    faults: Vec<String>,
    warnings: Vec<String>,
}

impl Checking<'_> {
    fn fault(&mut self, member: &str, what: impl std::fmt::Display) {
        self.faults
            .push(format!("`{}.{member}`: {what}", self.place));
    }

    fn warn(&mut self, member: &str, what: impl std::fmt::Display) {
        self.warnings
            .push(format!("`{}.{member}`: {what}", self.place));
    }

    /// The value, or a fault.
    fn read<T>(&mut self, member: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|what| self.fault(member, what)).ok()
    }

    fn route(&mut self, raw: &RawRoute) -> Option<Route> {
        let path = self.read("path", PathTemplate::parse(&raw.path));
        let hosts = self.hosts(&raw.hosts);
        let (methods, action) = self.action(raw);
        let headers = self.headers(&raw.headers);
        let claims = raw
            .claims
            .iter()
            .map(|(name, raw)| (name.clone(), self.wanted(&format!("claims.{name}"), raw)))
            .collect();
        let subject = self.subject(&raw.subject);
        self.issuer(raw);
        let kind = self.name("resource.type", &raw.resource.kind);
        let id = self.template("resource.id", &raw.resource.id);
        if id.as_ref().is_some_and(|id| id.as_str().is_empty()) {
            self.fault(
                "resource.id",
                "is empty; write text or a placeholder such as `{id}`",
            );
        }
        let resource_properties = self.templates("resource.properties", &raw.resource.properties);
        let subject_properties = self.templates("subject.properties", &raw.subject.properties);
        let action_properties = self.templates("action_properties", &raw.action_properties);
        let context = self.context(&raw.context);
        let step_up = match raw.step_up.as_deref() {
            None | Some("challenge") => StepUp::Challenge,
            Some("redirect") => StepUp::Redirect,
            Some(other) => {
                self.fault(
                    "step_up",
                    format!("`{other}` is neither `challenge` nor `redirect`"),
                );
                StepUp::Challenge
            }
        };
        let token = raw.token.as_ref().and_then(|token| self.token(token));
        let templates: Vec<&Template> = id
            .iter()
            .chain(
                [
                    &resource_properties,
                    &subject_properties,
                    &action_properties,
                    &context,
                ]
                .into_iter()
                .flatten()
                .map(|(_, template)| template),
            )
            .collect();
        if let Some(path) = &path {
            self.captures(path, &templates);
        }
        let name = raw.name.clone().unwrap_or_else(|| name_of(raw, &methods));
        Some(Route {
            name,
            place: self.place.clone(),
            methods,
            hosts,
            path: path?,
            headers,
            claims,
            subject: subject?,
            action: action?,
            resource_type: kind?,
            resource_id: id?,
            resource_properties,
            subject_properties,
            action_properties,
            context,
            step_up,
            token,
        })
    }

    fn hosts(&mut self, raw: &[String]) -> Vec<HostPattern> {
        let mut hosts: Vec<HostPattern> = Vec::new();
        for text in raw {
            match HostPattern::parse(text) {
                Some(host) if hosts.iter().any(|known| known.covers(&host)) => {
                    self.fault("hosts", format!("`{text}` is there already; take it out"));
                }
                Some(host) => hosts.push(host),
                None => self.fault(
                    "hosts",
                    format!(
                        "`{text}` is no host, for example `shop.example` or `*.shop.example`, \
                         without scheme and port; leave `hosts` out for all"
                    ),
                ),
            }
        }
        hosts
    }

    fn method(&mut self, member: &str, text: &str) -> Option<Method> {
        let is_upper = !text.bytes().any(|byte| byte.is_ascii_lowercase());
        let method = Method::from_bytes(text.as_bytes())
            .ok()
            .filter(|_| is_upper);
        if method.is_none() {
            self.fault(member, format!("`{text}` is no method, {METHOD_EXAMPLE}"));
        }
        method
    }

    fn action(&mut self, raw: &RawRoute) -> (Vec<Method>, Option<ActionRule>) {
        match &raw.action {
            RawAction::One(name) => {
                let mut methods: Vec<Method> = Vec::new();
                for text in &raw.methods {
                    match self.method("methods", text) {
                        Some(method) if methods.contains(&method) => {
                            self.fault("methods", format!("`{text}` is there twice"));
                        }
                        method => methods.extend(method),
                    }
                }
                (methods, self.name("action", name).map(ActionRule::One))
            }
            RawAction::ByMethod(all) => {
                if !raw.methods.is_empty() {
                    self.fault(
                        "methods",
                        "`action` says the methods already; take `methods` out",
                    );
                }
                if all.is_empty() {
                    self.fault(
                        "action",
                        "names no method, for example `{ GET = \"orders.read\" }`",
                    );
                }
                let mut found = Vec::new();
                for (method, name) in all {
                    let member = format!("action.{method}");
                    let method = self.method("action", method);
                    found.extend(method.zip(self.name(&member, name)));
                }
                let methods = found.iter().map(|(method, _)| method.clone()).collect();
                (methods, Some(ActionRule::ByMethod(found)))
            }
        }
    }

    fn headers(&mut self, raw: &BTreeMap<String, RawWanted>) -> Vec<(HeaderName, Wanted)> {
        let mut headers: Vec<(HeaderName, Wanted)> = Vec::new();
        for (name, raw) in raw {
            let member = format!("headers.{name}");
            let wanted = self.wanted(&member, raw);
            match name.to_ascii_lowercase().parse::<HeaderName>() {
                Ok(header) if headers.iter().any(|(known, _)| *known == header) => {
                    self.fault(&member, "is there already, in another case");
                }
                Ok(header) => {
                    self.header(&member, &header);
                    headers.push((header, wanted));
                }
                Err(_) => self.fault(&member, "is no header's name"),
            }
        }
        headers
    }

    /// Whether a route may rest on a header at all.
    fn header(&mut self, member: &str, header: &HeaderName) {
        if is_secret(header) {
            self.fault(
                member,
                format!("`{header}` holds secrets, which no record may hold; use a claim"),
            );
        } else if identity::is_of_the_way(header.as_str()) {
            self.fault(
                member,
                format!(
                    "`{header}` is read by the engine itself; use `hosts`, `{{request.host}}` or \
                     `{{request.scheme}}`"
                ),
            );
        } else if self.identity.is_vouched(header) {
            // The gateway's word.
        } else if self.identity.is_reserved(header.as_str()) {
            self.fault(
                member,
                format!(
                    "`{header}` is taken off requests, because any client can send it; use a claim"
                ),
            );
        } else {
            self.fault(
                member,
                format!(
                    "any client can send `{header}`; have the gateway set it or take it off, and \
                     name it in `gateway.headers_set`"
                ),
            );
        }
    }

    fn wanted(&mut self, member: &str, raw: &RawWanted) -> Wanted {
        let text = |raw: &RawScalar| match raw {
            RawScalar::Text(text) => text.clone(),
            RawScalar::Long(number) => number.to_string(),
            RawScalar::Bool(yes) => yes.to_string(),
        };
        match raw {
            RawWanted::One(one) => Wanted::AnyOf(vec![text(one)]),
            RawWanted::AnyOf(all) => {
                if all.is_empty() {
                    self.fault(member, "names no value, so that nothing would match");
                }
                Wanted::AnyOf(all.iter().map(text).collect())
            }
            RawWanted::There(there) => {
                if !there.present {
                    self.fault(
                        member,
                        "`present = false` is not possible; put a route with `present = true` \
                         before this one",
                    );
                }
                Wanted::Present
            }
        }
    }

    fn name(&mut self, member: &str, text: &str) -> Option<Name> {
        self.read(member, Name::new(text).map_err(|why| why.to_string()))
    }

    fn template(&mut self, member: &str, text: &str) -> Option<Template> {
        let template = self.read(member, Template::parse(text))?;
        for source in template.sources() {
            if let Source::Header(header) = source {
                self.header(member, header);
            }
        }
        Some(template)
    }

    fn templates(
        &mut self,
        member: &str,
        raw: &BTreeMap<String, String>,
    ) -> Vec<(String, Template)> {
        let mut templates = Vec::new();
        for (word, text) in raw {
            if let Err(why) = Name::new(word.as_str()) {
                self.fault(member, format!("a name {why}"));
            }
            let template = self.template(&format!("{member}.{word}"), text);
            templates.extend(template.map(|template| (word.clone(), template)));
        }
        templates
    }

    fn context(&mut self, raw: &BTreeMap<String, String>) -> Vec<(String, Template)> {
        for word in raw.keys() {
            let member = format!("context.{word}");
            match word.split_once('.') {
                Some(("device", behind)) if DEVICE_WORDS.contains(&behind) => {}
                Some(_) => self.fault(
                    &member,
                    format!(
                        "only `device` has parts: {}",
                        DEVICE_WORDS
                            .map(|word| format!("`device.{word}`"))
                            .join(", ")
                    ),
                ),
                None if ENGINE_WORDS.contains(&word.as_str()) => {
                    self.fault(&member, "the engine makes it itself; take another word");
                }
                None => {}
            }
        }
        self.templates("context", raw)
    }

    /// Placeholders have to be in the path, and what is in the path should be used: what is not
    /// makes different requests one question. What takes the rest of a path often stands for all
    /// below it.
    fn captures(&mut self, path: &PathTemplate, templates: &[&Template]) {
        let known = path.names();
        let mut unused = known.clone();
        for template in templates {
            for name in unknown_captures(template, &known) {
                self.fault(
                    "path",
                    format!("has no `{{{name}}}`, which `{}` names", template.as_str()),
                );
            }
            for source in template.sources() {
                if let Source::Capture(name) = source {
                    unused.remove(name.as_str());
                }
            }
        }
        for name in unused {
            if path.rest.as_deref() != Some(name) {
                self.warn(
                    "path",
                    format!(
                        "`{{{name}}}` is used nowhere, so that whatever stands there is one \
                         resource; use it in `resource.id`, for example"
                    ),
                );
            }
        }
    }
}

/// Whether a header holds secrets.
pub(crate) fn is_secret(header: &HeaderName) -> bool {
    SECRETS.contains(&header.as_str())
}

/// What a route without a name is called: what it is for.
fn name_of(raw: &RawRoute, methods: &[Method]) -> String {
    let methods: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let methods = if methods.is_empty() {
        "*".to_owned()
    } else {
        methods.join(",")
    };
    let conditions = raw.headers.keys().chain(raw.claims.keys());
    let conditions: String = conditions.map(|name| format!(" [{name}]")).collect();
    format!("{methods} {}{}{conditions}", raw.hosts.join(","), raw.path)
}
