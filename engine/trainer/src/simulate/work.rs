//! What there is to be worked with.

use std::sync::Arc;

use domain::{EntityRef, Party, Value};

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
}

impl Resource {
    /// As a request names it.
    pub(crate) fn party(&self) -> Option<Party> {
        Some(Party {
            entity: EntityRef::new(self.kind.as_str(), self.id.as_str()).ok()?,
            properties: [("sensitivity".to_owned(), Value::Long(self.sensitivity))].into(),
        })
    }
}

/// The application that people sign in to.
pub(super) fn front_door() -> Resource {
    Resource {
        kind: "Application".to_owned(),
        id: "mail".to_owned(),
        sensitivity: 1,
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
            })
        })
        .collect()
}
