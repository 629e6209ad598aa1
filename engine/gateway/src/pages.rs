//! Pages of other origins that act with the session cookie of whoever looks at them (F22).
//!
//! `SameSite=Lax` keeps the cookie from pages of other sites; a neighbouring host is of the same
//! site. Browsers say which page sends a request, in headers that no page can write.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ORIGIN, SEC_WEBSOCKET_KEY, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::host::Authority;
use crate::original::{self, Original, Scheme};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What a page of another origin may read of a refusal.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("www-authenticate, retry-after, x-portreeve-decision-id");

/// A page of another origin sent a request with somebody's session cookie: 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a page of another origin sent this; if it may, add its origin to `gateway.origins`, for \
     example `https://app.example`"
)]
pub struct OtherOrigin;

/// Checks who sends a request that came with a session cookie. What only reads is let through (no
/// page can read the answer without the app's leave), but for WebSockets, which have no such rule.
///
/// `Sec-Fetch-Site` goes before `Origin`, which is `null` for an app's own forms where it has
/// browsers send no referrer. A client that sends neither is no browser, and runs no pages.
///
/// # Errors
/// When a browser says that a page of another origin sends it, which is none of `origins`.
pub fn check(
    original: &Original,
    headers: &HeaderMap,
    origins: &[(Scheme, Authority)],
) -> Result<(), OtherOrigin> {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&original.method);
    // Gateways keep `Upgrade` to themselves when they ask.
    let stays_open = headers.contains_key(UPGRADE) || headers.contains_key(SEC_WEBSOCKET_KEY);
    if reads && !stays_open {
        return Ok(());
    }
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    let site = sites.next();
    let mut senders = headers.get_all(ORIGIN).iter();
    let sender = senders.next();
    if sites.next().is_some() || senders.next().is_some() {
        return Err(OtherOrigin);
    }
    let is_own_site = site.map(|site| site == "same-origin" || site == "none");
    let is_fine = match (is_own_site, sender) {
        (Some(true), _) | (None, None) => true,
        (Some(false), None) => false,
        (is_own_site, Some(sender)) => read(sender).is_some_and(|sender| {
            origins.contains(&sender) || is_own_site.is_none() && is_own(&sender, original)
        }),
    };
    if is_fine { Ok(()) } else { Err(OtherOrigin) }
}

/// Whether a page comes from where its request goes. Proxies may end TLS and not say so, while a
/// page that came over TLS is no other than the host's own.
fn is_own((scheme, authority): &(Scheme, Authority), original: &Original) -> bool {
    let (own_scheme, own) = original.origin();
    *authority == own && (*scheme == own_scheme || *scheme == Scheme::Https)
}

fn read(sender: &HeaderValue) -> Option<(Scheme, Authority)> {
    sender.to_str().ok().and_then(original::origin)
}

