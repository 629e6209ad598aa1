//! Headers that say who somebody is: never a client's to send, always ours to set (B23, X11).
//!
//! A gateway may keep a header of the client that our answer does not name (Envoy does). So each
//! identity header is in each allow, empty where there is nothing to say, and what cannot be
//! named beforehand is listed for gateways that can take headers away.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use domain::Value;
use domain::value::Attributes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::template::claim;

/// The subject's id.
pub const SUBJECT: HeaderName = HeaderName::from_static("x-portreeve-subject");
/// The subject's type.
pub const SUBJECT_TYPE: HeaderName = HeaderName::from_static("x-portreeve-subject-type");
/// The decision, as the journal names it.
pub const DECISION_ID: HeaderName = HeaderName::from_static("x-portreeve-decision-id");
/// `LOW`, `MEDIUM` or `HIGH`.
pub const RISK_LEVEL: HeaderName = HeaderName::from_static("x-portreeve-risk-level");
/// The session's public id.
pub const SESSION: HeaderName = HeaderName::from_static("x-portreeve-session");
/// `allow`, `challenge`, `mfa` or `deny`; on every answer.
pub const OUTCOME: HeaderName = HeaderName::from_static("x-portreeve-outcome");

/// How the names of identity headers begin.
const PREFIXES: [&str; 2] = ["x-portreeve-", "x-user-"];
/// Others that apps take for the word of their gateway.
const WELL_KNOWN: [&str; 15] = [
    "client-cert",
    "client-cert-chain",
    "portreeve-key",
    "remote-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-user",
    "x-authenticated-user",
    "x-client-cert",
    "x-forwarded-client-cert",
    "x-forwarded-user",
    "x-internal-token",
    "x-remote-user",
    "x-service-name",
    "x-ssl-client-cert",
];
/// By which some frameworks take a request for another one than the gateway saw.
const REWRITES: [&str; 5] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];
/// Longest value of an identity header, bytes (G4).
const VALUE_MAX: usize = 8_192;

/// A header's name as an app may see it: `X_User_Id` and `X-User-Id` are one in CGI and WSGI.
fn folded(name: &str) -> String {
    name.chars()
        .map(|character| match character {
            'a'..='z' | '0'..='9' => character,
            'A'..='Z' => character.to_ascii_lowercase(),
            _ => '-',
        })
        .collect()
}

/// What a configured identity header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// The subject's id.
    SubjectId,
    /// The subject's type.
    SubjectType,
    /// A claim of the credential; the members of a list stand between commas.
    Claim(Box<str>),
}

/// Which headers are identity, and what they say.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    headers: Vec<(HeaderName, Says)>,
    stripped: BTreeSet<String>,
}

/// What an allow tells the app. Text of any script; it is encoded here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Type and id of the subject.
    pub subject: Option<&'a domain::EntityRef>,
    /// What the credential says.
    pub claims: Option<&'a Attributes>,
    /// The decision's id.
    pub decision_id: &'a str,
    /// The level, where the caller may see risk.
    pub risk_level: Option<&'a str>,
    /// The session's public id.
    pub session: Option<&'a str>,
}

impl Identity {
    /// Checked by the settings: names are header names, in lower case.
    pub(crate) fn new(headers: Vec<(HeaderName, Says)>, strip: &[HeaderName]) -> Self {
        let named = headers.iter().map(|(name, _)| folded(name.as_str()));
        let stripped = strip.iter().map(|name| folded(name.as_str()));
        let stripped = named.chain(stripped).collect();
        Self { headers, stripped }
    }

    /// Whether a client has no business sending this header: identity, or what makes an app see
    /// another request than the gateway. Underscores count as hyphens.
    #[must_use]
    pub fn is_reserved(&self, name: &str) -> bool {
        let name = folded(name);
        PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || WELL_KNOWN.contains(&name.as_str())
            || REWRITES.contains(&name.as_str())
            || self.stripped.contains(&name)
    }

    /// What has to be taken off a client's request that is let through, for Envoy's
    /// `headers_to_remove`. What an allow sets is not among it: it overwrites what the client
    /// sent, and Envoy removes after it has set.
    #[must_use]
    pub fn to_strip(&self, headers: &HeaderMap) -> Vec<HeaderName> {
        let set: Vec<HeaderName> = self.names().collect();
        headers
            .keys()
            .filter(|name| self.is_reserved(name.as_str()) && !set.contains(name))
            .cloned()
            .collect()
    }

    /// Every header that an allow sets, for gateway configurations that copy headers by name.
    pub fn names(&self) -> impl Iterator<Item = HeaderName> {
        let own = [
            SUBJECT,
            SUBJECT_TYPE,
            DECISION_ID,
            RISK_LEVEL,
            SESSION,
            OUTCOME,
        ];
        let chosen = self.headers.iter().map(|(name, _)| name.clone());
        own.into_iter().chain(chosen)
    }

