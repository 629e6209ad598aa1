//! What the engine may be called from outside.

use std::net::IpAddr;

use axum::http::Uri;

/// Whether this can be an issuer: https, or http on this machine; a host and perhaps a port and a
/// path, and nobody's name in front of an `@`.
pub(super) fn is_public_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return false;
    };
    let (host, name) = (authority.host(), authority.as_str());
    let port = authority.port_u16().filter(|port| *port != 0);
    let is_plain = uri.query().is_none() && !url.contains('#') && !url.ends_with('/');
    let is_host = !host.is_empty() && (name == host || port.is_some()) && !name.contains('@');
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>();
    let is_loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    is_plain && is_host && (scheme == "https" || scheme == "http" && is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_https_or_on_this_machine() {
        for good in [
            "https://pdp.example",
            "https://pdp.example:8443/tenant",
            "http://127.0.0.1:8181",
            "http://[::1]:8181",
            "http://localhost",
        ] {
            assert!(is_public_url(good), "{good}");
        }
        for bad in [
            "http://127.0.0.1:8181@evil",
            "http://127.0.0.1@evil",
            "https://somebody@pdp.example",
            "http://127.0.0.1.evil",
            "http://localhost.evil:80",
            "http://pdp.example",
            "https://pdp.example/",
            "https://pdp.example?x",
            "https://pdp.example#x",
            "https://pdp.example:99999",
            "https://pdp.example:",
            "https://",
            "https:///x",
            "pdp.example",
            "ftp://pdp.example",
            "https://pdp.example/ x",
        ] {
            assert!(!is_public_url(bad), "{bad}");
        }
    }
}
