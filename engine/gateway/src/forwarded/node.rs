//! One hop as headers name it: an address, or a word instead of one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who sent a request to a hop (RFC 7239 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// An address, IPv4-mapped IPv6 turned to IPv4; its port and its zone are left out.
    Address(IpAddr),
    /// `unknown`, or nothing said.
    Unknown,
    /// `_hidden`: a name that means something to that hop alone.
    Obfuscated,
}

impl Node {
    /// The address, if it is one.
    #[must_use]
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Unknown | Self::Obfuscated => None,
        }
    }

    /// Reads an element of `X-Forwarded-For`, which no standard describes: addresses with and
    /// without port, IPv6 with and without brackets, with and without a zone.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Bare IPv6 has no port: its last group would be one, or not.
        match bare_v6(text) {
            Some(address) => Some(Self::of(address.into())),
            None => Self::parse_forwarded(text),
        }
    }

    /// Reads the value of `for` in `Forwarded`, out of its quotes: IPv6 has brackets, a port may
    /// be obfuscated.
    #[must_use]
    pub fn parse_forwarded(text: &str) -> Option<Self> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inner, rest) = rest.split_once(']')?;
                let port = match rest {
                    "" => None,
                    rest => Some(rest.strip_prefix(':')?),
                };
                return is_port(port).then(|| bare_v6(inner).map(|ip| Self::of(ip.into())))?;
            }
            None => match text.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            },
        };
        if !is_port(port) {
            return None;
        }
        if name.eq_ignore_ascii_case("unknown") {
            return Some(Self::Unknown);
        }
        if is_obfuscated(name) {
            return Some(Self::Obfuscated);
        }
        name.parse::<Ipv4Addr>().ok().map(|ip| Self::of(ip.into()))
    }

    /// An address in its one form. That of nobody (`0.0.0.0`, `::`) says nothing.
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address.is_unspecified() => Self::Unknown,
            address => Self::Address(address),
        }
    }
}

/// IPv6 without brackets. A zone names an interface of the machine that wrote it.
fn bare_v6(text: &str) -> Option<Ipv6Addr> {
    let address = match text.split_once('%') {
        None => text,
        Some((address, zone)) => {
            let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
            if zone.is_empty() || !zone.bytes().all(is_known) {
                return None;
            }
            address
        }
    };
    address.parse().ok()
}

fn is_obfuscated(text: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.len() > 1 && text.starts_with('_') && text.bytes().all(is_known)
}

fn is_port(port: Option<&str>) -> bool {
    port.is_none_or(|port| {
        let is_number = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
        is_number && port.parse::<u16>().is_ok() || is_obfuscated(port)
    })
}
