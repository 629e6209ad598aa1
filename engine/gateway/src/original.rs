//! What was asked of the gateway: method, host and target of the client's request.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Method};

use crate::forwarded::{
    AddressFrom, Element, FORWARDED, ForwardedFault, OriginalFrom, Trust, last_forwarded, single,
};
use crate::host::Authority;
use crate::path::{EmptySegments, Target, TargetFault};

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
const X_ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-original-host");

/// By which some frameworks take a request for one of another method.
pub(crate) const METHOD_OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// By which some frameworks take a request for one of another path (IIS, Symfony, Laminas).
pub(crate) const PATH_OVERRIDES: [HeaderName; 3] = [
    X_ORIGINAL_URL,
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-override-url"),
];
/// The key of a query by which some frameworks do the same as by [`METHOD_OVERRIDES`].
const METHOD_KEY: &str = "_method";

/// How strictly requests are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What to do with `//`.
    pub empty_segments: EmptySegments,
    /// Let requests pass that ask the app to take them for another method
    /// (`X-HTTP-Method-Override`, `_method` in the query): right where gateway or app drop these.
    pub ignore_method_override: bool,
    /// Let requests pass whose headers ask the app to take them for another path
    /// (`X-Original-URL`, `X-Rewrite-URL`): right where gateway or app drop these.
    pub ignore_path_override: bool,
}

/// How the client spoke to the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Also `wss`, and when nobody says.
    #[default]
    Https,
    /// Also `ws`.
    Http,
}

impl Scheme {
    /// Reads `http`, `https`, `ws` or `wss`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "https" | "wss" => Some(Self::Https),
            "http" | "ws" => Some(Self::Http),
            _ => None,
        }
    }

    /// `https` or `http`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// Reads an origin (RFC 6454 §7): scheme, host and perhaps a port, the usual one left out.
#[must_use]
pub fn origin(text: &str) -> Option<(Scheme, Authority)> {
    let (scheme, authority) = text.split_once("://")?;
    let scheme = Scheme::parse(scheme)?;
    let authority = Authority::parse(authority)?;
    Some((scheme, authority.without_usual_port(scheme)))
}

/// Why there is nothing to decide about. All but [`Self::NotTrusted`] are a 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginalFault {
    /// Whoever asks is no gateway by the settings: 403.
    #[error("{0} is no trusted hop; add it to `gateway.trusted` if it is a gateway")]
    NotTrusted(IpAddr),
    /// A header is missing that the gateway has to set.
    #[error("the gateway does not send `{0}`; it has to set method, URI and host")]
    Missing(HeaderName),
    /// The target has no single reading.
    #[error(transparent)]
    Target(#[from] TargetFault),
    /// No name, no address, or more than that.
    #[error("the host is not a name or an address with perhaps a port")]
    Host,
    /// No method (RFC 9110 §9.1). `get` is another one than `GET`, and the same to some apps.
    #[error("the method is not one of HTTP, in upper case")]
    Method,
    /// Neither `http` nor `https`.
    #[error("the scheme is neither `http` nor `https`")]
    Scheme,
    /// A header or the query asks the app to take the request for another method.
    #[error(
        "`{0}` names another method than the request has; where the app does not read it, set \
         `gateway.method_override` to `ignore`"
    )]
    MethodOverride(String),
    /// A header asks the app to take the request for another path.
    #[error(
        "`{0}` names another path than the request has; where the app does not read it, set \
         `gateway.path_override` to `ignore`"
    )]
    PathOverride(HeaderName),
    /// What CGI, WSGI and Rack take for a header that only a gateway sends.
    #[error("`{0}` is another spelling of a header that only gateways send; take it out")]
    Spelling(HeaderName),
    /// What hops say cannot be believed.
    #[error(transparent)]
    Forwarded(#[from] ForwardedFault),
}

/// The client's request, as far as it is decided about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Method.
    pub method: Method,
    /// How it came to the gateway.
    pub scheme: Scheme,
    /// What it was sent to.
    pub authority: Authority,
    /// Path and query.
    pub target: Target,
}

