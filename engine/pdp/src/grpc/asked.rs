//! A check as Envoy sends it, taken apart: the client's request in the words that every gateway's
//! question is in. Pure.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::service::auth::v3::AttributeContext;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer};
use gateway::{Node, Original, OriginalFault, Reading, Scheme};

use crate::http::is_request_id;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a check says of the client and its request.
#[derive(Debug)]
pub(super) struct Told {
    /// Method, scheme, host and target.
    pub(super) original: Result<Original, OriginalFault>,
    /// Who connected to the gateway.
    pub(super) client: IpAddr,
    /// The client's headers.
    pub(super) headers: HeaderMap,
    /// The client's certificates: PEM, percent-encoded. Empty: none, or none is passed on.
    pub(super) certificate: String,
}

impl Told {
    /// What the gateway calls the request. None: nothing, or nothing that can stand in records.
    pub(super) fn request_id(&self) -> Option<&str> {
        let id = self.headers.get(REQUEST_ID)?.to_str().ok()?;
        Some(id).filter(|id| is_request_id(id.as_bytes()))
    }
}

/// Why a check says too little, or contradicts itself. All but [`Self::HeaderTooLong`] are a 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotTold {
    /// A check of a connection, or of nothing.
    #[error(
        "the check is of no HTTP request; use the filter `envoy.filters.http.ext_authz`, not the \
         one for connections"
    )]
    NoRequest,
    /// The client came over a socket of the machine, or the gateway says nothing.
    #[error("the check does not name the client's address in `attributes.source.address`")]
    NoAddress,
    /// Not a header of HTTP.
    #[error("a header is none of HTTP")]
    Header,
    /// A part of the request has two values: it holds what only one of two forms can.
    #[error("`{0}` has two values")]
    Contradiction(&'static str),
    /// Longer than a header may be: 431 (G4).
    #[error("a header is too long")]
    HeaderTooLong,
}

/// Takes a check apart. `header_max` is the longest name or value of a header, bytes.
pub(super) fn told(
    attributes: Option<AttributeContext>,
    reading: Reading,
    header_max: usize,
) -> Result<Told, NotTold> {
    let attributes = attributes.ok_or(NotTold::NoRequest)?;
    let request = attributes.request.and_then(|request| request.http);
    let request = request.ok_or(NotTold::NoRequest)?;
    let source = attributes.source.unwrap_or_default();
    let client = address(&source).ok_or(NotTold::NoAddress)?;
    let headers = headers(&request, header_max)?;
    Ok(Told {
        original: original(&request, &headers, reading),
        client,
        headers,
        certificate: source.certificate,
    })
}

fn address(peer: &Peer) -> Option<IpAddr> {
    match peer.address.as_ref()?.address.as_ref()? {
        // Envoy names the interface of a link-local one.
        Address::SocketAddress(socket) => match Node::parse(&socket.address) {
            Some(Node::Address(address)) => Some(address),
            _ => None,
        },
        Address::Pipe(_) | Address::EnvoyInternalAddress(_) => None,
    }
}

fn original(
    request: &HttpRequest,
    headers: &HeaderMap,
    reading: Reading,
) -> Result<Original, OriginalFault> {
    let scheme = match request.scheme.as_str() {
        "" => Scheme::default(),
        text => Scheme::parse(text).ok_or(OriginalFault::Scheme)?,
    };
    let target = request.path.as_bytes();
    Original::direct(
        &request.method,
        scheme,
        &request.host,
        target,
        headers,
        reading,
    )
}

/// The headers of the client: each as it came where the gateway sends them so
/// (`encode_raw_headers`), otherwise those of one name joined.
fn headers(request: &HttpRequest, header_max: usize) -> Result<HeaderMap, NotTold> {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &[u8]| {
        if let Some(known) = name.strip_prefix(':') {
            return is_as_told(request, known, value);
        }
        if name.len().max(value.len()) > header_max {
            return Err(NotTold::HeaderTooLong);
        }
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| NotTold::Header)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| NotTold::Header)?;
        let appended = headers.try_append(name, value);
        appended.map(|_| ()).map_err(|_| NotTold::Header)
    };
    if let Some(raw) = &request.header_map {
        for header in &raw.headers {
            let value = match header.raw_value.as_slice() {
                [] => header.value.as_bytes(),
                raw => raw,
            };
            add(&header.key, value)?;
        }
    }
    for (name, value) in &request.headers {
        add(name, value.as_bytes())?;
    }
    Ok(headers)
}

/// Envoy names the parts of a request among its headers too, there as the client sent them, while
/// its own fields hold `!` for what is not UTF-8: two paths would be one.
fn is_as_told(request: &HttpRequest, name: &str, value: &[u8]) -> Result<(), NotTold> {
    let (told, name) = match name {
        "path" => (&request.path, "path"),
        "method" => (&request.method, "method"),
        "authority" => (&request.host, "host"),
        "scheme" => (&request.scheme, "scheme"),
        _ => return Ok(()),
    };
    if told.as_bytes() == value {
        Ok(())
    } else {
        Err(NotTold::Contradiction(name))
    }
}

#[cfg(test)]
mod tests;
