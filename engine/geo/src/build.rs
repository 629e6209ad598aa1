//! Building a database: city, ASN and anonymiser in one file, readable by any MaxMind reader.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use mmdb_writer::{Value, Writer};

use crate::world::{NetworkEntry, PlaceEntry, World};

/// The database type in the file's metadata. Readers look for `City` in it.
pub const DATABASE_TYPE: &str = "Portreeve-City-ASN-Anonymous";

/// Builds the database of a world. The same world gives the same bytes.
///
/// # Errors
/// When a network cannot be written, with its range.
pub fn build(world: &World, built_at_seconds: u64) -> Result<Vec<u8>, String> {
    let mut writer = Writer::builder(DATABASE_TYPE)
        .build_epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(built_at_seconds))
        .description(&[("en", "Built by portreeve geo build")])
        .languages(["en"])
        .build();
    // Wide ranges first: a narrower one then takes its part of them over.
    let mut networks: Vec<&NetworkEntry> = world.network.iter().collect();
    networks.sort_by_key(|network| network.range.prefix_len());
    for network in networks {
        let place = network
            .place
            .as_ref()
            .and_then(|place| world.place.get(place));
        writer
            .insert_value(network.range, record(network, place))
            .map_err(|error| format!("network {}: {error}", network.range))?;
    }
    writer.to_bytes().map_err(|error| error.to_string())
}

fn record(network: &NetworkEntry, place: Option<&PlaceEntry>) -> Value {
    let mut record: BTreeMap<String, Value> = BTreeMap::new();
    let mut put = |name: &str, value: Value| {
        record.insert(name.to_owned(), value);
    };
    if let Some(place) = place {
        let mut location = BTreeMap::from([
            ("latitude".to_owned(), Value::Double(place.latitude)),
            ("longitude".to_owned(), Value::Double(place.longitude)),
            (
                "accuracy_radius".to_owned(),
                Value::U16(place.accuracy_radius_km),
            ),
        ]);
        if let Some(zone) = &place.time_zone {
            location.insert("time_zone".to_owned(), Value::from(zone.as_str()));
        }
        put("location", Value::Map(location));
        put(
            "country",
            Value::map([("iso_code", Value::from(place.country.to_uppercase()))]),
        );
        let names = Value::map([("en", Value::from(place.city.as_str()))]);
        put("city", Value::map([("names", names)]));
    }
    if let Some(asn) = network.asn {
        put("autonomous_system_number", Value::U32(asn));
    }
    if let Some(organisation) = &network.organisation {
        put(
            "autonomous_system_organization",
            Value::from(organisation.as_str()),
        );
    }
    let anonymity = network.anonymity();
    for (name, set) in [
        ("is_anonymous_vpn", anonymity.vpn),
        ("is_hosting_provider", anonymity.hosting),
        ("is_public_proxy", anonymity.public_proxy),
        ("is_residential_proxy", anonymity.residential_proxy),
        ("is_tor_exit_node", anonymity.tor),
        ("is_relay", anonymity.relay),
        ("is_corporate_exit", anonymity.corporate_exit),
        ("is_anonymous", anonymity.is_anonymiser()),
    ] {
        if set {
            put(name, Value::Bool(true));
        }
    }
    Value::Map(record)
}
