//! The stored entities: who is in which group, what a document's label is.
//!
//! Stored attributes win. What a request says in `properties` fills in only what is not stored
//! and the schema knows; nothing at all of a type that is annotated `@stored("alone")`.

use std::collections::{BTreeSet, HashMap};

use cedar_policy_core::ast::{self, EntityUID, PartialValue};
use cedar_policy_core::entities::{Dereference, Entities, TCComputation};
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::types::Attributes as AttributeTypes;
use domain::value::Attributes;
use domain::{EntityRef, Signal};
use smol_str::SmolStr;

use crate::load::Policies;
use crate::problem::{Problem, Problems};
use crate::source::{self, SourceFile};
use crate::value::{BadValue, convert};

/// A directory with more entities within reach of one request than this is refused for
/// requests that carry properties: copying them would be the slow way to say no.
const MAX_WITHIN_REACH: usize = 10_000;

/// The entities of one revision, validated against the schema.
#[derive(Debug)]
pub struct Directory {
    entities: Entities,
    revision: String,
    stored: usize,
}

/// Entities as one request sees them.
#[derive(Debug)]
pub(crate) enum View<'a> {
    Stored(&'a Entities),
    Filled(Box<Entities>),
}

impl View<'_> {
    pub(crate) fn entities(&self) -> &Entities {
        match self {
            Self::Stored(entities) => entities,
            Self::Filled(entities) => entities,
        }
    }
}

impl Directory {
    /// Reads entities in Cedar's JSON form and holds them against the schema.
    ///
    /// # Errors
    /// When the text is not JSON, an entity does not fit the schema, or the hierarchy turns in
    /// a circle.
    pub fn load(file: &SourceFile, policies: &Policies) -> Result<Self, Problems> {
        let entities = cedar_policy::Entities::from_json_str(&file.text, Some(policies.schema()))
            .map_err(|error| {
                Problems(vec![Problem::error(&file.name, chain(&error)).of_kind("entities::refused").with_help(
                    "entities are a JSON array of {\"uid\":{\"type\",\"id\"},\"attrs\":{},\"parents\":[]}",
                )])
            })?;
        let entities: Entities = entities.as_ref().clone();
        let stored = entities
            .iter()
            .filter(|entity| !entity.uid().is_action())
            .count();
        Ok(Self {
            entities,
            revision: source::revision(std::slice::from_ref(file)),
            stored,
        })
    }