impl Original {
    /// What came with method, host and target of the client's own: Envoy, over gRPC and HTTP.
    /// `headers` are the client's.
    ///
    /// # Errors
    /// When it has no single reading.
    pub fn direct(
        method: &str,
        scheme: Scheme,
        authority: &str,
        target: &[u8],
        headers: &HeaderMap,
        reading: Reading,
    ) -> Result<Self, OriginalFault> {
        let is_upper = !method.bytes().any(|byte| byte.is_ascii_lowercase());
        let method = Method::from_bytes(method.as_bytes()).ok();
        let method = method.filter(|_| is_upper).ok_or(OriginalFault::Method)?;
        let original = Self {
            method,
            scheme,
            authority: Authority::parse(authority).ok_or(OriginalFault::Host)?,
            target: Target::parse(target, reading.empty_segments)?,
        };
        if !reading.ignore_method_override {
            original.has_one_method(headers)?;
        }
        if !reading.ignore_path_override {
            original.has_one_path(headers, reading)?;
        }
        Ok(original)
    }

    /// Where a page that was served for this request comes from.
    #[must_use]
    pub fn origin(&self) -> (Scheme, Authority) {
        let authority = self.authority.clone();
        (self.scheme, authority.without_usual_port(self.scheme))
    }

    /// The request's URL without its query: what a proof of possession is for (RFC 9449 §4.2).
    #[must_use]
    pub fn url(&self) -> String {
        let (scheme, path) = (self.scheme.as_str(), self.target.path());
        format!("{scheme}://{}{path}", self.authority)
    }

    /// Whether a URL is that of the request, but for its query: read as the request was, so that
    /// however a client writes its path, a proof for it is a proof for this one (RFC 9449 §4.3).
    #[must_use]
    pub fn is_at(&self, url: &str, reading: Reading) -> bool {
        let url = url.split(['?', '#']).next().unwrap_or_default();
        let Ok(url) = split_url(url.as_bytes()) else {
            return false;
        };
        let (Some(scheme), Some(authority)) = (url.scheme, url.authority) else {
            return false;
        };
        let is_path = Target::parse(url.target, reading.empty_segments)
            .is_ok_and(|target| target.path() == self.target.path());
        is_path && (scheme, authority.without_usual_port(scheme)) == self.origin()
    }

    /// What a gateway tells in headers: nginx, Caddy, Traefik, HAProxy, Apache.
    ///
    /// # Errors
    /// When `peer` is not believed, or what it tells is not whole or has no single reading.
    pub fn told(
        peer: IpAddr,
        headers: &HeaderMap,
        trust: &Trust,
        reading: Reading,
    ) -> Result<Self, OriginalFault> {
        if !trust.holds(peer) {
            return Err(OriginalFault::NotTrusted(peer.to_canonical()));
        }
        let forwarded = Told::x_forwarded(headers, trust)?;
        let original = Told::x_original(headers, trust)?;
        let told = match (forwarded, original) {
            (Some(forwarded), Some(original)) => forwarded.agrees(&original)?,
            (Some(told), None) | (None, Some(told)) => told,
            (None, None) if trust.original_from == OriginalFrom::XOriginal => {
                return Err(OriginalFault::Missing(X_ORIGINAL_URI));
            }
            (None, None) => return Err(OriginalFault::Missing(X_FORWARDED_URI)),
        };
        let last = match trust.address_from {
            AddressFrom::Any | AddressFrom::Forwarded => last_forwarded(headers)?,
            _ => None,
        };
        let scheme = told.scheme(headers, last.as_ref())?;
        if let Some(host) = last.and_then(|element| element.host)
            && Authority::parse(&host).as_ref() != Some(&told.authority)
        {
            return Err(ForwardedFault::Conflict(FORWARDED, told.host_header).into());
        }
        let written = told.authority.to_string();
        Self::direct(told.method, scheme, &written, told.target, headers, reading)
    }

