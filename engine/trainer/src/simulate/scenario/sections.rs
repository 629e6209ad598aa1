//! What stands in a scenario file, section by section. `data/simulate/organisation.toml` says
//! it with values and comments; a name means the same here and there.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, de::Error as _};

/// From and to, drawn between.
pub type Between = [f64; 2];

/// `[organisation]`: how much, and from when.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Same seed, same events.
    pub seed: u64,
    /// First day.
    #[serde(deserialize_with = "date")]
    pub from: Date,
    /// Number of days.
    pub days: u32,
    /// Number of people, hired and gone ones included.
    pub people: usize,
    /// Number of programs.
    pub programs: usize,
    /// Days on which nobody works who does not on a Sunday.
    #[serde(deserialize_with = "dates")]
    pub holidays: Vec<Date>,
}

/// `[[office]]`: where people work.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Office {
    /// A place of the world.
    pub place: String,
    /// Its weight among the offices.
    pub share: f64,
    /// Places where its remote people live.
    #[serde(default)]
    pub remote: Vec<String>,
    /// Public addresses that all share; 0: everybody has their own.
    pub exits: u64,
}

/// `[[role]]`: what people do.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its name, a property of its people.
    pub name: String,
    /// Whose documents it works with.
    pub department: String,
    /// Its weight among the roles.
    pub share: f64,
    /// Local hour at which its people begin, give or take `spread`.
    pub begins: f64,
    /// Hours.
    pub spread: f64,
    /// Hours of a working day.
    pub hours: f64,
    /// Local hours at which shifts begin; a week each, in turn.
    #[serde(default)]
    pub shifts: Vec<f64>,
    /// Requests of a working day.
    pub requests: Between,
    /// Share of working days at home.
    pub at_home: Between,
    /// Factor on the number of trips.
    pub travel: f64,
    /// Weights of actions.
    pub actions: BTreeMap<String, f64>,
}

/// `[work]`: the working day.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the file explains them")]
pub struct Work {
    pub documents: usize,
    pub favourites: [usize; 2],
    pub elsewhere: f64,
    pub project_days: i64,
    pub sittings: [u32; 2],
    pub pause_seconds: f64,
    pub weekends: f64,
    pub evenings: f64,
    pub sick: f64,
}

/// `[devices]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the file explains them")]
pub struct Devices {
    pub counts: [f64; 3],
    pub replaced_days: Between,
    pub browser_update_days: i64,
    pub phone: f64,
    pub lapse: f64,
    pub managed_phones: f64,
    pub silent: f64,
    pub relay: f64,
}

/// `[homes]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the file explains them")]
pub struct Homes {
    pub remote: f64,
    pub lease_days: Between,
    pub other_carrier: f64,
    pub ipv6: f64,
}

/// `[mobile]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the file explains them")]
pub struct Mobile {
    pub commute: f64,
    pub at_office: f64,
    pub at_home: f64,
    pub exits: u64,
}

/// `[vpn]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the file explains them")]
pub struct Vpn {
    pub places: Vec<String>,
    pub exits: u64,
    pub office: f64,
    pub own: f64,
    pub own_on: f64,
}

/// `[sessions]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the file explains them")]
pub struct Sessions {
    pub hours: f64,
    pub kept: f64,
    pub typo: f64,
    pub mfa: f64,
    pub missed_prompt: f64,
}

/// `[trips]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the file explains them")]
pub struct Trips {
    pub per_year: f64,
    pub nights: [i64; 2],
    pub cruise_kmh: f64,
    pub rail_kmh: f64,
    pub rail_km: f64,
    pub on_the_ground_hours: f64,
    pub before_hours: f64,
    pub after_hours: f64,
    pub near: f64,
    pub new_device: f64,
    pub roaming: f64,
}

/// `[leave]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the file explains them")]
pub struct Leave {
    pub weeks_per_year: f64,
}

/// `[turnover]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the file explains them")]
pub struct Turnover {
    pub joined: f64,
    pub left: f64,
}

/// `[dormancy]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the file explains them")]
pub struct Dormancy {
    pub share: f64,
    pub active_days: [i64; 2],
    pub silent_days: i64,
    pub wakes_within: i64,
    pub taken: f64,
    pub back: f64,
    pub prologue_days: u32,
}

/// `[programs]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the file explains them")]
pub struct Programs {
    pub every_minutes: [u32; 2],
    pub documents: [usize; 2],
    pub backups: f64,
    pub clears: f64,
    pub in_cloud: f64,
    pub regions: Vec<String>,
    pub addresses: u64,
    pub release_days: i64,
    pub failover: f64,
    pub failover_hours: Between,
}

/// `[twins]`: what looks like an attack and is none.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the file explains them")]
pub struct Twins {
    pub monday_typos: f64,
    pub handover: f64,
    pub ip_flip: f64,
    pub geo_error: f64,
    pub quarter_end: f64,
    pub quarter_end_boost: f64,
    pub report_documents: [u32; 2],
}

/// `[attacks]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the file explains them")]
pub struct Attacks {
    pub per_thousand_days: f64,
    pub after_days: u32,
    pub weights: BTreeMap<String, f64>,
    pub on_programs: f64,
    pub spray_every_days: f64,
    pub spray_reach: f64,
    pub spray_hours: Between,
    pub spray_addresses: [u64; 2],
    pub unknown_users: f64,
    pub far_km: f64,
    pub same_device_id: f64,
    pub same_program: f64,
    pub flagged_proxy: f64,
    pub near_by: f64,
    pub same_network: f64,
    pub requests: [u32; 2],
    pub curious: f64,
    pub bulk_documents: [usize; 2],
    pub bulk_pause_seconds: Between,
    pub prompts: [u32; 2],
}

fn date<'de, D: Deserializer<'de>>(from: D) -> Result<Date, D::Error> {
    parse(&String::deserialize(from)?).map_err(D::Error::custom)
}

fn dates<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Date>, D::Error> {
    Vec::<String>::deserialize(from)?
        .iter()
        .map(|text| parse(text).map_err(D::Error::custom))
        .collect()
}

fn parse(text: &str) -> Result<Date, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a date such as \"2026-03-02\""))
}
