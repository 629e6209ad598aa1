//! Where a call goes, read from its URL.

use axum::http::Uri;

use super::OutboundError;

/// A host and port that may be called whatever their address, plain http too
/// (`limits.outbound_allow`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Allowed {
    /// Reads `host:port`; an IPv6 address stands in brackets. None for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let bare = bare(host);
        let is_address = bare.parse::<std::net::IpAddr>().is_ok();
        let is_name = host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let good = if host.starts_with('[') {
            is_address
        } else {
            is_name && !host.is_empty()
        };
        good.then(|| Self {
            host: bare.to_ascii_lowercase(),
            port,
        })
    }
}

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) is_https: bool,
    /// In small letters, an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// For `Host`, as the URL has it.
    pub(super) authority: String,
    pub(super) path: String,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, OutboundError> {
        let wrong = |why: &str| OutboundError::Url(format!("`{url}` {why}"));
        let uri: Uri = url.parse().map_err(|_| wrong("is no URL"))?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("is neither https nor http")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("has a name or password in it"));
        }
        let host = bare(authority.host()).to_ascii_lowercase();
        let named_port = authority.as_str() != authority.host();
        let port = match authority.port_u16() {
            Some(0) => return Err(wrong("has no port that could be called")),
            Some(port) => port,
            None if named_port => return Err(wrong("has no port that could be called")),
            None if is_https => 443,
            None => 80,
        };
        if host.is_empty() {
            return Err(wrong("has no host"));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            is_https,
            host,
            port,
            authority: authority.as_str().to_owned(),
            path: path.to_owned(),
        })
    }

    pub(super) fn is_in(&self, allowed: &[Allowed]) -> bool {
        let mut all = allowed.iter();
        all.any(|allowed| allowed.host == self.host && allowed.port == self.port)
    }

    /// Whom the circuit breaker is for.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Whether a URL can be called at all: for settings, before anything is.
#[must_use]
pub fn is_callable(url: &str, allowed: &[Allowed]) -> bool {
    Target::parse(url).is_ok_and(|target| target.is_https || target.is_in(allowed))
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_what_its_url_says() {
        let target = Target::parse("https://IdP.Example:8443/keys?x=1#y").unwrap();
        assert_eq!(
            (target.host.as_str(), target.port, target.path.as_str()),
            ("idp.example", 8443, "/keys?x=1")
        );
        assert_eq!(
            Target::parse("https://[2001:db8::1]").unwrap().host,
            "2001:db8::1"
        );
        assert_eq!(Target::parse("http://idp.example").unwrap().port, 80);
        for bad in [
            "",
            "idp.example/keys",
            "ftp://idp.example",
            "https://user@idp.example",
            "https://user:word@idp.example",
            "https://idp.example:0",
            "https://idp.example:99999",
            "https://idp.example:",
            "https:///keys",
            "https://idp.example/a b",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_http_is_for_those_that_are_named() {
        let allowed = [
            Allowed::parse("127.0.0.1:9000").unwrap(),
            Allowed::parse("[::1]:9000").unwrap(),
        ];
        assert!(is_callable("http://127.0.0.1:9000/keys", &allowed));
        assert!(is_callable("http://[::1]:9000/keys", &allowed));
        assert!(is_callable("https://idp.example/keys", &allowed));
        assert!(!is_callable("http://127.0.0.1:9001/keys", &allowed));
        assert!(!is_callable("http://localhost:9000/keys", &allowed));
        for bad in [
            "",
            "x",
            "x:0",
            "x:",
            ":1",
            "http://x:1",
            "x:1/y",
            "::1:1",
            "[x]:1",
            "x:65536",
        ] {
            assert_eq!(Allowed::parse(bad), None, "{bad}");
        }
    }
}
