//! One entity as somebody wrote it, held against the schema before it may be stored.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cedar_policy_core::ast::{self, EntityType, EntityUID};
use cedar_policy_core::entities::{EntityJsonParser, TCComputation};
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::{CoreSchema, ValidatorSchema};
use domain::EntityRef;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::load::Policies;
use crate::plain::told;

/// Names that a message lists at most.
const LISTED_MAX: usize = 20;

/// What is wrong with an entity, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The member, for example `attrs.department`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
    /// What to write.
    pub help: String,
}

impl Finding {
    fn new(path: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            help: help.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}; {}", self.path, self.message, self.help)
    }
}

/// What is to become of one stored entity.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) uid: EntityUID,
    /// None: it is to be stored no more.
    pub(super) entity: Option<Arc<ast::Entity>>,
}

/// An entity in Cedar's JSON form, without its `uid`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    attrs: Map<String, Value>,
    #[serde(default)]
    parents: Vec<Parent>,
    #[serde(default)]
    tags: Map<String, Value>,
}

/// Cedar's short form of a reference, and its long one.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a parent is written {\"type\": …, \"id\": …}")]
enum Parent {
    Short(Reference),
    Long { __entity: Reference },
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
struct Reference {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

impl Entry {
    /// Reads an entity and holds it against the schema: nothing that the schema does not know,
    /// nothing of another type, everything that it requires.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(policies: &Policies, name: &EntityRef, text: &str) -> Result<Self, Vec<Finding>> {
        let schema: &ValidatorSchema = policies.schema().as_ref();
        let uid = policies
            .uid_of(name)
            .ok_or_else(|| vec![unknown_type(schema, name.kind.as_str(), "type")])?;
        let body: Body = serde_json::from_str(text).map_err(|error| {
            vec![Finding::new(
                "",
                format!("is not an entity: {error}"),
                r#"write {"attrs": {…}, "parents": [{"type": …, "id": …}]}, and "tags" where the schema has them"#,
            )]
        })?;
        let parents: Vec<Value> = body.parents.iter().map(Parent::written).collect();
        let whole = json!({
            "uid": { "type": name.kind.as_str(), "id": name.id.as_str() },
            "attrs": body.attrs,
            "parents": parents,
            "tags": body.tags,
        });
        let core = CoreSchema::new(schema);
        let parser = EntityJsonParser::new(
            Some(&core),
            Extensions::all_available(),
            TCComputation::AssumeAlreadyComputed,
        );
        match parser.single_from_json_value(whole.clone()) {
            Ok(entity) => Ok(Self {
                uid,
                entity: Some(Arc::new(entity)),
            }),
            // Cedar stops at the first; authors are told all at once.
            Err(error) => {
                let findings = differences(policies, schema, uid.entity_type(), &body);
                Err(if findings.is_empty() {
                    vec![placed(policies, &uid, &whole, &told(&error))]
                } else {
                    findings
                })
            }
        }
    }

    /// An entity that is to be stored no more.
    ///
    /// # Errors
    /// When the schema does not know its type.
    pub fn removed(policies: &Policies, name: &EntityRef) -> Result<Self, Vec<Finding>> {
        let schema: &ValidatorSchema = policies.schema().as_ref();
        let uid = policies
            .uid_of(name)
            .ok_or_else(|| vec![unknown_type(schema, name.kind.as_str(), "type")])?;
        Ok(Self { uid, entity: None })
    }

    /// The form to store: as Cedar understood it, so that it means the same whatever the schema
    /// says later, and equal entities have equal texts. None for one that is removed.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        self.entity.as_deref().and_then(written)
    }
}

/// An entity in Cedar's JSON form, without its `uid`: its own parents and not their ancestors, in
/// order.
pub(super) fn written(entity: &ast::Entity) -> Option<String> {
    let (uid, attrs, _, parents, tags) = entity.clone().into_inner();
    let alone = ast::Entity::new_with_attr_partial_value(
        uid,
        attrs,
        std::collections::HashSet::new(),
        parents,
        tags,
    );
    let mut whole = alone.to_json_value().ok()?;
    let members = whole.as_object_mut()?;
    members.remove("uid");
    if let Some(Value::Array(parents)) = members.get_mut("parents") {
        parents.sort_by_key(ToString::to_string);
    }
    let has_tags = members
        .get("tags")
        .and_then(Value::as_object)
        .is_some_and(|tags| !tags.is_empty());
    if !has_tags {
        members.remove("tags");
    }
    Some(whole.to_string())
}

impl Parent {
    const fn named(&self) -> &Reference {
        match self {
            Self::Short(reference)
            | Self::Long {
                __entity: reference,
            } => reference,
        }
    }

