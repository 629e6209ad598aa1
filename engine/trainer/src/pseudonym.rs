//! Events without the names in them, for people who may learn from them and need not know whom
//! they are about.
//!
//! Every name is replaced by a keyed pseudonym (HMAC-SHA-256), the same for the same name under
//! the same key, so that everything that is learnt from who does what where with which device
//! stays. Without the key a pseudonym cannot be traced back or tried out; with it, names that
//! one can guess can be. So keep the key apart from the events, or throw it away.
//!
//! What stays as it was: the times; types of subjects and resources, names of actions; the
//! user agent; operating system, `managed` and `compliant` of the device; level, methods and time
//! of the assurance; the resource's `sensitivity` and `size_bytes`; what was decided; results and labels. What has
//! no place in that list, all other properties and members of the context, is left out.
//!
//! Addresses keep their network, or places and networks could not be learnt from: the first 24
//! bits of IPv4 and the first 40 of IPv6 stay, which is what databases of places know and says no
//! more than a district or a provider. The other bits are replaced so that two addresses share
//! exactly as many leading bits as before (Xu et al., "Prefix-Preserving IP Address
//! Anonymization", ICNP 2002): two in one /64 still are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_lc_rs::hmac;
use domain::value::Attributes;
use domain::{Name, Value};
use wire::Event;
use wire::told::DECIDED;

/// Bytes of a pseudonym, twice as many characters. Among 10⁹ names two share one with a
/// probability under 10⁻⁶.
const BYTES: usize = 10;
/// Leading bits that addresses keep.
const KEPT_V4: u32 = 24;
/// The same of IPv6: a home often has a /48 or /56 to itself.
const KEPT_V6: u32 = 40;
/// What can have been decided.
const OUTCOMES: [&str; 4] = ["allow", "challenge", "mfa", "deny"];
/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 1 << 16;

/// Replaces names by pseudonyms.
#[derive(Debug)]
pub struct Pseudonyms {
    key: hmac::Key,
    addresses: HashMap<IpAddr, IpAddr>,
}

impl Pseudonyms {
    /// Under a key of 32 random bytes.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            addresses: HashMap::new(),
        }
    }

    /// Replaces every name in an event, and leaves out what might hold one.
    pub fn apply(&mut self, event: &mut Event) {
        let request = &mut event.request;
        for party in [&mut request.subject, &mut request.resource] {
            // One pseudonym for one entity, whether it is subject or resource.
            let kind = party.entity.kind.as_str();
            let pseudonym = self.pseudonym(&["entity", kind, party.entity.id.as_str()]);
            // Letters and digits are a name.
            if let Ok(id) = Name::new(pseudonym) {
                party.entity.id = id;
            }
        }
        request.subject.properties.clear();
        request.action.properties.clear();
        keep(&mut request.resource.properties, |name, value| {
            matches!(name, "sensitivity" | "size_bytes") && matches!(value, Value::Long(_))
        });
        let context = &mut request.context;
        context.ip = context.ip.map(|ip| self.address(ip));
        context.token = None;
        for (what, id) in [("session", &mut context.session_id)].into_iter().chain(
            context.device.iter_mut().flat_map(|device| {
                [
                    ("device", &mut device.id),
                    ("fingerprint", &mut device.fingerprint),
                ]
            }),
        ) {
            *id = id.as_deref().map(|id| self.pseudonym(&[what, id]));
        }
        keep(&mut context.extra, |name, value| match (name, value) {
            (DECIDED, Value::Record(decided)) => {
                // Its id would lead back to the record.
                keep(decided, |name, value| match (name, value) {
                    ("outcome", Value::Text(outcome)) => OUTCOMES.contains(&outcome.as_str()),
                    ("score" | "step_up", Value::Long(_)) => true,
                    _ => false,
                });
                true
            }
            ("unknown_user", Value::Bool(_)) => true,
            _ => false,
        });
        if let Some(claim) = &mut event.assurance {
            claim.acr = None;
        }
    }

    fn tag(&self, parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            // With their lengths, so that no two lists of parts read the same.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign()
    }

    fn pseudonym(&self, parts: &[&str]) -> String {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        let tag = self.tag(&parts);
        hex::encode(tag.as_ref().get(..BYTES).unwrap_or_default())
    }

    fn address(&mut self, ip: IpAddr) -> IpAddr {
        if let Some(known) = self.addresses.get(&ip) {
            return *known;
        }
        let replaced = match ip {
            IpAddr::V4(ip) => {
                let bits = self.scramble(u128::from(ip.to_bits()) << 96, KEPT_V4, 32);
                // The 32 bits on the left.
                IpAddr::V4(Ipv4Addr::from_bits((bits >> 96) as u32))
            }
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(self.scramble(
                ip.to_bits(),
                KEPT_V6,
                128,
            ))),
        };
        if self.addresses.len() >= ADDRESSES_MAX {
            self.addresses.clear();
        }
        self.addresses.insert(ip, replaced);
        replaced
    }

    /// Flips each bit from `kept` on, or not, as the key and the bits before it say. `bits` stand
    /// to the left, `width` of them.
    fn scramble(&self, bits: u128, kept: u32, width: u32) -> u128 {
        let family = [u8::from(width > 32)];
        (kept..width).fold(bits, |replaced, bit| {
            let before = bits & !(u128::MAX >> bit);
            let tag = self.tag(&[
                b"address",
                &family,
                &bit.to_be_bytes(),
                &before.to_be_bytes(),
            ]);
            let flip = tag.as_ref().first().is_some_and(|byte| byte & 1 == 1);
            replaced ^ (u128::from(flip) << (127 - bit))
        })
    }
}