    /// Every identity header, each once, empty where nothing is known.
    pub(crate) fn set(&self, known: &Known<'_>, outcome: &str) -> Vec<(HeaderName, HeaderValue)> {
        let id = known.subject.map(|subject| subject.id.as_str());
        let kind = known.subject.map(|subject| subject.kind.as_str());
        let mut all = vec![
            (SUBJECT, value(id)),
            (SUBJECT_TYPE, value(kind)),
            (DECISION_ID, value(Some(known.decision_id))),
            (RISK_LEVEL, value(known.risk_level)),
            (SESSION, value(known.session)),
            (OUTCOME, value(Some(outcome))),
        ];
        for (name, says) in &self.headers {
            let set = match says {
                Says::SubjectId => value(id),
                Says::SubjectType => value(kind),
                Says::Claim(path) => {
                    let found = known.claims.and_then(|claims| claim(claims, path));
                    let text = found.map(joined);
                    text.filter(|text| text.len() <= VALUE_MAX)
                        .and_then(|text| HeaderValue::from_str(&text).ok())
                        .unwrap_or(HeaderValue::from_static(""))
                }
            };
            all.push((name.clone(), set));
        }
        all
    }
}

fn value(text: Option<&str>) -> HeaderValue {
    let text = encoded(text.unwrap_or_default(), false);
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// A claim as text: scalars as they are, lists between commas, objects not at all.
fn joined(claim: &Value) -> String {
    match claim {
        Value::List(items) => {
            let items: Vec<String> = items.iter().filter_map(scalar).collect();
            let items: Vec<String> = items.iter().map(|item| encoded(item, true)).collect();
            items.join(",")
        }
        one => scalar(one).map_or_else(String::new, |text| encoded(&text, false)),
    }
}

pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Long(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Number(_) | Value::List(_) | Value::Record(_) => None,
    }
}

/// Visible ASCII as it is, everything else percent-encoded, the percent sign too: so nothing is
/// lost, no two texts become the same, and nothing ends the header. In a list the comma as well.
fn encoded(text: &str, in_list: bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' => safe.push_str("%25"),
            b',' if in_list => safe.push_str("%2C"),
            b'!'..=b'~' => safe.push(char::from(byte)),
            _ => {
                let _ = write!(safe, "%{byte:02X}");
            }
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use domain::EntityRef;
    use proptest::prelude::*;

    use super::*;

    fn identity() -> Identity {
        let name = HeaderName::from_static;
        Identity::new(
            vec![
                (name("x-user-id"), Says::SubjectId),
                (name("x-user-roles"), Says::Claim("realm.roles".into())),
                (name("x-tenant"), Says::Claim("tenant".into())),
            ],
            &[name("x-department")],
        )
    }

    #[test]
    fn what_clients_may_not_send() {
        for (name, wanted) in [
            ("X-Portreeve-Subject", true),
            ("x-portreeve-anything", true),
            ("X-User-Id", true),
            ("X_User_Id", true),
            ("x-user", false),
            ("x_user_", true),
            ("X-Forwarded-User", true),
            ("X-Forwarded-For", false),
            ("X-Original-URL", true),
            ("X-HTTP-Method-Override", true),
            ("X-Tenant", true),
            ("x_department", true),
            ("Accept", false),
            ("X-Usergroup", false),
        ] {
            assert_eq!(identity().is_reserved(name), wanted, "{name}");
        }
        let mut headers = HeaderMap::new();
        let own = ["x-user-id", "x-portreeve-risk-level"];
        for name in ["x_user_id", "accept", "x-portreeve-else"]
            .into_iter()
            .chain(own)
        {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        let mut strip = identity().to_strip(&headers);
        strip.sort_by_key(ToString::to_string);
        assert_eq!(strip, ["x-portreeve-else", "x_user_id"]);
    }

    #[test]
    fn every_header_is_set_though_nothing_is_known() {
        let set = identity().set(&Known::default(), "allow");
        let names: Vec<_> = set.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(names, identity().names().collect::<Vec<_>>());
        let said: Vec<_> = set.iter().filter(|(_, value)| !value.is_empty()).collect();
        assert_eq!(said, [&(OUTCOME, HeaderValue::from_static("allow"))]);
    }

    #[test]
    fn claims_become_text() {
        let roles = ["clerk", "a,b", "ü"].map(|role| Value::Text(role.to_owned()));
        let realm = [("roles".to_owned(), Value::List(roles.to_vec()))].into();
        let claims = [("realm".to_owned(), Value::Record(realm))].into();
        let subject = EntityRef::new("User", "Zoë %").unwrap();
        let known = Known {
            subject: Some(&subject),
            claims: Some(&claims),
            ..Known::default()
        };
        let set: HeaderMap = identity().set(&known, "allow").into_iter().collect();
        assert_eq!(set["x-user-id"], "Zo%C3%AB%20%25");
        assert_eq!(set["x-user-roles"], "clerk,a%2Cb,%C3%BC");
        assert_eq!(set["x-tenant"], "");
    }

    proptest! {
        /// Any two texts stay two, and come back.
        #[test]
        fn encoding_loses_nothing(text in "\\PC{0,20}|[\\x00-\\x7f]{0,20}") {
            let safe = encoded(&text, true);
            prop_assert!(safe.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
            prop_assert!(HeaderValue::from_str(&safe).is_ok());
            let back = percent_encoding::percent_decode_str(&safe).decode_utf8().unwrap();
            prop_assert_eq!(back, text);
        }
    }
}