    fn written(&self) -> Value {
        let reference = self.named();
        json!({ "type": reference.kind, "id": reference.id })
    }
}

/// What differs from the schema by name: told all at once, and in words that say what there is.
fn differences(
    policies: &Policies,
    schema: &ValidatorSchema,
    kind: &EntityType,
    body: &Body,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(known) = policies.attributes_of(kind) {
        for name in body.attrs.keys() {
            if known.get_attr(name).is_none() {
                let names = known.iter().map(|(name, _)| name.to_string());
                findings.push(Finding::new(
                    format!("attrs.{name}"),
                    format!("is not in the schema of {kind}"),
                    format!("write one of {}", listed(names)),
                ));
            }
        }
        for (name, value) in &body.attrs {
            if let (Some(attribute), Some(what)) = (known.get_attr(name), no_value(value)) {
                findings.push(Finding::new(
                    format!("attrs.{name}"),
                    format!("holds {what}"),
                    format!("write a {}", attribute.attr_type),
                ));
            }
        }
        for (name, attribute) in known.iter() {
            if attribute.is_required && !body.attrs.contains_key(name.as_str()) {
                findings.push(Finding::new(
                    format!("attrs.{name}"),
                    "is missing",
                    format!("the schema requires it: write a {}", attribute.attr_type),
                ));
            }
        }
    }
    for (number, parent) in body.parents.iter().enumerate() {
        let named = parent.named();
        let allowed = || {
            schema
                .entity_types()
                .filter(|above| above.descendants.contains(kind))
        };
        let is_known = schema
            .entity_type_names()
            .any(|known| known.to_string() == named.kind);
        let path = format!("parents[{number}].type");
        if !is_known {
            findings.push(unknown_type(schema, &named.kind, &path));
        } else if !allowed().any(|above| above.name().to_string() == named.kind) {
            let names: Vec<String> = allowed().map(|above| above.name().to_string()).collect();
            let help = if names.is_empty() {
                format!(
                    "leave `parents` empty, or declare `entity {kind} in [{}]`",
                    named.kind
                )
            } else {
                format!("write one of {}", listed(names.into_iter()))
            };
            findings.push(Finding::new(
                path,
                format!(
                    "is {}, and the schema does not let {kind} be in it",
                    named.kind
                ),
                help,
            ));
        }
    }
    let has_tags = schema
        .get_entity_type(kind)
        .is_some_and(|kind| kind.tag_type().is_some());
    if !body.tags.is_empty() && !has_tags {
        findings.push(Finding::new(
            "tags",
            format!("are not in the schema of {kind}"),
            "leave them out, or declare the type with `tags String`".to_owned(),
        ));
    }
    findings
}

/// What of a JSON value Cedar has no value for, at any depth.
fn no_value(value: &Value) -> Option<&'static str> {
    match value {
        Value::Null => Some("null"),
        Value::Number(number) if !number.is_i64() => {
            Some("a number that is no whole number of 64 bits")
        }
        Value::Array(items) => items.iter().find_map(no_value),
        Value::Object(members) => members.values().find_map(no_value),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn unknown_type(schema: &ValidatorSchema, kind: &str, path: &str) -> Finding {
    let names = schema.entity_type_names().map(ToString::to_string);
    Finding::new(
        path,
        format!("is {kind}, which is not in the schema"),
        format!("write one of {}", listed(names)),
    )
}

/// What Cedar found, at the member that it names.
fn placed(policies: &Policies, uid: &EntityUID, whole: &Value, message: &str) -> Finding {
    let types: BTreeMap<String, String> = policies
        .attributes_of(uid.entity_type())
        .into_iter()
        .flat_map(|known| known.iter())
        .map(|(name, attribute)| (name.to_string(), attribute.attr_type.to_string()))
        .collect();
    let attribute = whole
        .get("attrs")
        .and_then(Value::as_object)
        .and_then(|attrs| {
            attrs
                .keys()
                .find(|name| message.contains(&format!("`{name}`")))
        });
    match attribute {
        Some(name) => Finding::new(
            format!("attrs.{name}"),
            format!("does not fit: {message}"),
            types
                .get(name)
                .map_or_else(String::new, |wanted| format!("write a {wanted}")),
        ),
        None => Finding::new(
            if message.contains("tag") {
                "tags"
            } else {
                "attrs"
            },
            format!("does not fit: {message}"),
            "write what the schema declares".to_owned(),
        ),
    }
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    names.sort();
    let more = names.len().saturating_sub(LISTED_MAX);
    names.truncate(LISTED_MAX);
    match (names.is_empty(), more) {
        (true, _) => "nothing: it has none".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}
