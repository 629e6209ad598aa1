//! Hosts: what a request was sent to, and patterns that settings name them by.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::original::Scheme;

/// The longest name of a host (RFC 1035 §2.3.4).
const NAME_MAX: usize = 253;

/// A host in the one way to write it: lower case, no dot at the end, IPv6 in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host(Box<str>);

impl Host {
    /// Reads a name or an address, without a port. Names are ASCII: Punycode where they are not.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Self(format!("[{address}]").into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=63).contains(&label.len()) && label.bytes().all(is_known)
        };
        if name.len() > NAME_MAX || !name.split('.').all(is_label) {
            return None;
        }
        // `127.1` and `0x7f000001` are addresses to some and names to others.
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
            || last
                .get(..2)
                .is_some_and(|start| start.eq_ignore_ascii_case("0x"));
        if is_number && name.parse::<std::net::Ipv4Addr>().is_err() {
            return None;
        }
        Some(Self(name.to_ascii_lowercase().into()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let bare = self.0.trim_start_matches('[').trim_end_matches(']');
        &*self.0 == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// What is behind the first label; none of an address, and of a name with one label.
    pub(crate) fn parent(&self) -> Option<&str> {
        let is_address = self.0.starts_with('[') || self.0.parse::<IpAddr>().is_ok();
        let (_, parent) = self.0.split_once('.').filter(|_| !is_address)?;
        Some(parent)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host and perhaps a port: `Host`, `:authority`, `X-Forwarded-Host`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port, where one is written.
    pub port: Option<u16>,
}

impl Authority {
    /// The same without a port that goes without saying.
    #[must_use]
    pub(crate) fn without_usual_port(self, scheme: Scheme) -> Self {
        let usual = match scheme {
            Scheme::Https => 443,
            Scheme::Http => 80,
        };
        Self {
            port: self.port.filter(|port| *port != usual),
            ..self
        }
    }

    /// Reads `host`, `host:port` or `[v6]:port`. Nobody's name stands in front of an `@`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let at = match text.rfind(']') {
            Some(end) => text.get(end..)?.find(':').map(|colon| end + colon),
            None => text.find(':'),
        };
        let (host, port) = match at {
            None => (text, None),
            Some(at) => {
                let digits = text.get(at + 1..)?;
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                let port = digits.parse::<u16>().ok().filter(|port| *port != 0)?;
                (text.get(..at)?, Some(port))
            }
        };
        let host = Host::parse(host)?;
        Some(Self { host, port })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => write!(f, "{}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
        }
    }
}

/// One host, or all that have one label in front of a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `shop.example`.
    Exact(Host),
    /// `*.shop.example`: `a.shop.example`, and neither `shop.example` nor `a.b.shop.example`, as
    /// with certificates.
    Below(Host),
}

impl HostPattern {
    /// Reads `shop.example` or `*.shop.example`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let Some(parent) = text.strip_prefix("*.") else {
            return Host::parse(text).map(Self::Exact);
        };
        let parent = Host::parse(parent)?;
        let is_address =
            parent.as_str().starts_with('[') || parent.as_str().parse::<IpAddr>().is_ok();
        (!is_address).then_some(Self::Below(parent))
    }

    /// Whether `host` is one of them.
    #[must_use]
    pub fn matches(&self, host: &Host) -> bool {
        match self {
            Self::Exact(own) => own == host,
            Self::Below(parent) => host.parent() == Some(parent.as_str()),
        }
    }

    /// Whether all that `other` matches is matched here too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match other {
            Self::Exact(host) => self.matches(host),
            Self::Below(_) => self == other,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => write!(f, "{host}"),
            Self::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_written_in_one_way() {
        for (text, wanted) in [
            ("shop.example", Some("shop.example")),
            ("SHOP.Example.", Some("shop.example")),
            ("shop.example:8443", Some("shop.example:8443")),
            ("[::1]:80", Some("[::1]:80")),
            ("[0:0::1]", Some("[::1]")),
            ("127.0.0.1:80", Some("127.0.0.1:80")),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            ("my_app", Some("my_app")),
            ("", None),
            (".", None),
            ("a..b", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[fe80::1%25eth0]", None),
            ("shop.example:", None),
            ("shop.example:0", None),
            ("shop.example:99999", None),
            ("shop.example:+80", None),
            ("shop.example:80:80", None),
            ("me@shop.example", None),
            ("shop.example/x", None),
            ("shop.example, evil.example", None),
            ("shop%2eexample", None),
            ("bücher.example", None),
            ("127.1", None),
            ("0x7f000001", None),
            ("0127.0.0.1", None),
            (" shop.example", None),
            ("shop\\evil.example", None),
        ] {
            let read = Authority::parse(text).map(|authority| authority.to_string());
            assert_eq!(read.as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn a_wildcard_is_one_label() {
        for (pattern, host, wanted) in [
            ("shop.example", "shop.example", true),
            ("shop.example", "a.shop.example", false),
            ("*.shop.example", "a.shop.example", true),
            ("*.shop.example", "shop.example", false),
            ("*.shop.example", "a.b.shop.example", false),
            ("*.shop.example", "ashop.example", false),
            ("*.0.0.1", "127.0.0.1", false),
        ] {
            let host = Host::parse(host).unwrap();
            let matches = HostPattern::parse(pattern).is_some_and(|own| own.matches(&host));
            assert_eq!(matches, wanted, "{pattern} {host}");
        }
        for bad in [
            "*",
            "*.",
            "a.*.example",
            "*a.example",
            "**.example",
            "*.1.2.3.4",
            "x:80",
        ] {
            assert_eq!(HostPattern::parse(bad), None, "{bad}");
        }
    }
}