    /// No entities but the schema's actions.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn empty(policies: &Policies) -> Result<Self, Problems> {
        Self::load(&SourceFile::new("no entities", "[]"), policies)
    }

    /// Content hash, as recorded with every decision.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// How many entities are stored, actions not counted.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.stored
    }

    /// Whether nothing is stored.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.stored == 0
    }

    /// A whole number that is stored with an entity, such as its sensitivity.
    #[must_use]
    pub fn stored_long(
        &self,
        policies: &Policies,
        entity: &EntityRef,
        attribute: &str,
    ) -> Signal<i64> {
        let value =
            policies
                .uid_of(entity)
                .and_then(|uid| match self.get(&uid)?.get(attribute)? {
                    PartialValue::Value(ast::Value {
                        value: ast::ValueKind::Lit(ast::Literal::Long(value)),
                        ..
                    }) => Some(*value),
                    _ => None,
                });
        Signal::from(value)
    }

    /// A text attribute of a stored entity.
    #[must_use]
    pub fn stored_text(
        &self,
        policies: &Policies,
        entity: &EntityRef,
        attribute: &str,
    ) -> Option<String> {
        match self.get(&policies.uid_of(entity)?)?.get(attribute)? {
            PartialValue::Value(ast::Value {
                value: ast::ValueKind::Lit(ast::Literal::String(text)),
                ..
            }) => Some(text.to_string()),
            _ => None,
        }
    }

    /// Whether somebody of this name can be: the schema has the type, and those of a `@stored`
    /// type are stored.
    #[must_use]
    pub fn admits(&self, policies: &Policies, entity: &EntityRef) -> bool {
        policies
            .uid_of(entity)
            .is_some_and(|uid| !policies.is_stored_type(uid.entity_type()) || self.knows(&uid))
    }

    pub(crate) fn knows(&self, uid: &EntityUID) -> bool {
        self.get(uid).is_some()
    }

    pub(crate) fn entities(&self) -> impl Iterator<Item = &ast::Entity> {
        self.entities.iter()
    }

    pub(crate) fn get(&self, uid: &EntityUID) -> Option<&ast::Entity> {
        match self.entities.entity(uid) {
            Dereference::Data(entity) => Some(entity),
            Dereference::NoSuchEntity | Dereference::Residual(_) => None,
        }
    }

    /// The entities as a request with these properties sees them. Nothing is copied unless a
    /// property really adds something.
    pub(crate) fn view<'a>(
        &'a self,
        policies: &Policies,
        parties: &[(&EntityUID, &Attributes, &str)],
        action: &EntityUID,
    ) -> Result<View<'a>, BadValue> {
        let mut filled: HashMap<EntityUID, Vec<(SmolStr, ast::Value)>> = HashMap::new();
        for (uid, properties, path) in parties {
            let Some(attributes) = policies.attributes_of(uid.entity_type()) else {
                continue;
            };
            if policies.is_stored_alone(uid.entity_type()) {
                continue;
            }
            let added = self.added(uid, properties, attributes, path)?;
            if !added.is_empty() {
                filled.entry((*uid).clone()).or_default().extend(added);
            }
        }
        if filled.is_empty() {
            return Ok(View::Stored(&self.entities));
        }
        let roots = parties.iter().map(|(uid, ..)| *uid).chain([action]);
        let mut within_reach = self.within_reach(roots)?;
        for (uid, added) in filled {
            let stored = within_reach
                .remove(&uid)
                .unwrap_or_else(|| ast::Entity::with_uid(uid));
            let (uid, mut attributes, ancestors, parents, tags) = stored.into_inner();
            attributes.extend(
                added
                    .into_iter()
                    .map(|(name, value)| (name, PartialValue::Value(value))),
            );
            let entity = ast::Entity::new_with_attr_partial_value(
                uid.clone(),
                attributes,
                ancestors.into_iter().collect(),
                parents.into_iter().collect(),
                tags,
            );
            within_reach.insert(uid, entity);
        }
        Entities::from_entities(
            within_reach.into_values(),
            None::<&cedar_policy_core::entities::NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            Extensions::all_available(),
        )
        .map(|entities| View::Filled(Box::new(entities)))
        .map_err(|error| BadValue::new("properties", error.to_string()))
    }

    /// The properties that the schema knows and the stored entity lacks.
    fn added(
        &self,
        uid: &EntityUID,
        properties: &Attributes,
        attributes: &AttributeTypes,
        path: &str,
    ) -> Result<Vec<(SmolStr, ast::Value)>, BadValue> {
        let stored = self.get(uid);
        let mut added = Vec::new();
        for (name, value) in properties {
            let is_stored = stored.is_some_and(|entity| entity.get(name).is_some());
            if let Some(attribute) = attributes.get_attr(name).filter(|_| !is_stored) {
                let path = format!("{path}.{name}");
                added.push((
                    SmolStr::new(name),
                    convert(value, &attribute.attr_type, &path)?,
                ));
            }
        }
        Ok(added)
    }

    /// Everything that evaluation could look at from these roots: their ancestors, and what
    /// attributes and tags refer to, to any depth.
    fn within_reach<'a>(
        &self,
        roots: impl Iterator<Item = &'a EntityUID>,
    ) -> Result<HashMap<EntityUID, ast::Entity>, BadValue> {
        let mut waiting: Vec<EntityUID> = roots.cloned().collect();
        let mut seen: BTreeSet<EntityUID> = waiting.iter().cloned().collect();
        let mut found = HashMap::new();
        while let Some(uid) = waiting.pop() {
            let Some(entity) = self.get(&uid) else {
                continue;
            };
            if found.len() >= MAX_WITHIN_REACH {
                return Err(BadValue::new("properties", "reach too many entities"));
            }
            let values = entity
                .attrs()
                .chain(entity.tags())
                .filter_map(|(_, value)| match value {
                    PartialValue::Value(value) => Some(value),
                    PartialValue::Residual(_) => None,
                });
            let referred = values.flat_map(ast::Value::all_literal_uids);
            for next in entity.ancestors().cloned().chain(referred) {
                if seen.insert(next.clone()) {
                    waiting.push(next);
                }
            }
            found.insert(uid, entity.clone());
        }
        Ok(found)
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
