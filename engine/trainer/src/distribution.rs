//! How the features of the events fitted on are distributed, for the manifest.

use risk::Features;
use risk::distribution::{Bins, Distribution};
use risk::features::CATALOGUE;

/// The distribution of these rows. Goes over them once for each feature, so that no more than
/// one column is held at a time.
#[must_use]
pub fn of<'a>(rows: impl Iterator<Item = &'a Features> + Clone) -> Distribution {
    let events = rows.clone().count();
    let features = CATALOGUE
        .iter()
        .map(|description| {
            let values: Vec<f64> = rows
                .clone()
                .filter_map(|features| features.get(description.feature))
                .collect();
            let unknown = events - values.len();
            Bins::of(description.name, values, unknown)
        })
        .collect();
    Distribution { events, features }
}
