//! The features: every number that the score is made of, once.
//!
//! A feature has a name, a unit, a meaning and a value for what is unknown; the forest is fitted
//! on them in this order, records keep them in this order, and the manifest of a model carries
//! the list, so that a model never meets features it was not made for.

mod catalogue;

pub use catalogue::CATALOGUE;

/// A feature of a request, in the order of the vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the catalogue below says what each one is")]
pub enum Feature {
    DeviceSurprise,
    DeviceYouth,
    FingerprintChanged,
    DeviceDistrust,
    PostureGaps,
    AgentSurprise,
    CountrySurprise,
    AsnSurprise,
    AsnRarity,
    AddressSurprise,
    RoundTripShift,
    UsualDistanceKm,
    ImpliedSpeedKmh,
    Anonymiser,
    Hosting,
    AddressAbuse,
    PrefixAbuse,
    AsnAbuse,
    HourSurprise,
    RequestRate,
    ObjectRateMinutes,
    ObjectRate,
    ObjectRateDay,
    ObjectRatePeers,
    ByteRate,
    NewObjects,
    RecentFailures,
    RefusedPrompts,
    ResourceSensitivity,
    ResourceSurprise,
    ActionSurprise,
    SessionAgeSeconds,
    SessionDrift,
    AssuranceAgeSeconds,
    DormantDays,
}

/// How many features there are.
pub const FEATURES: usize = 35;

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
    /// When nothing is known of it: it then counts as the model's median, which of a log-ratio is
    /// never below 0, as usual for one as for anybody.
    pub unknown: &'static str,
    /// The requirement it answers.
    pub requirement: &'static str,
    /// Where the idea is from.
    pub source: &'static str,
    /// How fast what it is held against is forgotten.
    pub memory: &'static str,
    /// Whether the forest sees `ln(1 + value)`: for what spans several powers of ten.
    pub logarithmic: bool,
}

impl Feature {
    /// Whether it is a log-ratio of how usual a value is: below 0 more usual for the subject than
    /// for anybody.
    #[must_use]
    pub const fn is_surprise(self) -> bool {
        matches!(
            self,
            Self::DeviceSurprise
                | Self::AgentSurprise
                | Self::CountrySurprise
                | Self::AsnSurprise
                | Self::AddressSurprise
                | Self::HourSurprise
                | Self::ResourceSurprise
                | Self::ActionSurprise
        )
    }
}

/// What says nothing of a program.
const OF_PEOPLE: [Feature; 11] = [
    Feature::CountrySurprise,
    Feature::UsualDistanceKm,
    Feature::ImpliedSpeedKmh,
    Feature::Hosting,
    Feature::RequestRate,
    Feature::ObjectRateMinutes,
    Feature::ObjectRate,
    Feature::ObjectRateDay,
    Feature::ObjectRatePeers,
    Feature::ByteRate,
    Feature::NewObjects,
];

/// What is of an access, or of the subject's accesses together, and not of a session.
const OF_ACTIVITY: [Feature; 11] = [
    Feature::RequestRate,
    Feature::ObjectRateMinutes,
    Feature::ObjectRate,
    Feature::ObjectRateDay,
    Feature::ObjectRatePeers,
    Feature::ByteRate,
    Feature::NewObjects,
    Feature::RecentFailures,
    Feature::RefusedPrompts,
    Feature::ResourceSurprise,
    Feature::ActionSurprise,
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

    /// Sets a feature, unless it is higher already.
    pub(crate) fn raise(&mut self, feature: Feature, value: f64) {
        let standing = self.get(feature).unwrap_or(f64::NEG_INFINITY);
        self.set(feature, value.max(standing));
    }

    /// All values.
    #[must_use]
    pub const fn values(&self) -> &[f64; FEATURES] {
        &self.0
    }

    /// Forgets what says nothing of a program. They work in batches: a backup reads everything
    /// once a month, and whose hand is on the key does not show in that. They live in data
    /// centres, and move between them at once. Policies have the words.
    pub(crate) fn leave_people_out(&mut self) {
        for feature in OF_PEOPLE {
            self.set(feature, f64::NAN);
        }
    }

    /// Forgets what the subject does at the moment, and what is tried on the subject: it says
    /// nothing of a session in which nobody asks for anything.
    pub(crate) fn leave_activity_out(&mut self) {
        for feature in OF_ACTIVITY {
            self.set(feature, f64::NAN);
        }
    }

    /// The row that the forest sees: logarithms where the catalogue says so, and never less than
    /// `medians` (in the forest's own scale; of log-ratios 0 at least). What is unknown is the median, so that knowing
    /// nothing is never better than being like everybody; and what is more ordinary than the
    /// median is not, in its own way, unusual: a forest by itself isolates both ends.
    #[must_use]
    pub fn row(&self, medians: &[f64; FEATURES]) -> [f64; FEATURES] {
        let mut row = self.scaled();
        for (value, median) in row.iter_mut().zip(medians) {
            // Not a number is never the greater.
            *value = value.max(*median);
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

/// The catalogue as a table for people, in Markdown.
#[must_use]
pub fn table() -> String {
    let mut table = String::from(
        "| feature | unit | meaning | at the median while | memory | from | requirement |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for description in &CATALOGUE {
        table.push_str(&format!(
            "| `{}` | {} | {} | {} | {} | {} | {} |\n",
            description.name,
            description.unit,
            description.doc,
            description.unknown,
            description.memory,
            description.source,
            description.requirement
        ));
    }
    table
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
    fn nothing_is_below_the_median_and_infinity_is_unknown() {
        let mut features = Features::default();
        features.set(Feature::Hosting, f64::INFINITY);
        features.set(Feature::UsualDistanceKm, 255.0);
        features.set(Feature::HourSurprise, -3.0);
        let row = features.row(&[2.0; FEATURES]);
        assert!((row[Feature::Hosting as usize] - 2.0).abs() < f64::EPSILON);
        assert!((row[Feature::HourSurprise as usize] - 2.0).abs() < f64::EPSILON);
        assert!((row[Feature::UsualDistanceKm as usize] - 256.0_f64.ln()).abs() < 1e-12);
    }
}
