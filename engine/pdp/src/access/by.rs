//! Who did something, as records say it.

use serde_json::Value;

/// What stands between a key and the token that came in its place.
pub(super) const WITH: char = '/';
/// What ids of keys begin with; whoever else acts, at the command line for example, has no token.
const KEY_PREFIX: &str = "sk_";

/// A record with `caller` and, where it came with a token, `caller_token`, by the word that acts
/// are signed with (see [`super::Caller::by`]).
pub(crate) fn signed(mut told: Value, by: &str) -> Value {
    let (caller, token) = parts(by);
    if let Some(members) = told.as_object_mut() {
        members.insert("caller".to_owned(), caller.into());
        if let Some(token) = token {
            members.insert("caller_token".to_owned(), token.into());
        }
    }
    told
}

/// The key of whoever did something, or the word that stands for who else did.
pub(crate) fn key_of(by: &str) -> &str {
    parts(by).0
}

fn parts(by: &str) -> (&str, Option<&str>) {
    let split = by.starts_with(KEY_PREFIX).then(|| by.split_once(WITH));
    split
        .flatten()
        .map_or((by, None), |(caller, token)| (caller, Some(token)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::signed;

    #[test]
    fn a_tokens_use_is_told_from_its_keys() {
        for (by, told) in [
            ("sk_1", json!({"caller": "sk_1"})),
            (
                "sk_1/0199",
                json!({"caller": "sk_1", "caller_token": "0199"}),
            ),
            ("User/alice", json!({"caller": "User/alice"})),
            ("command line", json!({"caller": "command line"})),
        ] {
            assert_eq!(signed(json!({}), by), told);
        }
    }
}
