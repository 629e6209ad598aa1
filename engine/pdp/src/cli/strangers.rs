//! The subjects and resources of a file of events, whom the stored entities do not know.

use std::collections::{BTreeMap, BTreeSet};

use domain::EntityRef;
use serde_json::{Value, json};

/// What imported strangers may do: as much as they asked for, as far as risk lets them.
pub(super) const POLICY: &str = r#"// For the subjects of a file of events, whom the stored entities do not know.

@id("imported")
@reason("You are one of the imported subjects.")
permit (principal in Group::"imported", action, resource);
"#;

/// Adds the subjects and resources of a file to the Cedar entities, as far as the schema has
/// types for them. Who is there already keeps what is said of them, and joins the others.
pub(super) fn add(
    entities: &mut Vec<Value>,
    subjects: &BTreeSet<EntityRef>,
    resources: &BTreeSet<EntityRef>,
) {
    let uid =
        |entity: &EntityRef| json!({ "type": entity.kind.as_str(), "id": entity.id.as_str() });
    let group = json!({ "type": "Group", "id": "imported" });
    let mut places: BTreeMap<String, usize> = entities
        .iter()
        .enumerate()
        .filter_map(|(place, entity)| Some((entity.get("uid")?.to_string(), place)))
        .collect();
    let mut add = |uid: Value, parents: &[Value]| {
        let place = *places.entry(uid.to_string()).or_insert_with(|| {
            entities.push(json!({ "uid": uid, "attrs": {}, "parents": [] }));
            entities.len() - 1
        });
        let known = entities
            .get_mut(place)
            .and_then(|entity| entity.get_mut("parents"))
            .and_then(Value::as_array_mut);
        for (known, parent) in known.into_iter().zip(parents) {
            known.push(parent.clone());
        }
    };
    add(group.clone(), &[]);
    for subject in subjects {
        if matches!(subject.kind.as_str(), "User" | "Service") {
            add(uid(subject), std::slice::from_ref(&group));
        }
    }
    for resource in resources {
        if matches!(resource.kind.as_str(), "Document" | "Application") {
            add(uid(resource), &[]);
        }
    }
}
