//! What a window of accesses can look like, by name, and from where on it does.

use super::{Baseline, Features, LITTLE_BYTES, Usual, times};

/// A suspicious pattern, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// Many resources of one type tried that are refused or do not exist, or new ones in the
    /// order of their numbers.
    Enumeration,
    /// Many things tried that no policy permits.
    PrivilegeProbing,
    /// From application to application, in none of them anything that the subject knew.
    LateralMovement,
    /// Far more different resources, or bytes, than the subject ever gets to in that time.
    BulkRead,
    /// Much at an hour at which the subject is hardly ever seen.
    OffHoursBurst,
}

/// From where on a window shows a pattern. How often honest windows do is measured by
/// `cargo run --release -p trainer --example behaviour`; the figures are in `ARCHITECTURE.md`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Different resources of a bulk read, and how often the usual goes into them.
    pub bulk_resources: (usize, f64),
    /// Bytes of one, and how often the usual goes into them.
    pub bulk_bytes: (f64, f64),
    /// Different resources of one type that are refused or do not exist.
    pub missing: usize,
    /// Resources in a row by their numbers, most of them new to the subject, and how often the
    /// usual goes into all that were touched.
    pub row: (usize, f64),
    /// Different pairs of action and resource that no policy permits.
    pub refused: usize,
    /// Applications in which everything was new.
    pub new_applications: usize,
    /// Accesses at an unusual hour, and how often the usual goes into them.
    pub off_hours: (usize, f64),
}

impl Thresholds {
    /// Those that count.
    pub const CALIBRATED: Self = Self {
        bulk_resources: (20, 4.0),
        bulk_bytes: (268_435_456.0, 8.0),
        missing: 8,
        row: (12, 3.0),
        refused: 8,
        new_applications: 4,
        off_hours: (6, 1.5),
    };

    /// All of them times a share, to see what stricter or laxer ones would do.
    #[must_use]
    pub fn times(self, share: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small numbers, which stay above 0"
        )]
        let number = |count: usize| (count as f64 * share).ceil().max(1.0) as usize;
        Self {
            bulk_resources: (number(self.bulk_resources.0), self.bulk_resources.1 * share),
            bulk_bytes: (self.bulk_bytes.0 * share, self.bulk_bytes.1 * share),
            missing: number(self.missing),
            row: (number(self.row.0), self.row.1 * share),
            refused: number(self.refused),
            new_applications: number(self.new_applications),
            off_hours: (number(self.off_hours.0), self.off_hours.1 * share),
        }
    }
}

impl Pattern {
    /// Every pattern, the gravest first.
    pub const ALL: [Self; 5] = [
        Self::Enumeration,
        Self::PrivilegeProbing,
        Self::LateralMovement,
        Self::BulkRead,
        Self::OffHoursBurst,
    ];

    /// The name in answers and policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enumeration => "enumeration",
            Self::PrivilegeProbing => "privilege-probing",
            Self::LateralMovement => "lateral-movement",
            Self::BulkRead => "bulk-read",
            Self::OffHoursBurst => "off-hours-burst",
        }
    }

    /// The pattern of this name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|pattern| pattern.as_str() == word)
    }

    /// What it looks like, for people.
    #[must_use]
    pub const fn doc(self) -> &'static str {
        match self {
            Self::Enumeration => "trying one resource after the other",
            Self::PrivilegeProbing => "trying what is not permitted",
            Self::LateralMovement => "moving across applications that were not used before",
            Self::BulkRead => "taking far more than usual",
            Self::OffHoursBurst => "a burst at an unusual hour",
        }
    }

    /// Whether it alone is reason to have the subject prove anew who they are. Somebody who
    /// works late once is not.
    #[must_use]
    pub const fn is_grave(self) -> bool {
        !matches!(self, Self::OffHoursBurst)
    }

    /// The names with a space between them; none when there are no patterns.
    #[must_use]
    pub fn names(patterns: &[Self]) -> Option<String> {
        let names: Vec<&str> = patterns.iter().map(|pattern| pattern.as_str()).collect();
        (!names.is_empty()).then(|| names.join(" "))
    }

    /// A sentence about what [`Self::names`] gave.
    pub(crate) fn sentence(names: &str) -> String {
        let told: Vec<&str> = names
            .split(' ')
            .filter_map(Self::from_word)
            .map(Self::doc)
            .collect();
        format!("It looks like {}.", told.join(", and "))
    }

    pub(super) fn all_in(
        features: &Features,
        usual: Usual,
        baseline: Baseline<'_>,
        thresholds: &Thresholds,
    ) -> Vec<Self> {
        let window = Held {
            features,
            usual,
            interactive: baseline.interactive,
            thresholds,
        };
        Self::ALL
            .into_iter()
            .filter(|pattern| window.shows(*pattern))
            .collect()
    }
}

/// A window, and what it is held against.
struct Held<'a> {
    features: &'a Features,
    usual: Usual,
    interactive: bool,
    thresholds: &'a Thresholds,
}

impl Held<'_> {
    fn shows(&self, pattern: Pattern) -> bool {
        let (features, thresholds) = (self.features, self.thresholds);
        match pattern {
            Pattern::Enumeration => features.missing >= thresholds.missing || self.counts_up(),
            Pattern::PrivilegeProbing => features.refused >= thresholds.refused,
            Pattern::LateralMovement => features.new_applications >= thresholds.new_applications,
            Pattern::BulkRead => self.interactive && (self.takes_many() || self.takes_much()),
            Pattern::OffHoursBurst => self.interactive && self.works_by_night(),
        }
    }

    fn counts_up(&self) -> bool {
        let (least, share) = self.thresholds.row;
        self.interactive
            && self.features.row >= least
            && 2 * self.features.new_resources >= self.features.row
            && self.is_above(self.features.resources, self.usual.resources, share)
    }

    fn takes_many(&self) -> bool {
        let (least, share) = self.thresholds.bulk_resources;
        self.features.resources >= least
            && self.is_above(self.features.resources, self.usual.resources, share)
    }

    fn takes_much(&self) -> bool {
        let (least, share) = self.thresholds.bulk_bytes;
        let bytes = self.features.bytes;
        let above = |usual| times(bytes, usual, LITTLE_BYTES) >= share;
        bytes >= least && self.usual.bytes.is_some_and(above)
    }

    fn works_by_night(&self) -> bool {
        let (least, share) = self.thresholds.off_hours;
        self.features.unusual_hour >= least
            && self.is_above(self.features.unusual_hour, self.usual.accesses, share)
    }

    /// Whether a number is so many times the subject's own usual; of whom nothing is known,
    /// nothing is unusual.
    fn is_above(&self, number: usize, usual: Option<f64>, share: f64) -> bool {
        usual.is_some_and(|usual| times(number as f64, usual, 1.0) >= share)
    }
}
