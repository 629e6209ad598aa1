//! The features: every number that the score is made of, once.
//!
//! A feature has a name, a unit, a meaning and a value for what is unknown; the forest is fitted
//! on them in this order, records keep them in this order, and the manifest of a model carries
//! the list, so that a model never meets features it was not made for.

/// A feature of a request, in the order of the vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the catalogue below says what each one is")]
pub enum Feature {
    DeviceSurprise,
    DeviceDistrust,
    AgentSurprise,
    CountrySurprise,
    AsnSurprise,
    PrefixSurprise,
    UsualDistanceKm,
    ImpliedSpeedKmh,
    Anonymiser,
    Hosting,
    HourSurprise,
    RequestRate,
    ObjectRate,
    RecentFailures,
    ResourceSensitivity,
    ResourceSurprise,
    ActionSurprise,
    SessionAgeSeconds,
    SessionDrift,
    AssuranceAgeSeconds,
    DormantDays,
}

/// How many features there are.
pub const FEATURES: usize = 21;

/// What a feature is.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Which one.
    pub feature: Feature,
    /// Its name in factors, manifests and records.
    pub name: &'static str,
    /// The unit of its value.
    pub unit: &'static str,
    /// How it is computed.
    pub doc: &'static str,
    /// What it is while nothing is known: always the population's median, and this is when.
    pub unknown: &'static str,
    /// The requirement it answers.
    pub requirement: &'static str,
    /// Whether the forest sees `ln(1 + value)`: for what spans several powers of ten.
    pub logarithmic: bool,
}

const fn describe(
    feature: Feature,
    name: &'static str,
    unit: &'static str,
    requirement: &'static str,
    doc: &'static str,
    unknown: &'static str,
) -> Description {
    let logarithmic = matches!(
        feature,
        Feature::UsualDistanceKm
            | Feature::ImpliedSpeedKmh
            | Feature::RecentFailures
            | Feature::SessionAgeSeconds
            | Feature::AssuranceAgeSeconds
            | Feature::DormantDays
    );
    Description {
        feature,
        name,
        unit,
        doc,
        unknown,
        requirement,
        logarithmic,
    }
}

const COLD: &str = "fewer than 10 accesses learnt";

/// Every feature, in the order of the vector.
pub const CATALOGUE: [Description; FEATURES] = [
    describe(
        Feature::DeviceSurprise,
        "device_surprise",
        "nats",
        "R1",
        "log-ratio of the device for anybody against for this subject (Freeman et al. 2016)",
        "no device id sent, or fewer than 10 accesses learnt",
    ),
    describe(
        Feature::DeviceDistrust,
        "device_distrust",
        "points, 0 to 100",
        "R2",
        "100 less the trust in the device's record",
        "no record, or one without trust",
    ),
    describe(
        Feature::AgentSurprise,
        "agent_surprise",
        "nats",
        "R18",
        "the same log-ratio of the family of the client program",
        "no user agent sent, or fewer than 10 accesses learnt",
    ),
    describe(
        Feature::CountrySurprise,
        "country_surprise",
        "nats",
        "R3",
        "the same log-ratio of the country of the address",
        "address unknown, hidden by a VPN, proxy or relay, or fewer than 10 accesses learnt",
    ),
    describe(
        Feature::AsnSurprise,
        "asn_surprise",
        "nats",
        "R3",
        "the same log-ratio of the autonomous system of the address",
        "address unknown or not in the database, or fewer than 10 accesses learnt",
    ),
    describe(
        Feature::PrefixSurprise,
        "prefix_surprise",
        "nats",
        "R3",
        "the same log-ratio of the /24 or /64 of the address",
        "address unknown, or fewer than 10 accesses learnt",
    ),
    describe(
        Feature::UsualDistanceKm,
        "usual_distance_km",
        "km",
        "R3",
        "great-circle distance to the nearest usual place less both accuracy radii",
        "no point for the address, hidden by a VPN, proxy or relay, or no usual place yet",
    ),
    describe(
        Feature::ImpliedSpeedKmh,
        "implied_speed_kmh",
        "km/h",
        "R4",
        "distance to the last trusted place less both accuracy radii, over the time since (60 s at least)",
        "no point for the address, no last place, or either hidden by a VPN, proxy or relay",
    ),
    describe(
        Feature::Anonymiser,
        "anonymiser",
        "0 none, 1 relay, 2 VPN, 3 proxy, 4 Tor",
        "R18",
        "what hides the true address",
        "address unknown or no database",
    ),
    describe(
        Feature::Hosting,
        "hosting",
        "0 or 1",
        "R18",
        "the address belongs to a data centre",
        "address unknown or no database",
    ),
    describe(
        Feature::HourSurprise,
        "hour_surprise",
        "nats",
        "R5",
        "log-ratio of an even week against the subject's smoothed histogram of hours of the week",
        COLD,
    ),
    describe(
        Feature::RequestRate,
        "request_rate",
        "nats",
        "R6",
        "log-ratio of requests in about 5 minutes against how high they usually get",
        COLD,
    ),
    describe(
        Feature::ObjectRate,
        "object_rate",
        "nats",
        "R6",
        "log-ratio of different resources in about an hour against how many they usually get",
        COLD,
    ),
    describe(
        Feature::RecentFailures,
        "recent_failures",
        "failures",
        "R18",
        "failures in about 15 minutes",
        "profile unavailable",
    ),
    describe(
        Feature::ResourceSensitivity,
        "resource_sensitivity",
        "0 public to 3 secret",
        "R7",
        "the stored sensitivity of the resource",
        "the resource has no label",
    ),
    describe(
        Feature::ResourceSurprise,
        "resource_surprise",
        "nats",
        "R8",
        "the same log-ratio of the resource",
        COLD,
    ),
    describe(
        Feature::ActionSurprise,
        "action_surprise",
        "nats",
        "R8",
        "the same log-ratio of the action",
        COLD,
    ),
    describe(
        Feature::SessionAgeSeconds,
        "session_age_seconds",
        "s",
        "R18",
        "time since the birth of the session",
        "no session id sent",
    ),
    describe(
        Feature::SessionDrift,
        "session_drift",
        "changes, 0 to 4",
        "B14",
        "how many of network, country, device and client program differ from the session's birth",
        "no session id sent",
    ),
    describe(
        Feature::AssuranceAgeSeconds,
        "assurance_age_seconds",
        "s",
        "R18",
        "time since the last authentication",
        "no authentication known",
    ),
    describe(
        Feature::DormantDays,
        "dormant_days",
        "days",
        "R18",
        "time since the last trusted access",
        "nothing learnt yet",
    ),
];