/// Lets a page of one of `origins` read a refusal, so that it can do as the challenge says (Fetch
/// §3.2). What is allowed is the app's to answer.
pub(crate) fn let_read(
    reply: &mut HeaderMap,
    headers: &HeaderMap,
    origins: &[(Scheme, Authority)],
) {
    if origins.is_empty() {
        return;
    }
    reply.append(VARY, HeaderValue::from_static("origin"));
    let Some(sender) = headers.get(ORIGIN) else {
        return;
    };
    if read(sender).is_some_and(|known| origins.contains(&known)) {
        let yes = HeaderValue::from_static("true");
        reply.insert(ACCESS_CONTROL_ALLOW_ORIGIN, sender.clone());
        reply.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        reply.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::parse;
    use crate::original::Reading;

    const O: &str = "origin";
    const S: &str = "sec-fetch-site";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    /// F22: what is sent, and whether it may act with a cookie.
    #[test]
    fn a_neighbour_does_not_act_with_a_cookie() {
        let origins = [original::origin("https://app.example").unwrap()];
        const POST: &str = "POST https://shop.example/orders/7";
        const GET: &str = "GET https://shop.example/orders/7";
        for (what, request, sent, wanted) in [
            ("no browser", POST, &[][..], true),
            (
                "its own page",
                POST,
                &[(O, "https://shop.example"), (S, "same-origin")],
                true,
            ),
            (
                "an older browser",
                POST,
                &[(O, "https://shop.example")],
                true,
            ),
            (
                "the usual port",
                POST,
                &[(O, "https://shop.example:443")],
                true,
            ),
            ("typed by a person", POST, &[(S, "none")], true),
            (
                "a form of an app that sends no referrer",
                POST,
                &[(O, "null"), (S, "same-origin")],
                true,
            ),
            (
                "an app that is allowed",
                POST,
                &[(O, "https://app.example"), (S, "same-site")],
                true,
            ),
            (
                "the same, of old",
                "DELETE https://shop.example/",
                &[(O, "https://app.example")],
                true,
            ),
            (
                "a neighbour",
                POST,
                &[(O, "https://evil.shop.example"), (S, "same-site")],
                false,
            ),
            (
                "a neighbour of old",
                POST,
                &[(O, "https://evil.shop.example")],
                false,
            ),
            (
                "another port",
                POST,
                &[(O, "https://shop.example:8443")],
                false,
            ),
            ("without TLS", POST, &[(O, "http://shop.example")], false),
            (
                "TLS that ended before",
                "POST http://shop.example/",
                &[(O, "https://shop.example")],
                true,
            ),
            ("another site", POST, &[(S, "cross-site")], false),
            (
                "a frame that is shut in",
                POST,
                &[(O, "null"), (S, "cross-site")],
                false,
            ),
            ("one of old", POST, &[(O, "null")], false),
            (
                "a page that was sent on from elsewhere",
                POST,
                &[(O, "https://shop.example"), (S, "cross-site")],
                false,
            ),
            (
                "two pages",
                POST,
                &[(O, "https://shop.example"), (O, "https://evil.example")],
                false,
            ),
            (
                "two sites",
                POST,
                &[(S, "same-origin"), (S, "cross-site")],
                false,
            ),
            ("nonsense", POST, &[(O, "shop.example")], false),
            ("a link", GET, &[(S, "cross-site")], true),
            (
                "a picture",
                GET,
                &[(O, "https://evil.example"), (S, "cross-site")],
                true,
            ),
            (
                "a WebSocket",
                GET,
                &[("upgrade", "websocket"), (O, "https://evil.shop.example")],
                false,
            ),
            (
                "one of which the gateway says less",
                GET,
                &[("sec-websocket-key", "x"), (O, "https://evil.shop.example")],
                false,
            ),
            (
                "its own WebSocket",
                GET,
                &[("upgrade", "websocket"), (O, "https://shop.example")],
                true,
            ),
        ] {
            let headers = headers(sent);
            let original = parse(request, &headers, Reading::default()).unwrap();
            assert_eq!(
                check(&original, &headers, &origins).is_ok(),
                wanted,
                "{what}"
            );
        }
    }

    #[test]
    fn an_app_elsewhere_reads_the_challenge() {
        let origins = [original::origin("https://app.example").unwrap()];
        for (origin, origins, wanted, varies) in [
            (
                "https://app.example",
                &origins[..],
                Some("https://app.example"),
                true,
            ),
            ("https://evil.example", &origins, None, true),
            ("null", &origins, None, true),
            ("https://app.example", &[], None, false),
        ] {
            let mut reply = HeaderMap::new();
            let mut sent = HeaderMap::new();
            sent.insert(ORIGIN, HeaderValue::from_static(origin));
            let_read(&mut reply, &sent, origins);
            let allowed = reply.get(ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(
                allowed.map(|value| value.to_str().unwrap()),
                wanted,
                "{origin}"
            );
            assert_eq!(
                reply.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS),
                wanted.is_some()
            );
            assert_eq!(reply.contains_key(VARY), varies, "{origin}");
        }
    }
}
