//! Which route a request takes, why the ones before it are not the ones, and what is asked then.

use std::fmt::Write as _;

use domain::request::{AccessRequest, Party};
use domain::value::Attributes;
use http::HeaderMap;
use serde::Serialize;
use wire::json::WrittenObject;

use crate::door::Door;
use crate::original::{Original, OriginalFault, Reading, Scheme};
use crate::routes::NoRoute;
use crate::template::{MapFault, Question};

/// Why a line is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// Not a method and a URL.
    #[error("`{0}` is not a method and a URL, for example 'GET https://shop.example/orders/7'")]
    Form(String),
    /// A gateway would be refused, too.
    #[error(transparent)]
    Original(#[from] OriginalFault),
}

/// Reads `GET https://shop.example/orders/7`, as strictly as a gateway's request.
///
/// # Errors
/// When it has another form, or no single reading.
pub fn parse(line: &str, headers: &HeaderMap, reading: Reading) -> Result<Original, LineFault> {
    let form = || LineFault::Form(line.to_owned());
    let (method, url) = line.trim().split_once(' ').ok_or_else(form)?;
    let (scheme, rest) = url.trim_start().split_once("://").ok_or_else(form)?;
    let scheme = Scheme::parse(scheme).ok_or_else(form)?;
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or_default();
    let target = match target {
        "" => "/".to_owned(),
        query if query.starts_with('?') => format!("/{query}"),
        target => target.to_owned(),
    };
    let original = Original::direct(
        method,
        scheme,
        authority,
        target.as_bytes(),
        headers,
        reading,
    )?;
    Ok(original)
}

/// What happens to one request.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The request in its one reading.
    pub request: Read,
    /// The routes before the one that is taken, in their order, and why not.
    pub passed_over: Vec<PassedOver>,
    /// The route that is taken.
    pub route: Option<Taken>,
    /// What is asked (AuthZEN 1.0 §6.1).
    pub evaluation: Option<serde_json::Value>,
    /// What a client gets instead of a decision.
    pub refusal: Option<Refused>,
}

/// A request, read.
#[derive(Clone, Debug, Serialize)]
pub struct Read {
    /// Method.
    pub method: String,
    /// `https` or `http`.
    pub scheme: &'static str,
    /// Host, without its port.
    pub host: String,
    /// Path in its one form.
    pub path: String,
    /// Keys of the query.
    pub query: Vec<String>,
}

/// A route that is not the one.
#[derive(Clone, Debug, Serialize)]
pub struct PassedOver {
    /// What it is called.
    pub route: String,
    /// Where it stands.
    pub place: String,
    /// Why not.
    pub why: String,
}

/// The route that is the one.
#[derive(Clone, Debug, Serialize)]
pub struct Taken {
    /// What it is called.
    pub name: String,
    /// Where it stands.
    pub place: String,
    /// Its path.
    pub path: String,
}

/// An answer without a decision.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// 400, 401 or 403.
    pub status: u16,
    /// Why.
    pub why: String,
}

/// Explains a request at a door. The credential may be made up, to see what it would bring.
#[must_use]
pub fn explain(door: &Door, question: &Question<'_>) -> Report {
    let original = question.original;
    let mut report = Report {
        request: Read {
            method: original.method.to_string(),
            scheme: original.scheme.as_str(),
            host: original.authority.host.to_string(),
            path: original.target.path(),
            query: original
                .target
                .query()
                .map(|query| query.keys().collect())
                .unwrap_or_default(),
        },
        passed_over: Vec::new(),
        route: None,
        evaluation: None,
        refusal: None,
    };
    let found = door.routes.find(question);
    let taken = found.as_ref().ok().map(|matched| matched.route);
    let mut walk = door.routes.walk();
    for route in door.routes.iter() {
        if taken.is_some_and(|taken| std::ptr::eq(taken, route)) {
            break;
        }
        let against = walk.against(route, question);
        let is_last = against.is_err();
        let why = match against {
            Ok(Ok(_)) => "it matches".to_owned(),
            Ok(Err(why)) => why.to_string(),
            Err(fault) => fault.to_string(),
        };
        report.passed_over.push(PassedOver {
            route: route.name.clone(),
            place: route.place.clone(),
            why,
        });
        if is_last {
            break;
        }
    }
    let matched = match found {
        Ok(matched) => matched,
        Err(why) => {
            report.refusal = Some(refused(door, question, &why));
            return report;
        }
    };
    report.route = Some(Taken {
        name: matched.route.name.clone(),
        place: matched.route.place.clone(),
        path: matched.route.path.to_string(),
    });
    match matched.evaluation(question, None) {
        Ok(request) => report.evaluation = serde_json::to_value(Asked::of(&request)).ok(),
        Err(fault) => report.refusal = Some(refused(door, question, &NoRoute::Fault(fault))),
    }
    report
}

