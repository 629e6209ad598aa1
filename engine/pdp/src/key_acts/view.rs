//! Keys as those see them who may see keys: never a secret, never its hash.

use domain::Timestamp;
use serde_json::{Map, Value, json};
use store::sqlite::KeyRecord;

/// A key that is older should be rotated, days (X18).
pub(crate) const ROTATE_AFTER_DAYS: i64 = 90;
/// A key that ends within this time is warned of, days.
const WARN_BEFORE_DAYS: i64 = 14;
const DAY: i64 = 86_400;

/// What may be said of a key that does not change any more once it is made.
pub(crate) fn described(record: &KeyRecord) -> Map<String, Value> {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    put("client_id", record.client_id.clone().into());
    put("name", record.name.clone().into());
    put("role", record.role.clone().into());
    if let Some(permissions) = &record.permissions {
        put("permissions", permissions.clone().into());
    }
    let subject = &record.subject;
    put(
        "subject",
        json!({ "type": subject.kind.as_str(), "id": subject.id.as_str() }),
    );
    if let Some(audience) = &record.audience {
        put("audience", audience.clone().into());
    }
    if let Some(certificate) = &record.certificate {
        put("certificate", certificate.clone().into());
    }
    put("expires_at", wire::time::format(record.expires_at).into());
    members
}

/// A key as lists show it.
pub(crate) fn view(record: &KeyRecord, now: Timestamp) -> Value {
    let mut members = Map::new();
    members.insert("key_id".to_owned(), record.key_id.clone().into());
    members.extend(described(record));
    let time = |at: Option<Timestamp>| at.map(wire::time::format);
    let state = state(record, now);
    for (name, value) in [
        ("created_at", json!(wire::time::format(record.created_at))),
        ("created_by", json!(record.created_by)),
        ("last_used_at", json!(time(record.last_used_at))),
        ("rotated_to", json!(record.rotated_to)),
        ("overlap_end", json!(time(record.overlap_end))),
        ("revoked_at", json!(time(record.revoked_at))),
        ("state", json!(state)),
        ("is_active", json!(record.is_active(now))),
        ("warning", json!(warning(record, now))),
    ] {
        members.insert(name.to_owned(), value);
    }
    Value::Object(members)
}

/// What has become of a key, in a word.
pub(crate) fn state(record: &KeyRecord, now: Timestamp) -> &'static str {
    match (record.revoked_at, record.is_active(now), &record.rotated_to) {
        (Some(_), ..) => "revoked",
        (None, true, None) => "active",
        (None, true, Some(_)) => "rotated",
        (None, false, _) => "expired",
    }
}

/// What its keeper should see to. None when there is nothing.
pub(crate) fn warning(record: &KeyRecord, now: Timestamp) -> Option<String> {
    if !record.is_active(now) {
        return None;
    }
    let left = record.ends_at().whole_seconds_since(now);
    if left < WARN_BEFORE_DAYS * DAY {
        let days = left / DAY;
        return Some(match &record.rotated_to {
            Some(new) => format!("ends in {days} days; {new} has taken its place"),
            None => format!("ends in {days} days; rotate it"),
        });
    }
    let age = now.whole_seconds_since(record.created_at) / DAY;
    (age >= ROTATE_AFTER_DAYS && record.rotated_to.is_none())
        .then(|| format!("{age} days old; rotate it"))
}

#[cfg(test)]
mod tests {
    use domain::EntityRef;

    use super::*;
    use crate::access::{KeyWish, NewKey, Role};
    use crate::inputs::Inputs;

    #[test]
    fn x18_old_keys_and_ending_ones_are_warned_of() {
        let made = Timestamp::from_seconds(1_795_215_660);
        let subject = EntityRef::new("Service", "billing").unwrap();
        let wish = KeyWish::plain("billing", Role::Service, subject);
        let randomness = Inputs::system().randomness;
        let old = NewKey::generate(wish, made, &*randomness).record;
        let after = |days: i64| made.plus_seconds(days * DAY);
        let told = |record: &KeyRecord, days: i64| {
            (state(record, after(days)), warning(record, after(days)))
        };
        assert_eq!(told(&old, 89), ("active", None));
        assert_eq!(
            told(&old, 90),
            ("active", Some("90 days old; rotate it".to_owned()))
        );
        assert_eq!(
            told(&old, 360),
            ("active", Some("ends in 5 days; rotate it".to_owned()))
        );
        assert_eq!(told(&old, 365), ("expired", None));
        let mut rotated = old.clone();
        rotated.rotated_to = Some("sk_new".to_owned());
        rotated.overlap_end = Some(after(97));
        assert_eq!(told(&rotated, 90).0, "rotated");
        assert_eq!(
            told(&rotated, 90).1.unwrap(),
            "ends in 7 days; sk_new has taken its place"
        );
        assert_eq!(told(&rotated, 97), ("expired", None));
        // The hash is nowhere in what is shown.
        let shown = view(&old, made);
        assert!(!shown.to_string().contains("sha256"), "{shown}");
    }
}
