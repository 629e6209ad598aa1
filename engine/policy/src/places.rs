//! Where policies stand: for those who want to read the one that decided.

use std::str::FromStr as _;

use cedar_policy::{Effect, PolicySet};
use cedar_policy_core::ast;

use crate::source::SourceFile;

/// One policy, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyPlace {
    /// Its `@id`; without one, the file's name and Cedar's own.
    pub id: String,
    /// The file.
    pub file: String,
    /// The line that it begins on, from 1.
    pub line: usize,
    /// Whether it forbids; permits otherwise.
    pub forbids: bool,
    /// Its `@reason`.
    pub reason: Option<String>,
    /// Its `@severity`.
    pub severity: Option<String>,
}

/// Every policy of a set in the order of its files. What does not parse is left out: a set that
/// has decided does.
#[must_use]
pub fn places(files: &[SourceFile]) -> Vec<PolicyPlace> {
    let mut places = Vec::new();
    for file in files.iter().filter(|file| !file.is_schema()) {
        let Ok(set) = PolicySet::from_str(&file.text) else {
            continue;
        };
        let begin = places.len();
        for policy in set.policies() {
            let core: &ast::Policy = policy.as_ref();
            let offset = core.template().loc().map_or(0, |loc| loc.span.offset());
            let before = file.text.get(..offset).unwrap_or(&file.text);
            let named = policy.annotation("id").filter(|id| !id.trim().is_empty());
            places.push(PolicyPlace {
                id: named.map_or_else(
                    || format!("{}#{}", file.base_name(), policy.id()),
                    str::to_owned,
                ),
                file: file.name.clone(),
                line: before.matches('\n').count() + 1,
                forbids: policy.effect() == Effect::Forbid,
                reason: policy.annotation("reason").map(str::to_owned),
                severity: policy.annotation("severity").map(str::to_owned),
            });
        }
        if let Some(own) = places.get_mut(begin..) {
            own.sort_by_key(|place| place.line);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_stands_where_its_annotations_begin() {
        let text = "// A word.\n@id(\"first\")\n@reason(\"Because.\")\npermit (principal, action, \
                    resource);\n\nforbid (principal, action, resource);\n";
        let files = [
            SourceFile::new("x.cedarschema", "entity User;"),
            SourceFile::new("folder/a.cedar", text),
        ];
        let found = places(&files);
        let told: Vec<_> = found
            .iter()
            .map(|place| (place.id.as_str(), place.line, place.forbids))
            .collect();
        assert_eq!(told, [("first", 2, false), ("a.cedar#policy1", 6, true)]);
        assert_eq!(found[0].reason.as_deref(), Some("Because."));
        assert_eq!(found[0].file, "folder/a.cedar");
    }
}
