//! Lists of addresses that are known to attack.
//!
//! Plain text as the public lists have it (FireHOL, Spamhaus DROP, one's own): an address or a
//! network in CIDR notation a line; what follows a `#`, a `;` or white space is a comment.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

use crate::database::OpenError;

/// Larger than any such list, with room to grow.
const LIST_MAX: u64 = 256 << 20;

/// Networks, apart from each other, in order.
#[derive(Debug, Default)]
pub(crate) struct Threats(Vec<IpNet>);

impl Threats {
    /// Reads lists. None when there is none.
    pub(crate) fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Option<Self>, OpenError> {
        if paths.is_empty() {
            return Ok(None);
        }
        let mut networks = Vec::new();
        for path in paths {
            read(path.as_ref(), &mut networks)?;
        }
        Ok(Some(Self::of(&networks)))
    }

    fn of(networks: &[IpNet]) -> Self {
        let mut apart = IpNet::aggregate(&networks.to_vec());
        apart.sort_by_key(IpNet::network);
        Self(apart)
    }

    /// Networks listed, those within or beside each other taken together.
    pub(crate) const fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether an address is on a list.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        let after = self
            .0
            .partition_point(|network| network.network() <= address);
        after
            .checked_sub(1)
            .and_then(|place| self.0.get(place))
            .is_some_and(|network| network.contains(&address))
    }
}

fn read(path: &Path, networks: &mut Vec<IpNet>) -> Result<(), OpenError> {
    let unreadable = |cause| OpenError::Unreadable {
        path: path.to_owned(),
        cause,
    };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.len() > LIST_MAX {
        return Err(unreadable(io::Error::other("a list of more than 256 MB")));
    }
    let lines = BufReader::new(file.take(LIST_MAX)).lines();
    for (number, line) in (1..).zip(lines) {
        let line = line.map_err(unreadable)?;
        let text = line
            .split(|c: char| c == '#' || c == ';' || c.is_whitespace())
            .find(|part| !part.is_empty());
        let comment = line.trim_start().starts_with(['#', ';']);
        let Some(text) = text.filter(|_| !comment) else {
            continue;
        };
        let network = text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| OpenError::BadLine {
                path: path.to_owned(),
                line: number,
                text: text.chars().take(60).collect(),
            })?;
        networks.push(network.trunc());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(networks: &[&str], address: &str) -> bool {
        let networks: Vec<IpNet> = networks.iter().map(|text| text.parse().unwrap()).collect();
        Threats::of(&networks).holds(address.parse().unwrap())
    }

    #[test]
    fn an_address_is_held_by_the_networks_around_it() {
        let list = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "2001:db8::/48"];
        for (address, wanted) in [
            ("9.255.255.255", false),
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("192.0.2.6", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::1", true),
            ("2001:db8:1::", false),
            ("::ffff:10.0.0.1", false),
        ] {
            assert_eq!(holds(&list, address), wanted, "{address}");
        }
        assert!(!holds(&[], "10.0.0.1"));
    }
}