    fn has_one_method(&self, headers: &HeaderMap) -> Result<(), OriginalFault> {
        let method = self.method.as_str().as_bytes();
        for name in METHOD_OVERRIDES {
            for value in headers.get_all(&name) {
                if !value.as_bytes().eq_ignore_ascii_case(method) {
                    return Err(OriginalFault::MethodOverride(name.to_string()));
                }
            }
        }
        let query = self.target.query();
        let mut others = query.into_iter().flat_map(|query| query.like(METHOD_KEY));
        match others.any(|value| !value.as_bytes().eq_ignore_ascii_case(method)) {
            true => Err(OriginalFault::MethodOverride(METHOD_KEY.to_owned())),
            false => Ok(()),
        }
    }

    /// Proxies before the gateway may say in these what was asked of them, which is no other path.
    fn has_one_path(&self, headers: &HeaderMap, reading: Reading) -> Result<(), OriginalFault> {
        for name in PATH_OVERRIDES {
            for value in headers.get_all(&name) {
                let is_same = split_url(value.as_bytes()).is_ok_and(|url| {
                    let target = Target::parse(url.target, reading.empty_segments);
                    target.as_ref() == Ok(&self.target)
                });
                if !is_same {
                    return Err(OriginalFault::PathOverride(name));
                }
            }
        }
        Ok(())
    }
}

/// What one family of headers says.
struct Told<'a> {
    method: &'a str,
    target: &'a [u8],
    authority: Authority,
    /// From the URL, where it is one.
    scheme: Option<Scheme>,
    method_header: HeaderName,
    target_header: HeaderName,
    host_header: HeaderName,
}

impl<'a> Told<'a> {
    /// None: the family is not there, or not asked.
    fn x_forwarded(headers: &'a HeaderMap, trust: &Trust) -> Result<Option<Self>, OriginalFault> {
        let is_there =
            headers.contains_key(X_FORWARDED_METHOD) || headers.contains_key(X_FORWARDED_URI);
        if !is_there || trust.original_from == OriginalFrom::XOriginal {
            return Ok(None);
        }
        let host = needed(headers, X_FORWARDED_HOST)?;
        Ok(Some(Self {
            method: needed(headers, X_FORWARDED_METHOD)?,
            target: target(headers, &X_FORWARDED_URI)?
                .ok_or(OriginalFault::Missing(X_FORWARDED_URI))?,
            authority: Authority::parse(host).ok_or(OriginalFault::Host)?,
            scheme: None,
            method_header: X_FORWARDED_METHOD,
            target_header: X_FORWARDED_URI,
            host_header: X_FORWARDED_HOST,
        }))
    }

    fn x_original(headers: &'a HeaderMap, trust: &Trust) -> Result<Option<Self>, OriginalFault> {
        let is_there = [X_ORIGINAL_METHOD, X_ORIGINAL_URI, X_ORIGINAL_URL]
            .iter()
            .any(|name| headers.contains_key(name));
        if !is_there || trust.original_from == OriginalFrom::XForwarded {
            return Ok(None);
        }
        let method = needed(headers, X_ORIGINAL_METHOD)?;
        let host = single(headers, &X_ORIGINAL_HOST)?
            .map(|host| Authority::parse(host).ok_or(OriginalFault::Host))
            .transpose()?;
        let uri = target(headers, &X_ORIGINAL_URI)?;
        let url = target(headers, &X_ORIGINAL_URL)?
            .map(split_url)
            .transpose()?;
        let conflict = |one, other| Err(ForwardedFault::Conflict(one, other).into());
        let (target, target_header) = match (&uri, &url) {
            (Some(uri), Some(url)) if *uri != url.target => {
                return conflict(X_ORIGINAL_URI, X_ORIGINAL_URL);
            }
            (Some(uri), _) => (*uri, X_ORIGINAL_URI),
            (None, Some(url)) => (url.target, X_ORIGINAL_URL),
            (None, None) => return Err(OriginalFault::Missing(X_ORIGINAL_URI)),
        };
        let (scheme, of_url) = match url {
            Some(url) => (url.scheme, url.authority),
            None => (None, None),
        };
        let (authority, host_header) = match (host, of_url) {
            (Some(host), Some(of_url)) if host != of_url => {
                return conflict(X_ORIGINAL_HOST, X_ORIGINAL_URL);
            }
            (Some(host), _) => (host, X_ORIGINAL_HOST),
            (None, Some(of_url)) => (of_url, X_ORIGINAL_URL),
            (None, None) => return Err(OriginalFault::Missing(X_ORIGINAL_HOST)),
        };
        Ok(Some(Self {
            method,
            target,
            authority,
            scheme,
            method_header: X_ORIGINAL_METHOD,
            target_header,
            host_header,
        }))
    }