fn refused(door: &Door, question: &Question<'_>, why: &NoRoute) -> Refused {
    let detail = why.to_string();
    let reply = door.reply(None, Some(question), &why.verdict(&detail));
    let why = match why {
        NoRoute::NoMatch {
            needs_credential: true,
        }
        | NoRoute::Fault(MapFault::NoCredential) => "a credential is needed to go on".to_owned(),
        NoRoute::NoMatch { .. } => "no route matches, so the answer is no".to_owned(),
        NoRoute::Fault(fault) => fault.to_string(),
    };
    Refused {
        status: reply.status.as_u16(),
        why,
    }
}

impl Report {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let Read {
            method,
            scheme,
            host,
            path,
            query,
        } = &self.request;
        let _ = writeln!(text, "{method} {scheme}://{host}{path}");
        if !query.is_empty() {
            let _ = writeln!(text, "  query keys: {}", query.join(", "));
        }
        for passed in &self.passed_over {
            let PassedOver { route, place, why } = passed;
            let _ = writeln!(text, "- {route} ({place}): {why}");
        }
        if let Some(Taken { name, place, path }) = &self.route {
            let _ = writeln!(text, "→ {name} ({place}): takes it, by `{path}`");
        }
        if let Some(evaluation) = &self.evaluation {
            let pretty = serde_json::to_string_pretty(evaluation).unwrap_or_default();
            let _ = writeln!(text, "asks\n{pretty}");
        }
        if let Some(Refused { status, why }) = &self.refusal {
            let _ = writeln!(text, "answers {status}: {why}");
        }
        text
    }
}

/// A question in the form of AuthZEN.
#[derive(Serialize)]
struct Asked<'a> {
    subject: Entity<'a>,
    action: Named<'a>,
    resource: Entity<'a>,
    context: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct Entity<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<WrittenObject<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<WrittenObject<'a>>,
}

fn properties(attributes: &Attributes) -> Option<WrittenObject<'_>> {
    (!attributes.is_empty()).then_some(WrittenObject(attributes))
}

impl<'a> Asked<'a> {
    fn of(request: &'a AccessRequest) -> Self {
        let entity = |party: &'a Party| Entity {
            kind: party.entity.kind.as_str(),
            id: party.entity.id.as_str(),
            properties: properties(&party.properties),
        };
        Self {
            subject: entity(&request.subject),
            action: Named {
                name: request.action.name.as_str(),
                properties: properties(&request.action.properties),
            },
            resource: entity(&request.resource),
            context: context(request),
        }
    }
}

fn context(request: &AccessRequest) -> serde_json::Map<String, serde_json::Value> {
    let context = &request.context;
    let extra = serde_json::to_value(WrittenObject(&context.extra)).ok();
    let mut members = match extra {
        Some(serde_json::Value::Object(members)) => members,
        _ => serde_json::Map::new(),
    };
    let mut say = |word: &str, value: Option<serde_json::Value>| {
        if let Some(value) = value {
            members.insert(word.to_owned(), value);
        }
    };
    say("ip", context.ip.map(|ip| ip.to_string().into()));
    say("user_agent", context.user_agent.as_deref().map(Into::into));
    say("session_id", context.session_id.as_deref().map(Into::into));
    if let Some(device) = &context.device {
        let mut parts = serde_json::Map::new();
        let texts = [
            ("id", &device.id),
            ("os", &device.os),
            ("os_version", &device.os_version),
            ("fingerprint", &device.fingerprint),
        ];
        for (word, text) in texts {
            parts.extend(text.as_deref().map(|text| (word.to_owned(), text.into())));
        }
        for (word, yes) in [("managed", device.managed), ("compliant", device.compliant)] {
            parts.extend(yes.map(|yes| (word.to_owned(), yes.into())));
        }
        say("device", Some(parts.into()));
    }
    if let Some(token) = &context.token {
        let scope: Vec<&str> = token.scope.iter().map(domain::Name::as_str).collect();
        let token = serde_json::json!({"audience": token.audience, "scope": scope.join(" ")});
        say("token", Some(token));
    }
    members
}
