//! What is said of a subject elsewhere is not true any more when its groups have changed (CAEP 1.0
//! §3.2, G12): whoever has put them into tokens or sessions of their own hears of it.

use domain::{EntityRef, SecurityEventKind, Timestamp};
use serde_json::{Map, Value, json};
use store::sqlite::{Initiator, NewEntityChange, NewSecurityEvent};

use super::body::{Body, TokenClaimsChange};
use crate::engine::Snapshot;

/// Names of groups that are told, bytes together: a token must fit into what receivers take, and
/// who is in hundreds of groups is in too many for that.
const GROUPS_BYTES_MAX: usize = 4096;

/// What is told of groups: their names, or null where they are too many, since a list that was cut
/// would be taken for the whole.
fn told_of(groups: &[String]) -> Value {
    let told = json!(groups);
    if told.to_string().len() > GROUPS_BYTES_MAX {
        return Value::Null;
    }
    told
}

/// The changes of entities that others have to know of: subjects that were stored before and are
/// in other groups now, or are stored no more.
pub(crate) fn changes(
    before: &Snapshot,
    is_subject: impl Fn(&str) -> bool,
    changes: &[NewEntityChange],
    (by, at, why): (&str, Timestamp, Option<&str>),
) -> Vec<NewSecurityEvent> {
    let told = |change: &NewEntityChange| {
        let subject = EntityRef::new(change.kind.as_str(), change.id.as_str()).ok()?;
        let stored = before.directory.shown(&before.policies, &subject)?;
        let groups = other_groups(&stored.text, change.body.as_deref())?;
        let told = told_of(&groups);
        let mut why = why.unwrap_or("its groups have changed").to_owned();
        if told.is_null() {
            why = format!(
                "it is in {} groups now, too many to name here: {why}",
                groups.len()
            );
        }
        let body = Body::TokenClaimsChange(TokenClaimsChange {
            claims: Map::from_iter([("groups".to_owned(), told)]),
        });
        Some(NewSecurityEvent {
            at,
            kind: SecurityEventKind::TokenClaimsChange,
            subject: Some(subject),
            session_id: None,
            device_id: None,
            initiator: Initiator::Admin,
            by: by.to_owned(),
            why,
            body: body.to_text(),
            record: None,
        })
    };
    changes
        .iter()
        .filter(|change| is_subject(&change.kind))
        .filter_map(told)
        .collect()
}

/// The groups that an entity is in now, if they are others than before. Both are Cedar's JSON.
fn other_groups(before: &str, after: Option<&str>) -> Option<Vec<String>> {
    let now = groups(after.unwrap_or("{}"))?;
    (groups(before)? != now).then_some(now)
}

fn groups(text: &str) -> Option<Vec<String>> {
    let entity: Value = serde_json::from_str(text).ok()?;
    let parents = entity.get("parents").and_then(Value::as_array);
    let name = |parent: &Value| {
        let part = |name: &str| parent.get(name).and_then(Value::as_str);
        // As tokens write a subject.
        Some(token::claims::subject(part("type")?, part("id")?))
    };
    let mut names: Vec<String> = parents.into_iter().flatten().filter_map(name).collect();
    names.sort();
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g12_only_other_groups_are_news() {
        let entity = |groups: &[&str], attrs: Value| {
            let parents: Vec<Value> = groups
                .iter()
                .map(|id| json!({"type": "Group", "id": id}))
                .collect();
            json!({"attrs": attrs, "parents": parents}).to_string()
        };
        let before = entity(&["finance", "staff"], json!({"x": 1}));
        let same = entity(&["staff", "finance"], json!({"x": 2}));
        assert_eq!(other_groups(&before, Some(&same)), None);
        let fewer = entity(&["staff"], json!({"x": 1}));
        let wanted = Some(vec!["Group/staff".to_owned()]);
        assert_eq!(other_groups(&before, Some(&fewer)), wanted);
        assert_eq!(other_groups(&before, None), Some(Vec::new()));
        assert_eq!(other_groups(&entity(&[], json!({})), None), None);
    }

    #[test]
    fn g12_more_groups_than_a_token_holds_are_not_named_and_not_cut() {
        let groups = |many: usize| -> Vec<String> {
            (0..many)
                .map(|number| format!("Group/team-{number:03}"))
                .collect()
        };
        assert_eq!(told_of(&groups(3)), json!(groups(3)));
        assert_eq!(told_of(&groups(700)), Value::Null);
        assert_eq!(told_of(&[]), json!([]));
    }
}