    fn agrees(self, other: &Self) -> Result<Self, OriginalFault> {
        let conflict = |one: &HeaderName, two: &HeaderName| {
            Err(ForwardedFault::Conflict(one.clone(), two.clone()).into())
        };
        if self.method != other.method {
            return conflict(&self.method_header, &other.method_header);
        }
        if self.target != other.target {
            return conflict(&self.target_header, &other.target_header);
        }
        if self.authority != other.authority {
            return conflict(&self.host_header, &other.host_header);
        }
        Ok(Self {
            scheme: self.scheme.or(other.scheme),
            ..self
        })
    }

    fn scheme(&self, headers: &HeaderMap, last: Option<&Element>) -> Result<Scheme, OriginalFault> {
        let read = |text: &str| Scheme::parse(text).ok_or(OriginalFault::Scheme);
        let proto = single(headers, &X_FORWARDED_PROTO)?.map(read).transpose()?;
        let in_forwarded = last.and_then(|element| element.proto.as_deref());
        let in_forwarded = in_forwarded.map(read).transpose()?;
        let all = [
            (self.scheme, &self.target_header),
            (proto, &X_FORWARDED_PROTO),
            (in_forwarded, &FORWARDED),
        ];
        let mut found: Option<(Scheme, &HeaderName)> = None;
        for (scheme, header) in all {
            match (found, scheme) {
                (Some((known, by)), Some(scheme)) if known != scheme => {
                    return Err(ForwardedFault::Conflict(by.clone(), header.clone()).into());
                }
                (None, Some(scheme)) => found = Some((scheme, header)),
                _ => {}
            }
        }
        Ok(found.map_or_else(Scheme::default, |(scheme, _)| scheme))
    }
}

fn needed(headers: &HeaderMap, name: HeaderName) -> Result<&str, OriginalFault> {
    single(headers, &name)?.ok_or(OriginalFault::Missing(name))
}

/// The bytes of a header that holds a target: commas are part of it, so only its being there twice
/// is a fault.
fn target<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a [u8]>, ForwardedFault> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        Some(_) => Err(ForwardedFault::Repeated(name.clone())),
        None => Ok(first.map(http::HeaderValue::as_bytes)),
    }
}

/// A target, or a whole URL as ingress-nginx sends it.
struct Url<'a> {
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    target: &'a [u8],
}

fn split_url(raw: &[u8]) -> Result<Url<'_>, OriginalFault> {
    if raw.starts_with(b"/") {
        return Ok(Url {
            scheme: None,
            authority: None,
            target: raw,
        });
    }
    let not_origin = || OriginalFault::Target(TargetFault::NotOrigin);
    let at = raw
        .windows(3)
        .position(|three| three == b"://")
        .ok_or_else(not_origin)?;
    let (scheme, rest) = (raw.get(..at), raw.get(at + 3..).unwrap_or_default());
    let scheme = scheme.and_then(|scheme| std::str::from_utf8(scheme).ok());
    let end = rest.iter().position(|byte| b"/?#\\".contains(byte));
    let (authority, target) = rest
        .split_at_checked(end.unwrap_or(rest.len()))
        .unwrap_or_default();
    let authority = std::str::from_utf8(authority)
        .ok()
        .and_then(Authority::parse);
    Ok(Url {
        scheme: Some(
            scheme
                .and_then(Scheme::parse)
                .ok_or(OriginalFault::Scheme)?,
        ),
        authority: Some(authority.ok_or(OriginalFault::Host)?),
        target: if target.is_empty() { b"/" } else { target },
    })
}

#[cfg(test)]
mod tests;
