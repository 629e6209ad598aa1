//! What there is to be worked with.

use std::sync::Arc;

use domain::{EntityRef, Party, Value};

use super::chance::{mix, unit};

/// Documents of each department in the demo.
const DOCUMENTS: usize = 120;

/// Something to be accessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its type.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// 0 public to 3 secret.
    pub sensitivity: i64,
    /// How large it is; 0 for what has no size.
    pub bytes: i64,
}

impl Resource {
    /// As a request names it.
    pub(crate) fn party(&self) -> Option<Party> {
        Some(Party {
            entity: EntityRef::new(self.kind.as_str(), self.id.as_str()).ok()?,
            properties: [
                ("sensitivity", Some(self.sensitivity)),
                ("size_bytes", Some(self.bytes).filter(|bytes| *bytes > 0)),
            ]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), Value::Long(value?))))
            .collect(),
        })
    }
}

/// The application that people sign in to.
pub(super) fn front_door() -> Resource {
    Resource {
        kind: "Application".to_owned(),
        id: "mail".to_owned(),
        sensitivity: 1,
        bytes: 0,
    }
}

/// The documents of a department, as many as the demo has: most of them internal, some
/// confidential, a few secret.
#[must_use]
pub fn documents(department: &str) -> Vec<Arc<Resource>> {
    library(department, DOCUMENTS)
}

/// So many documents of a department.
pub(super) fn library(department: &str, count: usize) -> Vec<Arc<Resource>> {
    (0..count)
        .map(|number| {
            Arc::new(Resource {
                kind: "Document".to_owned(),
                id: format!("{department}-{number:03}"),
                sensitivity: match number % 20 {
                    0..4 => 0,
                    4..15 => 1,
                    15..19 => 2,
                    _ => 3,
                },
                bytes: size(number),
            })
        })
        .collect()
}

/// From 16 kB to 64 MB, each doubling as likely as the next: most are letters, a few are large.
fn size(number: usize) -> i64 {
    const SMALLEST: f64 = 16_000.0;
    const DOUBLINGS: f64 = 12.0;
    let share = unit(mix(number as u64));
    #[expect(clippy::cast_possible_truncation, reason = "at most 64 million")]
    let bytes = (SMALLEST * (DOUBLINGS * share).exp2()) as i64;
    bytes
}
