//! The risk-based-authentication login data set: sign-ins to a single sign-on.
//!
//! The set is synthesised, and it shows:
//! - Nearly half of its rows are of one user id, the bucket of accounts that do not exist. They
//!   are marked `unknown_user`: attempts on no one, in whose name nothing is usual.
//! - Its addresses are partly invented, and its countries do not follow from them; a quarter of
//!   them are of 10.0.0.0/8, many with a foreign country. What it says of the place is kept in the
//!   context under `source`, and no travel can be had from it: train on it without a database of
//!   places.
//! - Versions of browsers and systems are partly from the future: the engine looks at families.
//! - Round-trip times are mostly empty; takeovers are not always marked as attacks by address. A
//!   takeover is labelled as one either way.

use domain::{
    AccessRequest, Action, ActionResult, DeviceClaim, EntityRef, Name, Party, RequestContext, Value,
};
use std::collections::BTreeMap;
use wire::Event;
use wire::event::Label;

use super::{Read, Row};

/// The columns that must be there.
pub(super) const COLUMNS: [&str; 5] = [
    "Login Timestamp",
    "User ID",
    "IP Address",
    "User Agent String",
    "Login Successful",
];

/// Under this id stand all attempts on accounts that do not exist.
const NOBODY: &str = "-4324475583306591935";

pub(super) fn read(row: &Row<'_>) -> Read {
    let get = |column: &str| row.get(column).copied().unwrap_or_default();
    if row.is_empty() {
        return Read::Reject("the line has another number of columns than the header".to_owned());
    }
    // `2020-02-03 12:43:30.772`, UTC.
    let time = format!("{}Z", get("Login Timestamp").replacen(' ', "T", 1));
    let Some(time) = wire::time::parse(&time) else {
        return Read::Reject("`Login Timestamp` is no time".to_owned());
    };
    let Ok(subject) = EntityRef::new("User", get("User ID")) else {
        return Read::Reject("`User ID` is empty or not printable".to_owned());
    };
    let ip = match get("IP Address") {
        "" => None,
        text => match text.parse::<std::net::IpAddr>() {
            Ok(ip) => Some(ip.to_canonical()),
            Err(_) => return Read::Reject("`IP Address` is no address".to_owned()),
        },
    };
    let result = match get("Login Successful") {
        "True" | "true" | "1" => ActionResult::Success,
        "False" | "false" | "0" => ActionResult::Failure,
        _ => return Read::Reject("`Login Successful` is neither True nor False".to_owned()),
    };
    let is = |column: &str| matches!(get(column), "True" | "true" | "1");
    let label = if is("Is Account Takeover") {
        Some(Label::Attack("account-takeover".to_owned()))
    } else if is("Is Attack IP") {
        Some(Label::Attack("attack-ip".to_owned()))
    } else {
        None
    };
    let text =
        |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty() && value != "-");
    let source: BTreeMap<String, Value> = [
        ("country", "Country"),
        ("region", "Region"),
        ("city", "City"),
        ("asn", "ASN"),
        ("device_type", "Device Type"),
        ("round_trip_ms", "Round-Trip Time [ms]"),
    ]
    .into_iter()
    .filter_map(|(name, column)| Some((name.to_owned(), Value::Text(text(get(column))?))))
    .collect();
    let nobody = get("User ID") == NOBODY;
    let (Ok(door), Ok(name)) = (EntityRef::new("Application", "sso"), Name::new("login")) else {
        return Read::Reject("cannot happen: the names are constants".to_owned());
    };
    Read::Events(
        Box::new(Event {
            request: AccessRequest {
                subject: Party {
                    entity: subject,
                    properties: BTreeMap::new(),
                },
                action: Action {
                    name,
                    properties: BTreeMap::new(),
                },
                resource: Party {
                    entity: door,
                    properties: BTreeMap::new(),
                },
                context: RequestContext {
                    ip,
                    user_agent: text(get("User Agent String")),
                    device: text(get("OS Name and Version")).map(|os| DeviceClaim {
                        os: Some(os),
                        ..DeviceClaim::default()
                    }),
                    extra: std::iter::once(("source".to_owned(), Value::Record(source)))
                        .chain(nobody.then(|| ("unknown_user".to_owned(), Value::Bool(true))))
                        .collect(),
                    ..RequestContext::default()
                },
                result: Some(result),
            },
            time,
            assurance: None,
            label,
        }),
        1,
    )
}
