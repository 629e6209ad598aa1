//! Headers that say who somebody is: never a client's to send, always ours to set (B23, X11).
//!
//! A gateway may keep a header of the client that our answer does not name (Envoy does). So each
//! identity header is in each allow, empty where there is nothing to say, and what cannot be
//! named beforehand is listed for gateways that can take headers away.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use domain::Value;
use domain::value::Attributes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::original::{METHOD_OVERRIDES, OriginalFault, PATH_OVERRIDES};
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

/// How the names of identity headers begin: ours, and those that proxies of some product write.
const PREFIXES: [&str; 13] = [
    "portreeve-",
    "ssl-client-",
    "tailscale-user-",
    "x-amzn-oidc-",
    "x-auth-request-",
    "x-authentik-",
    "x-client-cert-",
    "x-goog-authenticated-user-",
    "x-ms-client-principal-",
    "x-portreeve-",
    "x-ssl-client-",
    "x-user-",
    "x-webauth-",
];
/// What begins like one and says nothing of anybody: gRPC-Web sends it.
const X_USER_AGENT: &str = "x-user-agent";
/// Others that apps take for the word of their gateway.
const WELL_KNOWN: [&str; 23] = [
    "cf-access-authenticated-user-email",
    "client-cert",
    "client-cert-chain",
    "portreeve-key",
    "remote-email",
    "remote-groups",
    "remote-name",
    "remote-user",
    "x-authenticated-groups",
    "x-authenticated-user",
    "x-client-cert",
    "x-forwarded-access-token",
    "x-forwarded-client-cert",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-user",
    "x-internal-token",
    "x-ms-client-principal",
    "x-remote-groups",
    "x-remote-user",
    "x-service-name",
    "x-ssl-client-dn",
];
/// Headers that say where a request came from and went to: read once, as far as trust reaches.
const OF_THE_WAY: [&str; 15] = [
    "forwarded",
    "host",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-path",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-forwarded-uri",
    "x-real-ip",
];
/// The most bytes of names in [`TO_REMOVE`].
const TO_REMOVE_MAX: usize = 8_192;
/// In which Envoy's HTTP mode is told what to take off the app's request (the comment of
/// `OkHttpResponse.headers_to_remove` in its `external_auth.proto`).
pub const TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");
/// Longest value of an identity header, bytes (G4).
const VALUE_MAX: usize = 8_192;

/// A header's name as an app may see it: `X_User_Id` and `X-User-Id` are one in CGI and WSGI.
fn folded(name: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.bytes().all(is_plain) {
        return Cow::Borrowed(name);
    }
    let folded = name.chars().map(|character| match character {
        'a'..='z' | '0'..='9' => character,
        'A'..='Z' => character.to_ascii_lowercase(),
        _ => '-',
    });
    Cow::Owned(folded.collect())
}

/// Whether a header tells of the way of a request, so that only its trusted part may be read.
pub(crate) fn is_of_the_way(name: &str) -> bool {
    OF_THE_WAY.contains(&name) || name.starts_with("x-original-")
}

