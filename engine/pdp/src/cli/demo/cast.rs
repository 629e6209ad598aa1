//! Who plays, and with what.

use std::collections::{BTreeMap, BTreeSet};

use domain::EntityRef;
use serde_json::{Value, json};
use trainer::simulate::{Person, Resource, Service, documents};
use wire::Event;

/// Departments whose documents the demo needs.
const DEPARTMENTS: [&str; 4] = ["engineering", "finance", "legal", "sales"];

/// The people of the shipped entities: id, place, department.
const PEOPLE: [(&str, &str, &str); 7] = [
    ("alice", "paris", "finance"),
    ("bob", "berlin", "engineering"),
    ("carol", "london", "sales"),
    ("dave", "berlin", "engineering"),
    ("erin", "paris", "finance"),
    ("frank", "london", "sales"),
    ("grace", "paris", "legal"),
];

/// What imported strangers may do: as much as they asked for, as far as risk lets them.
pub(super) const POLICY_FOR_IMPORTED: &str = r#"// Written by `portreeve demo --events` for the subjects of the file.

@id("imported")
@reason("You are one of the imported subjects.")
permit (principal in Group::"imported", action, resource);
"#;

/// The people.
pub(super) fn people() -> Vec<Person> {
    PEOPLE
        .iter()
        .enumerate()
        .map(|(number, (id, place, department))| {
            let mut person = Person::new(
                (*id).to_owned(),
                0x0DE_0000 + number as u64,
                place,
                department,
                &documents(department),
            );
            // A quiet office: everybody is there and works with their own.
            person.settled = true;
            person.at_home = 0.2;
            person.own_vpn = false;
            person.office_vpn = false;
            person.requests = 16.0;
            person
        })
        .collect()
}

/// The program.
pub(super) fn service() -> Service {
    let mut resources = documents("finance");
    resources.truncate(6);
    Service {
        id: "nightly-report".to_owned(),
        key: 0x5E,
        agent: "nightly-report/2.4".to_owned(),
        every_minutes: 360,
        resources,
        ..Service::default()
    }
}

/// A document that everybody may read.
pub(super) fn handbook() -> Resource {
    Resource {
        kind: "Document".to_owned(),
        id: "handbook".to_owned(),
        sensitivity: 0,
    }
}

/// The documents of all departments, as Cedar entities.
pub(super) fn documents_as_entities() -> Vec<Value> {
    DEPARTMENTS
        .iter()
        .flat_map(|department| {
            documents(department).into_iter().map(move |document| {
                json!({
                    "uid": { "type": document.kind, "id": document.id },
                    "attrs": { "department": department, "sensitivity": document.sensitivity },
                    "parents": [],
                })
            })
        })
        .collect()
}

/// Adds the subjects and resources of a file to the Cedar entities, as far as the schema has
/// types for them. Who is there already keeps what is said of them, and joins the others.
pub(super) fn add_strangers(entities: &mut Vec<Value>, events: &[Event]) {
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
    let mut seen = BTreeSet::new();
    for event in events {
        let subject = &event.request.subject.entity;
        let resource = &event.request.resource.entity;
        if matches!(subject.kind.as_str(), "User" | "Service") && seen.insert(subject) {
            add(uid(subject), std::slice::from_ref(&group));
        }
        if matches!(resource.kind.as_str(), "Document" | "Application") && seen.insert(resource) {
            add(uid(resource), &[]);
        }
    }
}