/// The values of all features of one request, in natural units; NaN where unknown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Features([f64; FEATURES]);

impl Default for Features {
    fn default() -> Self {
        Self([f64::NAN; FEATURES])
    }
}

impl Features {
    /// From values in the order of [`CATALOGUE`].
    #[must_use]
    pub const fn new(values: [f64; FEATURES]) -> Self {
        Self(values)
    }

    /// The value of one feature, if it is known.
    #[must_use]
    pub fn get(&self, feature: Feature) -> Option<f64> {
        self.0
            .get(feature as usize)
            .copied()
            .filter(|value| !value.is_nan())
    }

    /// Sets a feature, to single precision: more means nothing, and records are replayed from
    /// what they hold. A value that is not finite is as good as unknown.
    #[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
    pub fn set(&mut self, feature: Feature, value: f64) {
        if let Some(slot) = self.0.get_mut(feature as usize) {
            let value = f64::from(value as f32);
            *slot = if value.is_finite() { value } else { f64::NAN };
        }
    }

    /// All values.
    #[must_use]
    pub const fn values(&self) -> &[f64; FEATURES] {
        &self.0
    }

    /// The row that the forest sees: logarithms where the catalogue says so, and `medians` (in
    /// the forest's own scale) for what is unknown, so that knowing nothing is never better
    /// than being like everybody.
    #[must_use]
    pub fn row(&self, medians: &[f64; FEATURES]) -> [f64; FEATURES] {
        let mut row = self.scaled();
        for (value, median) in row.iter_mut().zip(medians) {
            if value.is_nan() {
                *value = *median;
            }
        }
        row
    }

    /// The row in the forest's scale, NaN where unknown.
    #[must_use]
    pub fn scaled(&self) -> [f64; FEATURES] {
        let mut row = self.0;
        for (value, description) in row.iter_mut().zip(&CATALOGUE) {
            if description.logarithmic {
                *value = value.ln_1p();
            }
        }
        row
    }
}

/// The hash of the feature list: a model fitted on another list is refused.
#[must_use]
pub fn catalogue_hash() -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for description in &CATALOGUE {
        for part in [description.name, description.unit, description.doc] {
            context.update(part.as_bytes());
            context.update(&[0]);
        }
        context.update(&[u8::from(description.logarithmic)]);
    }
    hex::encode(context.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r18_there_are_at_least_ten_and_each_stands_at_its_place() {
        const { assert!(FEATURES >= 10) };
        for (position, description) in CATALOGUE.iter().enumerate() {
            assert_eq!(
                description.feature as usize, position,
                "{}",
                description.name
            );
            assert!(!description.doc.is_empty() && !description.unit.is_empty());
        }
    }

    #[test]
    fn unknown_is_the_median_and_infinity_is_unknown() {
        let mut features = Features::default();
        features.set(Feature::Hosting, f64::INFINITY);
        features.set(Feature::UsualDistanceKm, 255.0);
        let row = features.row(&[7.0; FEATURES]);
        assert!((row[Feature::Hosting as usize] - 7.0).abs() < f64::EPSILON);
        assert!((row[Feature::UsualDistanceKm as usize] - 256.0_f64.ln()).abs() < 1e-12);
    }
}
