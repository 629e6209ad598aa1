//! Names of headers, and what they mean wherever they come from.

use std::borrow::Cow;

use http::HeaderName;

use crate::original::{METHOD_OVERRIDES, PATH_OVERRIDES};

/// How the names of identity headers begin: ours, and those that proxies of some product write.
pub(super) const PREFIXES: [&str; 13] = [
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
pub(super) const X_USER_AGENT: &str = "x-user-agent";
/// Others that apps take for the word of their gateway.
pub(super) const WELL_KNOWN: [&str; 23] = [
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
/// A header's name as an app may see it: `X_User_Id` and `X-User-Id` are one in CGI and WSGI.
pub(super) fn folded(name: &str) -> Cow<'_, str> {
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
pub(super) fn is_override(name: &str) -> bool {
    METHOD_OVERRIDES.iter().any(|known| known == name)
        || PATH_OVERRIDES.iter().any(|known| known == name)
}
