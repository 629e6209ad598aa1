//! A scenario: the readable file that a simulation follows.

mod sections;

use std::path::Path;

use serde::Deserialize;
use toml::Table;

pub use sections::{
    Attacks, Between, Devices, Dormancy, Frame, Homes, Leave, Mobile, Office, Programs, Role,
    Sessions, Trips, Turnover, Twins, Vpn, Work,
};

use super::attacks::Attack;

/// The scenario that holds where no other says something else.
pub const DEFAULT: &str = include_str!("../../../../../data/simulate/organisation.toml");

/// Trips longer than this would overlap with those of the week after next.
const NIGHTS_MAX: i64 = 10;

/// Everything that a simulation may be told.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each section explains itself")]
pub struct Scenario {
    pub organisation: Frame,
    pub office: Vec<Office>,
    pub role: Vec<Role>,
    pub work: Work,
    pub devices: Devices,
    pub homes: Homes,
    pub mobile: Mobile,
    pub vpn: Vpn,
    pub sessions: Sessions,
    pub trips: Trips,
    pub leave: Leave,
    pub turnover: Turnover,
    pub dormancy: Dormancy,
    pub programs: Programs,
    pub twins: Twins,
    pub attacks: Attacks,
}

/// Why a scenario was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// Not TOML, or a name or type that scenarios do not have.
    #[error("{file}: {message}")]
    Malformed {
        /// Which file.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// A value makes no sense.
    #[error("{file}: {what}")]
    Nonsense {
        /// Which file.
        file: String,
        /// What is wrong.
        what: String,
    },
}

impl Scenario {
    /// The scenario that comes along.
    ///
    /// # Errors
    /// Never in a build whose tests have passed.
    pub fn shipped() -> Result<Self, ScenarioError> {
        Self::parse(Path::new("organisation.toml"), "")
    }

