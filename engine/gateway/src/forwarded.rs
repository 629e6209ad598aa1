//! Who the client is, where proxies stand between it and the engine.
//!
//! Every one of the headers read here can be sent by anybody. They are read when the sender is a
//! trusted hop, from the right (what the nearest hop wrote) to the left, and no further than
//! trust reaches; what stands left of that was written by the client, and is not even looked at.

mod field;
mod node;

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

pub(crate) use field::Element;
pub use node::Node;

/// RFC 7239.
pub(crate) const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The most elements of a chain of proxies that are read.
pub const ELEMENTS_MAX: usize = 64;

/// Which headers name the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressFrom {
    /// `Forwarded`, `X-Forwarded-For` and `X-Real-IP`. Those that are there must agree, since a
    /// gateway that writes one of them passes on the others as the client sent them.
    #[default]
    Any,
    /// `Forwarded` (RFC 7239) alone.
    Forwarded,
    /// `X-Forwarded-For` alone.
    XForwardedFor,
    /// `X-Real-IP` alone: one address, as nginx sets it.
    XRealIp,
    /// None: the one who connected is the client.
    Connection,
}

/// Which headers say what was asked of the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OriginalFrom {
    /// `X-Forwarded-Method`, `-Uri`, `-Host`, or nginx's `X-Original-Method`, `-URI`, `-Host`.
    /// Where both families are there, both have to be whole and agree.
    #[default]
    Any,
    /// `X-Forwarded-*` alone: Caddy, Traefik.
    XForwarded,
    /// `X-Original-*` alone: nginx, ingress-nginx.
    XOriginal,
}

/// Whom to believe about clients, and how far.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Networks of gateways and of the proxies before them. Empty: nobody is believed.
    pub networks: Vec<IpNet>,
    /// How many proxies stand between a client and the engine, the gateway included, where their
    /// addresses are not known. None: as many as are in `networks`, one after the other.
    pub hops: Option<u8>,
    /// Which headers name the client.
    pub address_from: AddressFrom,
    /// Which headers say what was asked.
    pub original_from: OriginalFrom,
}

impl Trust {
    /// Whether an address is one of the trusted hops.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }
}

/// Who connected, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The gateway, to the engine: forward-auth, Envoy over HTTP.
    Gateway(IpAddr),
    /// Somebody, to the gateway, as the gateway tells: Envoy's `attributes.source.address`, or a
    /// PROXY header that it believed.
    Client(IpAddr),
}

/// Why what is said of the client cannot be believed. Each is a 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardedFault {
    /// A header that has one value came twice, or has a list.
    #[error("`{0}` came more than once; the gateway has to set it, not to add to it")]
    Repeated(HeaderName),
    /// It cannot be read as far as it is believed.
    #[error("`{0}` is not of its form where a trusted hop wrote it")]
    Malformed(HeaderName),
    /// More than [`ELEMENTS_MAX`] elements.
    #[error("`{0}` has more than {ELEMENTS_MAX} elements")]
    TooLong(HeaderName),
    /// Fewer proxies than the settings say: the request came around some of them.
    #[error("`{header}` names {found} hops, and {wanted} stand before the engine")]
    TooFewHops {
        /// The header.
        header: HeaderName,
        /// How many it names, the sender included.
        found: usize,
        /// How many there should be.
        wanted: usize,
    },
    /// Two headers name different clients.
    #[error(
        "`{0}` and `{1}` do not agree about the client; set `gateway.address_from` to the one that \
         the gateway writes, or have it take off the other"
    )]
    TwoClients(HeaderName, HeaderName),
    /// Two headers say different things.
    #[error(
        "`{0}` and `{1}` do not agree; one of them is the client's own: strip it at the gateway"
    )]
    Conflict(HeaderName, HeaderName),
}

