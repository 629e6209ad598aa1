//! Who plays, and with what.

use serde_json::{Value, json};
use trainer::simulate::{Person, Resource, Service, documents};

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
        bytes: 0,
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
