//! From a request and its route to the question that is decided.

use std::net::IpAddr;

use domain::request::{AccessRequest, Action, DeviceClaim, Party, RequestContext, TokenWish};
use domain::value::Attributes;
use domain::{EntityRef, Name, Value};
use http::header::USER_AGENT;

use super::{Matched, SubjectRule};
use crate::identity::scalar;
use crate::template::{MapFault, Question, Template, claim};

/// Words of the request context that mean something to the engine and that a route may set, by
/// their part behind `device.`.
pub(super) const DEVICE_WORDS: [&str; 6] = [
    "id",
    "managed",
    "compliant",
    "os",
    "os_version",
    "fingerprint",
];

impl Matched<'_> {
    /// The evaluation that the route makes. `ip` is the client's address as far as it is known.
    ///
    /// # Errors
    /// When the request lacks what the route needs, or what it has makes no name.
    pub fn evaluation(
        &self,
        question: &Question<'_>,
        ip: Option<IpAddr>,
    ) -> Result<AccessRequest, MapFault> {
        let route = self.route;
        let subject = self.subject(question)?;
        let action = route.action.of(&question.original.method);
        // A route by methods matches its methods alone.
        let action = action.cloned().ok_or_else(|| MapFault::Name {
            what: "the action",
            fault: domain::NameError::Empty,
        })?;
        let mut id = route.resource_id.text(question, &self.captures)?;
        let rest = route.path.rest.as_deref();
        if id.is_empty() && rest.is_some() && rest == route.resource_id.only_capture() {
            // `/files` of `/files/{path...}`: no segment holds a slash, so nothing else is this.
            id.push('/');
        }
        let resource = EntityRef {
            kind: route.resource_type.clone(),
            id: name("the resource's id", id)?,
        };
        let token = route.token.as_ref().map(|token| TokenWish {
            audience: token.audience.clone(),
            scope: match token.scope.as_slice() {
                [] => vec![action.clone()],
                scope => scope.to_vec(),
            },
            confirmation: None,
        });
        let context = self.context(question, ip, token)?;
        Ok(AccessRequest {
            subject: Party {
                entity: subject,
                properties: self.attributes(&route.subject_properties, question)?,
            },
            action: Action {
                name: action,
                properties: self.attributes(&route.action_properties, question)?,
            },
            resource: Party {
                entity: resource,
                properties: self.attributes(&route.resource_properties, question)?,
            },
            context,
            result: None,
        })
    }

    fn subject(&self, question: &Question<'_>) -> Result<EntityRef, MapFault> {
        let credential = || question.credential.ok_or(MapFault::NoCredential);
        match &self.route.subject {
            SubjectRule::Fixed(entity) => Ok(entity.clone()),
            SubjectRule::Credential { kind, from } => {
                let own = credential()?.subject;
                let is_taken = match (from.as_slice(), kind) {
                    ([], None) => true,
                    ([], Some(kind)) => *kind == own.kind,
                    (from, _) => from.contains(&own.kind),
                };
                if !is_taken {
                    return Err(MapFault::OtherType(own.kind.clone()));
                }
                Ok(EntityRef {
                    kind: kind.as_ref().unwrap_or(&own.kind).clone(),
                    id: own.id.clone(),
                })
            }
            SubjectRule::Claim {
                kind,
                from,
                claim: path,
            } => {
                let credential = credential()?;
                let own = &credential.subject.kind;
                if !(from.contains(own) || from.is_empty() && own == kind) {
                    return Err(MapFault::OtherType(own.clone()));
                }
                let found = claim(credential.claims, path).and_then(scalar);
                let id = found.ok_or_else(|| MapFault::NoClaim(path.clone()))?;
                Ok(EntityRef {
                    kind: kind.clone(),
                    id: name("the subject's id", id)?,
                })
            }
        }
    }

    fn attributes(
        &self,
        templates: &[(String, Template)],
        question: &Question<'_>,
    ) -> Result<Attributes, MapFault> {
        let mut attributes = Attributes::new();
        for (word, template) in templates {
            if let Some(value) = template.value(question, &self.captures)? {
                attributes.insert(word.clone(), value);
            }
        }
        Ok(attributes)
    }

    fn context(
        &self,
        question: &Question<'_>,
        ip: Option<IpAddr>,
        token: Option<TokenWish>,
    ) -> Result<RequestContext, MapFault> {
        let mut extra = self.attributes(&self.route.context, question)?;
        let mut take = |word: &str| extra.remove(&format!("device.{word}"));
        let mut text = |word: &str| take(word).as_ref().and_then(scalar);
        let mut device = DeviceClaim {
            id: text("id"),
            os: text("os"),
            os_version: text("os_version"),
            fingerprint: text("fingerprint"),
            ..DeviceClaim::default()
        };
        device.managed = take("managed").as_ref().and_then(yes_or_no);
        device.compliant = take("compliant").as_ref().and_then(yes_or_no);
        let agent = question.headers.get(USER_AGENT);
        let agent = agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
        Ok(RequestContext {
            ip: ip.map(|ip| ip.to_canonical()),
            user_agent: agent,
            device: (device != DeviceClaim::default()).then_some(device),
            token,
            extra,
            ..RequestContext::default()
        })
    }
}

/// Headers say it in words; anything else is not known.
fn yes_or_no(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(yes) => Some(*yes),
        Value::Text(word) => match word.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Some(true),
            "false" | "0" | "no" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn name(what: &'static str, text: String) -> Result<Name, MapFault> {
    Name::new(text).map_err(|fault| MapFault::Name { what, fault })
}
