//! Headers that say who somebody is: never a client's to send, always ours to set (B23, X11).
//!
//! A gateway may keep a header of the client that our answer does not name (Envoy does). So each
//! identity header is in each allow, empty where there is nothing to say, and what cannot be
//! named beforehand is listed for gateways that can take headers away.

mod names;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use domain::Value;
use domain::value::Attributes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::original::OriginalFault;
use crate::template::claim;
use names::{PREFIXES, WELL_KNOWN, X_USER_AGENT, folded, is_override};
pub(crate) use names::{is_free, is_of_the_way};

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

/// The most bytes of names that a client can bring into [`TO_REMOVE`], with their commas.
const SENT_MAX: usize = 8_192;
/// In which Envoy's HTTP mode is told what to take off the app's request (the comment of
/// `OkHttpResponse.headers_to_remove` in its `external_auth.proto`).
pub const TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");
/// Longest value of an identity header, bytes (G4).
const VALUE_MAX: usize = 8_192;

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

    /// The value of [`TO_REMOVE`]: what was sent, as [`Self::to_strip`], what is known by name,
    /// since Envoy's HTTP mode shows only some of the client's headers, and `more`. None: the
    /// client sent more than fits.
    // INVARIANT: whole, or not at all. What the list leaves out, the app gets as the client wrote it.
    #[must_use]
    pub fn to_remove(&self, headers: &HeaderMap, more: &[HeaderName]) -> Option<HeaderValue> {
        let set: Vec<HeaderName> = self.names().collect();
        let sent = self.to_strip(headers);
        let bytes: usize = sent.iter().map(|name| name.as_str().len() + 1).sum();
        if bytes > SENT_MAX {
            return None;
        }
        let known = WELL_KNOWN.iter().copied();
        let stripped = self.stripped.iter().map(String::as_str);
        let known = known
            .chain(stripped)
            .filter(|name| self.is_reserved(name) && !set.iter().any(|own| own == name));
        let named = sent.iter().chain(more).map(HeaderName::as_str);
        let names: BTreeSet<&str> = known.chain(named).collect();
        let list: Vec<&str> = names.into_iter().collect();
        HeaderValue::from_str(&list.join(",")).ok()
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
mod tests;