    /// Reads a scenario from its text; what it leaves out is as in [`DEFAULT`]. Lists are
    /// replaced as a whole.
    ///
    /// # Errors
    /// When the text is no TOML, holds a name that scenarios do not have, or makes no sense;
    /// the message names the key.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ScenarioError> {
        let file = file.display().to_string();
        let malformed = |error: toml::de::Error| ScenarioError::Malformed {
            file: file.clone(),
            message: error.to_string().trim_end().to_owned(),
        };
        let mut all: Table = toml::from_str(DEFAULT).map_err(malformed)?;
        overlay(&mut all, toml::from_str(text).map_err(malformed)?);
        let scenario: Self = all.try_into().map_err(malformed)?;
        scenario
            .check()
            .map_err(|what| ScenarioError::Nonsense { file, what })?;
        Ok(scenario)
    }

    /// Whether every value makes sense: shares from 0 to 1, ranges the right way round, nothing
    /// negative. To be asked again after a change by hand.
    ///
    /// # Errors
    /// Names the first value that does not.
    pub fn check(&self) -> Result<(), String> {
        if self.office.is_empty() || self.role.is_empty() {
            return Err("there must be an [[office]] and a [[role]]".to_owned());
        }
        self.check_shares()?;
        self.check_ranges()?;
        self.check_amounts()?;
        for role in &self.role {
            let name = &role.name;
            let weights: f64 = role.actions.values().sum();
            let sound = |weight: &f64| (0.0..1e9).contains(weight);
            if weights <= 0.0 || !role.actions.values().all(sound) {
                return Err(format!("role {name}: `actions` need weights above 0"));
            }
            let hours = role.shifts.iter().chain([&role.begins]);
            if hours.into_iter().any(|hour| !(0.0..24.0).contains(hour)) {
                return Err(format!("role {name}: hours go from 0 to below 24"));
            }
        }
        if self
            .trips
            .nights
            .iter()
            .any(|n| !(1..=NIGHTS_MAX).contains(n))
        {
            return Err(format!("trips.nights go from 1 to {NIGHTS_MAX}"));
        }
        for name in self.attacks.weights.keys() {
            if !Attack::ALL.iter().any(|attack| attack.name() == name) {
                return Err(format!("attacks.weights: there is no attack `{name}`"));
            }
        }
        if self.dormancy.taken + self.dormancy.back > 1.0 {
            return Err("dormancy.taken and dormancy.back are more than 1 together".to_owned());
        }
        Ok(())
    }

    fn check_shares(&self) -> Result<(), String> {
        let [one, two, three] = self.devices.counts;
        let shares = [
            ("work.elsewhere", self.work.elsewhere),
            ("work.weekends", self.work.weekends),
            ("work.evenings", self.work.evenings),
            ("work.sick", self.work.sick),
            ("devices.counts", one),
            ("devices.counts", two),
            ("devices.counts", three),
            ("devices.phone", self.devices.phone),
            ("devices.lapse", self.devices.lapse),
            ("devices.managed_phones", self.devices.managed_phones),
            ("devices.silent", self.devices.silent),
            ("devices.relay", self.devices.relay),
            ("homes.remote", self.homes.remote),
            ("homes.other_carrier", self.homes.other_carrier),
            ("homes.ipv6", self.homes.ipv6),
            ("mobile.commute", self.mobile.commute),
            ("mobile.at_office", self.mobile.at_office),
            ("mobile.at_home", self.mobile.at_home),
            ("vpn.office", self.vpn.office),
            ("vpn.own", self.vpn.own),
            ("vpn.own_on", self.vpn.own_on),
            ("sessions.kept", self.sessions.kept),
            ("sessions.typo", self.sessions.typo),
            ("sessions.mfa", self.sessions.mfa),
            ("sessions.missed_prompt", self.sessions.missed_prompt),
            ("trips.near", self.trips.near),
            ("trips.new_device", self.trips.new_device),
            ("trips.roaming", self.trips.roaming),
            ("turnover.joined", self.turnover.joined),
            ("turnover.left", self.turnover.left),
            ("dormancy.share", self.dormancy.share),
            ("dormancy.taken", self.dormancy.taken),
            ("dormancy.back", self.dormancy.back),
            ("programs.backups", self.programs.backups),
            ("programs.clears", self.programs.clears),
            ("programs.in_cloud", self.programs.in_cloud),
            ("twins.monday_typos", self.twins.monday_typos),
            ("attacks.spray_reach", self.attacks.spray_reach),
            ("attacks.same_device_id", self.attacks.same_device_id),
            ("attacks.same_program", self.attacks.same_program),
            ("attacks.flagged_proxy", self.attacks.flagged_proxy),
            ("attacks.near_by", self.attacks.near_by),
            ("attacks.same_network", self.attacks.same_network),
            ("attacks.curious", self.attacks.curious),
        ];
        match shares
            .iter()
            .find(|(_, share)| !(0.0..=1.0).contains(share))
        {
            Some((name, share)) => Err(format!("{name} is a share, from 0 to 1, not {share}")),
            // Of no known users at all there would be no telling how many unknown ones.
            None if !(0.0..0.95).contains(&self.attacks.unknown_users) => {
                Err("attacks.unknown_users is a share from 0 to below 0.95".to_owned())
            }
            None => Ok(()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "small counts, to be compared")]
    fn check_ranges(&self) -> Result<(), String> {
        let whole = |[low, high]: [u32; 2]| [f64::from(low), f64::from(high)];
        let size = |[low, high]: [usize; 2]| [low as f64, high as f64];
        let days = |[low, high]: [i64; 2]| [low as f64, high as f64];
        let [few, many] = self.attacks.spray_addresses;
        let ranges = [
            ("work.favourites", 1.0, size(self.work.favourites)),
            ("work.sittings", 1.0, whole(self.work.sittings)),
            ("devices.replaced_days", 1.0, self.devices.replaced_days),
            ("homes.lease_days", 1.0, self.homes.lease_days),
            ("trips.nights", 1.0, days(self.trips.nights)),
            ("dormancy.active_days", 1.0, days(self.dormancy.active_days)),
            (
                "programs.every_minutes",
                1.0,
                whole(self.programs.every_minutes),
            ),
            ("programs.documents", 1.0, size(self.programs.documents)),
            ("programs.failover_hours", 0.0, self.programs.failover_hours),
            (
                "twins.report_documents",
                1.0,
                whole(self.twins.report_documents),
            ),
            ("attacks.spray_hours", 0.0, self.attacks.spray_hours),
            ("attacks.spray_addresses", 1.0, [few as f64, many as f64]),
            ("attacks.requests", 1.0, whole(self.attacks.requests)),
            (
                "attacks.bulk_documents",
                1.0,
                size(self.attacks.bulk_documents),
            ),
            (
                "attacks.bulk_pause_seconds",
                0.0,
                self.attacks.bulk_pause_seconds,
            ),
            ("attacks.prompts", 1.0, whole(self.attacks.prompts)),
        ];
        let roles = self.role.iter().flat_map(|role| {
            [
                ("role.requests", 1.0, role.requests),
                ("role.at_home", 0.0, role.at_home),
            ]
        });
        for (name, least, [low, high]) in ranges.into_iter().chain(roles) {
            if !(low >= least && high >= low && high.is_finite()) {
                return Err(format!(
                    "{name} goes from {low} to {high}; it must rise from {least} or more"
                ));
            }
        }
        if self.role.iter().any(|role| role.at_home[1] > 1.0) {
            return Err("role.at_home is a share, from 0 to 1".to_owned());
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "small counts, to be compared")]
    fn check_amounts(&self) -> Result<(), String> {
        let above = f64::MIN_POSITIVE;
        let offices: f64 = self.office.iter().map(|office| office.share).sum();
        let roles: f64 = self.role.iter().map(|role| role.share).sum();
        let amounts = [
            ("the shares of the offices together", above, offices),
            ("the shares of the roles together", above, roles),
            ("work.documents", 1.0, self.work.documents as f64),
            ("work.project_days", 1.0, self.work.project_days as f64),
            ("work.pause_seconds", above, self.work.pause_seconds),
            (
                "devices.counts together",
                above,
                self.devices.counts.iter().sum(),
            ),
            (
                "devices.browser_update_days",
                1.0,
                self.devices.browser_update_days as f64,
            ),
            ("mobile.exits", 1.0, self.mobile.exits as f64),
            ("vpn.exits", 1.0, self.vpn.exits as f64),
            ("sessions.hours", above, self.sessions.hours),
            ("trips.per_year", 0.0, self.trips.per_year),
            ("trips.cruise_kmh", 1.0, self.trips.cruise_kmh),
            ("trips.rail_kmh", 1.0, self.trips.rail_kmh),
            ("trips.before_hours", 0.0, self.trips.before_hours),
            ("trips.after_hours", 0.0, self.trips.after_hours),
            (
                "trips.on_the_ground_hours",
                0.0,
                self.trips.on_the_ground_hours,
            ),
            ("leave.weeks_per_year", 0.0, self.leave.weeks_per_year),
            (
                "dormancy.silent_days",
                1.0,
                self.dormancy.silent_days as f64,
            ),
            (
                "dormancy.wakes_within",
                0.0,
                self.dormancy.wakes_within as f64,
            ),
            ("programs.addresses", 1.0, self.programs.addresses as f64),
            (
                "programs.release_days",
                1.0,
                self.programs.release_days as f64,
            ),
            ("programs.failover", 0.0, self.programs.failover),
            ("twins.handover", 0.0, self.twins.handover),
            ("twins.ip_flip", 0.0, self.twins.ip_flip),
            ("twins.geo_error", 0.0, self.twins.geo_error),
            ("twins.quarter_end", 0.0, self.twins.quarter_end),
            ("twins.quarter_end_boost", 0.0, self.twins.quarter_end_boost),
            (
                "attacks.per_thousand_days",
                0.0,
                self.attacks.per_thousand_days,
            ),
            ("attacks.on_programs", 0.0, self.attacks.on_programs),
            (
                "attacks.spray_every_days",
                1.0,
                self.attacks.spray_every_days,
            ),
            ("attacks.far_km", 0.0, self.attacks.far_km),
        ];
        let weights = self.attacks.weights.values();
        let weights = weights.map(|weight| ("attacks.weights", 0.0, *weight));
        match amounts
            .into_iter()
            .chain(weights)
            .find(|(_, least, amount)| !(amount >= least && amount.is_finite()))
        {
            Some((name, least, _)) if least < 1.0 && least > 0.0 => {
                Err(format!("{name} must be more than 0"))
            }
            Some((name, least, _)) => Err(format!("{name} must be at least {least}")),
            None => Ok(()),
        }
    }

    /// How often an attack of this kind is made on one person on one day.
    pub(super) fn rate(&self, attack: Attack) -> f64 {
        let weights = &self.attacks.weights;
        let weight = weights.get(attack.name()).copied().unwrap_or(1.0);
        (self.attacks.per_thousand_days / 1000.0 * weight).clamp(0.0, 1.0)
    }
}

/// Puts one table over another, table by table.
fn overlay(under: &mut Table, over: Table) {
    for (name, value) in over {
        match (under.get_mut(&name), value) {
            (Some(toml::Value::Table(under)), toml::Value::Table(over)) => overlay(under, over),
            (_, value) => {
                under.insert(name, value);
            }
        }
    }
}