/// The client's address. None: the nearest trusted hop does not say, or does not know.
///
/// # Errors
/// When trusted hops contradict each other or cannot be read.
pub fn client(
    peer: Peer,
    headers: &HeaderMap,
    trust: &Trust,
) -> Result<Option<IpAddr>, ForwardedFault> {
    let (Peer::Gateway(sender) | Peer::Client(sender)) = peer;
    let sender = sender.to_canonical();
    let is_direct = match (peer, trust.hops) {
        // So many stand between, whoever they are.
        (Peer::Client(_), Some(hops)) => hops <= 1,
        _ => !trust.holds(sender),
    };
    if is_direct || trust.address_from == AddressFrom::Connection {
        return Ok(Some(sender));
    }
    let from =
        |wanted| matches!(trust.address_from, AddressFrom::Any) || trust.address_from == wanted;
    let mut found: Option<(Way, HeaderName)> = None;
    if from(AddressFrom::XForwardedFor) {
        let chain = field::listed(headers, &X_FORWARDED_FOR)?;
        let way = walk(peer, &chain, trust, &X_FORWARDED_FOR)?;
        found = way.map(|way| (way, X_FORWARDED_FOR));
    }
    if from(AddressFrom::Forwarded) {
        let chain = field::forwarded(headers)?;
        let chain: Vec<&str> = chain.iter().map(Element::node).collect();
        if let Some(way) = walk(peer, &chain, trust, &FORWARDED)? {
            match &found {
                Some((known, header)) if known.client != way.client => {
                    return Err(ForwardedFault::TwoClients(FORWARDED, header.clone()));
                }
                Some(_) => {}
                None => found = Some((way, FORWARDED)),
            }
        }
    }
    if from(AddressFrom::XRealIp)
        && let Some(text) = single(headers, &X_REAL_IP)?
    {
        let node = Node::parse(text).ok_or(ForwardedFault::Malformed(X_REAL_IP))?;
        match &found {
            // It names who connected to the hop that wrote it: the client, or a hop after it.
            Some((way, header)) if way.client != node && !way.hops.contains(&node) => {
                return Err(ForwardedFault::TwoClients(X_REAL_IP, header.clone()));
            }
            Some(_) => {}
            None => return Ok(node.address()),
        }
    }
    match (found, peer, trust.hops) {
        (Some((way, _)), ..) => Ok(way.client.address()),
        (None, Peer::Client(_), Some(hops)) if !trust.holds(sender) => {
            Err(ForwardedFault::TooFewHops {
                header: X_FORWARDED_FOR,
                found: 0,
                wanted: usize::from(hops).saturating_sub(1),
            })
        }
        (None, ..) => Ok(unsaid(peer)),
    }
}

/// Where no header says anything: who connected to the gateway is the client; who connected to
/// the engine is the gateway, and the client is not known.
fn unsaid(peer: Peer) -> Option<IpAddr> {
    match peer {
        Peer::Client(address) => Some(address.to_canonical()),
        Peer::Gateway(_) => None,
    }
}

/// What a chain of hops says.
struct Way {
    /// Where trust ends.
    client: Node,
    /// The hops after that one, as far as they can be read.
    hops: Vec<Node>,
}

/// Goes from hop to hop, as far as they are trusted. None: there is no chain.
fn walk(
    peer: Peer,
    chain: &[&str],
    trust: &Trust,
    header: &HeaderName,
) -> Result<Option<Way>, ForwardedFault> {
    let malformed = || ForwardedFault::Malformed(header.clone());
    let read = |text: &str| match header == FORWARDED {
        true => Node::parse_forwarded(text),
        false => Node::parse(text),
    };
    let mut chain = chain;
    if chain.is_empty() {
        return Ok(None);
    }
    // Envoy adds who connected to it before it asks, if it is told to.
    if let Peer::Client(source) = peer
        && let Some((last, before)) = chain.split_last()
        && read(last).and_then(|node| node.address()) == Some(source.to_canonical())
    {
        chain = before;
    }
    if let Some(hops) = trust.hops {
        let named = match peer {
            Peer::Gateway(_) => usize::from(hops),
            Peer::Client(_) => usize::from(hops).saturating_sub(1),
        };
        let at = chain.len().checked_sub(named);
        let hops = at.and_then(|at| chain.get(at..)).unwrap_or_default();
        let text = hops.first().ok_or_else(|| ForwardedFault::TooFewHops {
            header: header.clone(),
            found: chain.len(),
            wanted: named,
        })?;
        let client = read(text).ok_or_else(malformed)?;
        let hops = hops.iter().skip(1).filter_map(|text| read(text)).collect();
        return Ok(Some(Way { client, hops }));
    }
    let mut client = match peer {
        Peer::Client(source) => Node::Address(source.to_canonical()),
        Peer::Gateway(_) => Node::Unknown,
    };
    let mut hops = Vec::new();
    for text in chain.iter().rev() {
        if client != Node::Unknown {
            hops.push(client);
        }
        client = read(text).ok_or_else(malformed)?;
        let is_hop = client.address().is_some_and(|address| trust.holds(address));
        if !is_hop {
            break;
        }
    }
    Ok(Some(Way { client, hops }))
}

/// What the nearest hop wrote in `Forwarded`.
///
/// # Errors
/// When the header cannot be read.
pub(crate) fn last_forwarded(headers: &HeaderMap) -> Result<Option<Element>, ForwardedFault> {
    Ok(field::forwarded(headers)?.pop())
}

/// The one value of a header that is no list. A comma would be a list that somebody joined.
///
/// # Errors
/// When it comes twice, is a list, or is not visible ASCII.
pub(crate) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, ForwardedFault> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .map_err(|_| ForwardedFault::Malformed(name.clone()))?;
    if values.next().is_some() || text.contains(',') {
        return Err(ForwardedFault::Repeated(name.clone()));
    }
    let text = text.trim_matches([' ', '\t']);
    Ok((!text.is_empty()).then_some(text))
}

#[cfg(test)]
mod tests;
