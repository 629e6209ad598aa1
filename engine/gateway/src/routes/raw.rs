//! `[gateway]` as text holds it. What each word means stands in [`super`] and [`crate::door`].

use std::collections::BTreeMap;

use serde::Deserialize;

/// The section.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawGateway {
    /// Networks of trusted hops; by default this machine.
    pub(crate) trusted: Option<Vec<String>>,
    /// How many hops, where their networks are not known.
    pub(crate) hops: Option<u8>,
    /// `any`, `forwarded`, `x-forwarded-for`, `x-real-ip` or `connection`.
    pub(crate) address_from: Option<String>,
    /// `any`, `x-forwarded` or `x-original`.
    pub(crate) original_from: Option<String>,
    /// `refuse` or `merge`.
    pub(crate) empty_segments: Option<String>,
    /// `refuse` or `ignore`.
    pub(crate) method_override: Option<String>,
    /// `refuse` or `ignore`.
    pub(crate) path_override: Option<String>,
    /// `any` or `auth_request`.
    pub(crate) statuses: Option<String>,
    /// `client-cert`, `x-forwarded-client-cert` or `none`.
    pub(crate) certificate_from: Option<String>,
    /// The type of those whom a certificate names.
    pub(crate) certificate_type: Option<String>,
    /// Audiences of tokens, beside the engine itself.
    pub(crate) audiences: Option<Vec<String>>,
    /// Further origins whose pages may act with the cookie.
    pub(crate) origins: Option<Vec<String>>,
    /// Headers that gateways set or take off, whatever the client sends.
    pub(crate) headers_set: Option<Vec<String>>,
    /// `refuse`, `exact` or `fold`.
    pub(crate) case: Option<String>,
    /// The session cookie's name.
    pub(crate) cookie: Option<String>,
    /// Headers for apps, and what they say.
    pub(crate) identity: BTreeMap<String, String>,
    /// Further headers that clients may not send.
    pub(crate) strip: Vec<String>,
    /// Where browsers go for a step-up.
    pub(crate) login: Option<RawLogin>,
    /// Routes of all callers.
    pub(crate) routes: Vec<RawRoute>,
    /// What is otherwise for single callers, by the names of their keys.
    pub(crate) callers: BTreeMap<String, RawCaller>,
}

impl RawGateway {
    /// Whether anything can be asked by a gateway at all.
    #[must_use]
    pub fn has_routes(&self) -> bool {
        !self.routes.is_empty() || self.callers.values().any(|own| !own.routes.is_empty())
    }
}

/// What is otherwise for one caller.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawCaller {
    pub(crate) trusted: Option<Vec<String>>,
    pub(crate) hops: Option<u8>,
    pub(crate) address_from: Option<String>,
    pub(crate) original_from: Option<String>,
    pub(crate) empty_segments: Option<String>,
    pub(crate) method_override: Option<String>,
    pub(crate) path_override: Option<String>,
    pub(crate) statuses: Option<String>,
    pub(crate) certificate_from: Option<String>,
    pub(crate) certificate_type: Option<String>,
    pub(crate) audiences: Option<Vec<String>>,
    pub(crate) origins: Option<Vec<String>>,
    pub(crate) headers_set: Option<Vec<String>>,
    pub(crate) case: Option<String>,
    /// Its routes stand before those of all.
    pub(crate) routes: Vec<RawRoute>,
    /// It has no other routes than these.
    pub(crate) only_own_routes: bool,
}

/// Where browsers go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLogin {
    pub(crate) url: String,
    pub(crate) return_hosts: Vec<String>,
    #[serde(default)]
    pub(crate) return_parameter: Option<String>,
}

/// One route.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRoute {
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) methods: Vec<String>,
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, RawWanted>,
    #[serde(default)]
    pub(crate) claims: BTreeMap<String, RawWanted>,
    #[serde(default)]
    pub(crate) subject: RawSubject,
    pub(crate) action: RawAction,
    #[serde(default)]
    pub(crate) action_properties: BTreeMap<String, String>,
    pub(crate) resource: RawResource,
    #[serde(default)]
    pub(crate) context: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) step_up: Option<String>,
    #[serde(default)]
    pub(crate) token: Option<RawToken>,
}

/// What a header or claim has to be.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a value (`\"acme\"`), a list of values of which it has to be one, or `{ present = true }`"
)]
pub(crate) enum RawWanted {
    One(RawScalar),
    AnyOf(Vec<RawScalar>),
    There(RawPresent),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "text, a whole number, `true` or `false`")]
pub(crate) enum RawScalar {
    Text(String),
    Long(i64),
    Bool(bool),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPresent {
    pub(crate) present: bool,
}

/// Who; without a word, whom the credential names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawSubject {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) from: Vec<String>,
    pub(crate) id: Option<String>,
    pub(crate) claim: Option<String>,
    pub(crate) properties: BTreeMap<String, String>,
}

/// What: one action, or one for each method.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "an action's name, or a table from methods to names, for example `{ GET = \"orders.read\" }`"
)]
pub(crate) enum RawAction {
    One(String),
    ByMethod(BTreeMap<String, String>),
}

/// On what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawResource {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) properties: BTreeMap<String, String>,
}

/// The token for the app.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawToken {
    pub(crate) audience: String,
    #[serde(default)]
    pub(crate) scope: Vec<String>,
}
