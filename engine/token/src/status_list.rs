//! Token Status Lists (draft-ietf-oauth-status-list-21): which of many tokens are revoked, in a
//! text so small that verifiers which cannot ask fetch it whole.
//!
//! A list is an array of one-bit statuses, the first in the least significant bit of the first
//! byte, deflated as zlib (RFC 1950) and written as base64url (§4). The reader is here for tests
//! and for verifiers in Rust: it refuses what is beyond a list's end, and stops before a small
//! text becomes large.

use std::io::{Read as _, Write as _};

use data_encoding::BASE64URL_NOPAD;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::Serialize;

/// `typ` of a list (§5.1).
pub const STATUS_LIST_TYP: &str = "statuslist+jwt";

/// Statuses of one bit each: 0 valid, 1 invalid (§7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusList {
    bytes: Vec<u8>,
}

impl StatusList {
    /// A list in which nothing is revoked, of so many places, a multiple of eight.
    #[must_use]
    pub fn new(places: u32) -> Self {
        Self {
            bytes: vec![0; (places / 8) as usize],
        }
    }

    /// How many places it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() * 8
    }

    /// Whether it has no places.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Marks a token as invalid. Nothing beyond the end.
    pub fn revoke(&mut self, place: u32) {
        if let Some(byte) = self.bytes.get_mut((place / 8) as usize) {
            *byte |= 1 << (place % 8);
        }
    }

    /// Whether a token is invalid. None beyond the end: such a token must be refused (§8.3).
    #[must_use]
    pub fn is_revoked(&self, place: u64) -> Option<bool> {
        let byte = self.bytes.get(usize::try_from(place / 8).ok()?)?;
        Some(byte >> (place % 8) & 1 == 1)
    }

    /// `lst` (§4.2).
    #[must_use]
    pub fn encode(&self) -> String {
        // Into memory: there is nothing that could fail.
        let mut deflated = ZlibEncoder::new(Vec::new(), Compression::best());
        let written = deflated
            .write_all(&self.bytes)
            .and_then(|()| deflated.finish());
        BASE64URL_NOPAD.encode(&written.unwrap_or_default())
    }

    /// Reads `lst`. None when it is no such text, or longer than `bytes_max` when inflated.
    #[must_use]
    pub fn decode(lst: &str, bytes_max: usize) -> Option<Self> {
        let deflated = BASE64URL_NOPAD.decode(lst.as_bytes()).ok()?;
        let mut bytes = Vec::new();
        let most = u64::try_from(bytes_max).ok()?.checked_add(1)?;
        ZlibDecoder::new(&*deflated)
            .take(most)
            .read_to_end(&mut bytes)
            .ok()?;
        (bytes.len() <= bytes_max).then_some(Self { bytes })
    }
}

/// What a list's token says (§5.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusListClaims<'a> {
    /// The engine's `public_url`: whose keys it is signed with.
    pub iss: &'a str,
    /// The list's own address, as tokens name it.
    pub sub: &'a str,
    /// When it was made, seconds.
    pub iat: i64,
    /// When it is too old to be believed, seconds.
    pub exp: i64,
    /// For how long it need not be fetched again, seconds.
    pub ttl: u32,
    /// The list.
    pub status_list: Lst,
}

/// The list within a token (§4.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lst {
    /// Bits of a status: 1.
    pub bits: u8,
    /// The deflated array.
    pub lst: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_draft_is_read_and_written() {
        // §4.1 and §4.2: 16 statuses in B9 A3.
        let statuses = [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1];
        let mut list = StatusList::new(16);
        for (place, _) in (0..).zip(statuses).filter(|(_, status)| *status == 1) {
            list.revoke(place);
        }
        assert_eq!(list.bytes, [0xb9, 0xa3]);
        assert_eq!(list.encode(), "eNrbuRgAAhcBXQ");
        let read = StatusList::decode("eNrbuRgAAhcBXQ", 2).unwrap();
        for (place, status) in (0..).zip(statuses) {
            assert_eq!(read.is_revoked(place), Some(status == 1), "{place}");
        }
        assert_eq!(read.is_revoked(16), None);
        assert_eq!(read.is_revoked(u64::MAX), None);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let large = StatusList::new(1 << 20).encode();
        assert!(large.len() < 300, "a small text");
        assert!(StatusList::decode(&large, 1 << 17).is_some());
        for (text, most) in [
            (&*large, (1 << 17) - 1),
            ("", 100),
            ("eNrbuRgAAhcBXQ==", 100),
            ("eNrbuRgAAhcBX", 100),
            ("eNrbuRgAAhcBXA", 100), // another checksum
            // B9 A3 deflated, without zlib's head: what many write by mistake.
            ("27kYAA", 100),
        ] {
            assert_eq!(StatusList::decode(text, most), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_list_is_read_as_it_was_written(revoked in proptest::collection::btree_set(0..4096_u32, 0..200)) {
            let mut list = StatusList::new(4096);
            revoked.iter().for_each(|place| list.revoke(*place));
            let read = StatusList::decode(&list.encode(), 512).unwrap();
            prop_assert_eq!(&read, &list);
            for place in 0..4096 {
                prop_assert_eq!(read.is_revoked(place.into()), Some(revoked.contains(&place)));
            }
        }
    }
}