fn keep(attributes: &mut Attributes, mut stays: impl FnMut(&str, &mut Value) -> bool) {
    attributes.retain(|name, value| stays(name, value));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"time":"2026-03-02T09:00:00.000Z","subject":{"type":"User","id":"alice@example.com","properties":{"name":"Alice Adams"}},"action":{"name":"read","properties":{"path":"/salaries/adams"}},"resource":{"type":"Document","id":"salaries-adams","properties":{"owner":"adams","sensitivity":3}},"context":{"ip":"192.0.2.77","user_agent":"Firefox/145.0","session_id":"secret-session","device":{"id":"adams-laptop","os":"macOS","fingerprint":"adams-print","managed":true},"assurance":{"level":3,"acr":"https://adams.example/mfa","amr":["otp"]},"token":{"audience":"https://adams.example","scope":"read"},"decided":{"outcome":"allow","score":3,"decision_id":"adams-1"},"employee":"adams","unknown_user":true},"result":"success","label":{"attack":"reported"}}"#;

    fn applied(names: &mut Pseudonyms, line: &str) -> (Event, String) {
        let mut event = wire::event::parse(line.as_bytes()).unwrap();
        names.apply(&mut event);
        let mut text = Vec::new();
        crate::events::write(&mut text, &event).unwrap();
        (event, String::from_utf8(text).unwrap())
    }

    #[test]
    fn nothing_of_a_name_is_left_and_what_is_learnt_from_stays() {
        let mut names = Pseudonyms::new(&[7; 32]);
        let (event, text) = applied(&mut names, LINE);
        for secret in [
            "alice",
            "Alice",
            "dams",
            "secret",
            "192.0.2.77",
            "example",
            "path",
        ] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        for kept in [
            "2026-03-02T09:00:00.000Z",
            "\"User\"",
            "\"read\"",
            "\"sensitivity\":3",
            "\"192.0.2.",
            "Firefox/145.0",
            "macOS",
            "\"managed\":true",
            "\"level\":3",
            "otp",
            "\"score\":3",
            "unknown_user",
            "success",
            "reported",
        ] {
            assert!(text.contains(kept), "{kept} not in {text}");
        }
        // What is written is an event.
        assert_eq!(wire::event::parse(text.as_bytes()).unwrap(), event);
    }

    #[test]
    fn the_same_name_has_the_same_pseudonym_under_the_same_key_alone() {
        let (_, one) = applied(&mut Pseudonyms::new(&[7; 32]), LINE);
        let (_, again) = applied(&mut Pseudonyms::new(&[7; 32]), LINE);
        let (other, _) = applied(&mut Pseudonyms::new(&[8; 32]), LINE);
        assert_eq!(one, again);
        let id = |event: &Event| event.request.subject.entity.id.as_str().to_owned();
        let names = Pseudonyms::new(&[7; 32]);
        assert_eq!(id(&other).len(), 2 * BYTES);
        assert_ne!(
            names.pseudonym(&["entity", "User", "alice@example.com"]),
            id(&other)
        );
        // Neither type nor manner of use can be mixed up, nor parts run into one another.
        let all = [
            names.pseudonym(&["entity", "User", "a"]),
            names.pseudonym(&["entity", "Service", "a"]),
            names.pseudonym(&["session", "a"]),
            names.pseudonym(&["device", "a"]),
            names.pseudonym(&["entity", "Usera", ""]),
        ];
        let different: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn addresses_keep_their_network_and_who_shares_one() {
        let mut names = Pseudonyms::new(&[7; 32]);
        let mut address = |text: &str| names.address(text.parse().unwrap());
        let shared = |a: IpAddr, b: IpAddr| match (a, b) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => 0,
        };
        let addresses = [
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.254",
            "192.0.3.1",
            "203.0.113.9",
            "2001:db8:1:2::1",
            "2001:db8:1:2:ffff::1",
            "2001:db8:1:3::1",
            "2001:db8:ff00::1",
        ];
        for one in addresses {
            for other in addresses {
                let (before, after) = (
                    shared(one.parse().unwrap(), other.parse().unwrap()),
                    shared(address(one), address(other)),
                );
                assert_eq!(before, after, "{one} {other}");
            }
        }
        for octet in 0..=255_u8 {
            let IpAddr::V4(replaced) = address(&format!("198.51.100.{octet}")) else {
                panic!("another family")
            };
            assert_eq!(replaced.octets()[..3], [198, 51, 100]);
        }
        assert!(
            address("2001:db8:1234:5678::1")
                .to_string()
                .starts_with("2001:db8:12")
        );
        assert_ne!(
            address("2001:db8:1234:5678::1").to_string(),
            "2001:db8:1234:5678::1"
        );
    }
}