/// Whether a header can be one for apps, of identity or of facts: it means nothing else here.
pub(crate) fn is_free(name: &HeaderName) -> bool {
    let name = name.as_str();
    let is_ours = ["x-portreeve-", "portreeve-", "x-envoy-"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    let is_certificate = [
        "client-cert",
        "client-cert-chain",
        "x-forwarded-client-cert",
    ];
    !is_ours && !is_certificate.contains(&name) && !is_of_the_way(name) && !is_override(name)
}

/// Whether a header asks an app to see another request than the gateway saw.
fn is_override(name: &str) -> bool {
    METHOD_OVERRIDES.iter().any(|known| known == name)
        || PATH_OVERRIDES.iter().any(|known| known == name)
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
    vouched: Vec<HeaderName>,
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
    /// Checked by the settings: names are header names, in lower case. `vouched` are those of
    /// which the settings say that the gateway sets them or takes them off.
    pub(crate) fn new(
        headers: Vec<(HeaderName, Says)>,
        strip: &[HeaderName],
        vouched: &[HeaderName],
    ) -> Self {
        let named = headers.iter().map(|(name, _)| folded(name.as_str()));
        let stripped = strip.iter().map(|name| folded(name.as_str()));
        let stripped = named.chain(stripped).map(Cow::into_owned).collect();
        Self {
            headers,
            stripped,
            vouched: vouched.to_vec(),
        }
    }

    /// The same for a gateway that vouches for other headers.
    pub(crate) fn vouching(&self, vouched: &[HeaderName]) -> Self {
        Self {
            vouched: vouched.to_vec(),
            ..self.clone()
        }
    }

    /// Whether the settings say that the gateway sets this header or takes it off
    /// (`gateway.headers_set`), so that no client's word is in it.
    #[must_use]
    pub fn is_vouched(&self, name: &HeaderName) -> bool {
        self.vouched.contains(name)
    }

    /// Whether a client has no business sending this header: identity, or what makes an app see
    /// another request than the gateway. Underscores count as hyphens.
    #[must_use]
    pub fn is_reserved(&self, name: &str) -> bool {
        let known = folded(name);
        let is_vouched = self.vouched.iter().any(|vouched| vouched == &*known);
        // Only that spelling is the gateway's.
        if is_vouched {
            return !name.eq_ignore_ascii_case(&known);
        }
        let is_begun = PREFIXES.iter().any(|prefix| known.starts_with(prefix));
        is_begun && known != X_USER_AGENT
            || WELL_KNOWN.contains(&&*known)
            || is_override(&known)
            || self.stripped.contains(&*known)
    }

    /// Refuses what CGI, WSGI and Rack take for a header that only gateways send: `X_User_Id` is
    /// `X-User-Id` to them, and gateways that overwrite that one pass this one on.
    ///
    /// # Errors
    /// With the first such header.
    pub fn spelled(&self, headers: &HeaderMap) -> Result<(), OriginalFault> {
        let mut others = headers.keys().filter(|name| {
            let known = folded(name.as_str());
            let is_other = *name != &*known;
            is_other && (self.is_reserved(name.as_str()) || is_of_the_way(&known))
        });
        match others.next() {
            Some(name) => Err(OriginalFault::Spelling(name.clone())),
            None => Ok(()),
        }
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

    /// The value of [`TO_REMOVE`]: what was sent, as [`Self::to_strip`], and what is known by name,
    /// since Envoy's HTTP mode shows only some of the client's headers.
    #[must_use]
    pub fn to_remove(&self, headers: &HeaderMap) -> HeaderValue {
        let set: Vec<HeaderName> = self.names().collect();
        let sent = self.to_strip(headers);
        let known = WELL_KNOWN.iter().copied();
        let stripped = self.stripped.iter().map(String::as_str);
        let known = known
            .chain(stripped)
            .filter(|name| self.is_reserved(name) && !set.iter().any(|own| own == name));
        let names: BTreeSet<&str> = known.chain(sent.iter().map(HeaderName::as_str)).collect();
        let mut list = String::new();
        for name in names {
            if list.len() + name.len() > TO_REMOVE_MAX {
                break;
            }
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(name);
        }
        HeaderValue::from_str(&list).unwrap_or(HeaderValue::from_static(""))
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

/// A claim as text: lists between commas, which stand nowhere else, objects not at all.
fn joined(claim: &Value) -> String {
    match claim {
        Value::List(items) => {
            let items: Vec<String> = items.iter().filter_map(scalar).collect();
            let items: Vec<String> = items.iter().map(|item| encoded(item, true)).collect();
            items.join(",")
        }
        // `a,b` is not the list of `a` and `b`.
        one => scalar(one).map_or_else(String::new, |text| encoded(&text, true)),
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
            &[name("x-device"), name("x-ssl-client-dn")],
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
            ("X-User-Agent", false),
            ("X-Forwarded-Email", true),
            ("X-Forwarded-Groups", true),
            ("Remote-Groups", true),
            ("X-WebAuth-User", true),
            ("X-WEBAUTH-ROLE", true),
            ("X-SSL-Client-Verify", true),
            ("X-SSL-Client-DN", false),
            ("x_ssl_client_dn", true),
            ("X-Device", false),
            ("X_Device", true),
            ("Portreeve-Key", true),
            ("X-Rewrite-URL", true),
            ("X-Forwarded-Proto", false),
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

    /// B23: what a gateway that overwrites `X-User-Id` lets through, and CGI takes for it.
    #[test]
    fn other_spellings_are_refused() {
        for (name, wanted) in [
            ("x_portreeve_subject", false),
            ("x-user_id", false),
            ("x.user.id", false),
            ("x_forwarded_for", false),
            ("x_real_ip", false),
            ("x_original_url", false),
            ("x_http_method_override", false),
            ("portreeve_key", false),
            ("client_cert", false),
            ("x_tenant", false),
            ("x_device", false),
            ("x-device", true),
            ("x-user-id", true),
            ("x-forwarded-for", true),
            ("my_header", true),
            ("user_agent_hint", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("accept", HeaderValue::from_static("*/*"));
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static("admin"),
            );
            assert_eq!(identity().spelled(&headers).is_ok(), wanted, "{name}");
        }
    }

    /// Envoy's HTTP mode shows few headers, so that what is known by name is always among it.
    #[test]
    fn envoy_is_told_what_to_remove() {
        let mut headers = HeaderMap::new();
        for name in ["x-user-roles", "x-user-boss", "accept", "x-device"] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        let list = identity().to_remove(&headers);
        let list: Vec<&str> = list.to_str().unwrap().split(',').collect();
        for (name, wanted) in [
            ("x-user-boss", true),
            ("x-department", true),
            ("remote-user", true),
            ("x-forwarded-email", true),
            ("x-user-roles", false),
            ("x-user-id", false),
            ("x-tenant", false),
            ("x-portreeve-subject", false),
            ("x-ssl-client-dn", false),
            ("x-device", false),
            ("accept", false),
        ] {
            assert_eq!(list.contains(&name), wanted, "{name}");
        }
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

        // A text with a comma is not a list.
        let tenant = [("tenant".to_owned(), Value::Text("a,admin".to_owned()))].into();
        let known = Known {
            claims: Some(&tenant),
            ..Known::default()
        };
        let set: HeaderMap = identity().set(&known, "allow").into_iter().collect();
        assert_eq!(set["x-tenant"], "a%2Cadmin");
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
