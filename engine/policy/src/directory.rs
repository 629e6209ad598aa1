//! The stored entities: who is in which group, what a document's label is.
//!
//! Stored attributes win. What a request says in `properties` fills in only what is not stored
//! and the schema knows; nothing at all of a type that is annotated `@stored("alone")`.

mod changes;
mod entry;

use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use cedar_policy_core::ast::{self, EntityUID, PartialValue};
use cedar_policy_core::entities::{Dereference, Entities, TCComputation};
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::types::Attributes as AttributeTypes;
use domain::value::Attributes;
use domain::{EntityRef, Signal};
use smol_str::SmolStr;

use crate::load::Policies;
use crate::plain::told;
use crate::problem::{Problem, Problems};
use crate::search::Index;
use crate::source::{self, SourceFile};
use crate::value::{BadValue, convert};

pub use changes::ChangeError;
pub use entry::{Entry, Finding};

/// The text in an attribute that holds one.
pub(crate) fn text(value: &PartialValue) -> Option<&str> {
    match value {
        PartialValue::Value(ast::Value {
            value: ast::ValueKind::Lit(ast::Literal::String(text)),
            ..
        }) => Some(text),
        _ => None,
    }
}

/// A directory with more entities within reach of one request than this is refused for
/// requests that carry properties: copying them would be the slow way to say no.
const MAX_WITHIN_REACH: usize = 10_000;

/// The entities of one revision, validated against the schema.
#[derive(Debug)]
pub struct Directory {
    entities: Entities,
    /// Those of the file, as long as nothing is set over them.
    file: Arc<HashSet<EntityUID>>,
    /// The file's entities that something is set over, as the file has them.
    hidden: Arc<HashMap<EntityUID, Arc<ast::Entity>>>,
    file_revision: Arc<str>,
    revision: String,
    stored: usize,
    /// Made when the first search asks for it.
    index: OnceLock<Index>,
}

/// Where a stored entity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The file of entities.
    File,
    /// Somebody set it; it may go over one of the file.
    Api,
}

impl Source {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Api => "api",
        }
    }
}

/// A stored entity, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its type.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Cedar's JSON form without `uid`.
    pub text: String,
    /// Where it comes from.
    pub source: Source,
    /// Whether it is set over one of the file.
    pub over_file: bool,
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
                Problems(vec![Problem::error(&file.name, told(&error)).of_kind("entities::refused").with_help(
                    "entities are a JSON array of {\"uid\":{\"type\",\"id\"},\"attrs\":{},\"parents\":[]}",
                )])
            })?;
        let entities: Entities = entities.as_ref().clone();
        let file_revision = source::revision(std::slice::from_ref(file));
        let of_file: HashSet<EntityUID> = entities
            .iter()
            .map(ast::Entity::uid)
            .filter(|uid| !uid.is_action())
            .cloned()
            .collect();
        Ok(Self {
            entities,
            stored: of_file.len(),
            file: Arc::new(of_file),
            hidden: Arc::default(),
            revision: file_revision.clone(),
            file_revision: Arc::from(file_revision),
            index: OnceLock::new(),
        })
    }

    /// No entities but the schema's actions.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn empty(policies: &Policies) -> Result<Self, Problems> {
        Self::load(&Self::nothing(), policies)
    }

    /// What stands in for a file of entities where there is none.
    #[must_use]
    pub fn nothing() -> SourceFile {
        SourceFile::new("no entities", "[]")
    }

    /// As recorded with every decision: content hash of the file, and with a plus the number of
    /// the last change over it, if there is one.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Where a stored entity comes from; none when it is not stored.
    #[must_use]
    pub fn source(&self, policies: &Policies, entity: &EntityRef) -> Option<Source> {
        self.get(&policies.uid_of(entity)?)
            .map(|entity| self.source_of(entity.uid()))
    }

    fn source_of(&self, uid: &EntityUID) -> Source {
        if self.file.contains(uid) && !self.hidden.contains_key(uid) {
            Source::File
        } else {
            Source::Api
        }
    }

    /// A stored entity, to be shown.
    #[must_use]
    pub fn shown(&self, policies: &Policies, entity: &EntityRef) -> Option<Shown> {
        self.show(self.get(&policies.uid_of(entity)?)?)
    }

    fn show(&self, entity: &ast::Entity) -> Option<Shown> {
        let uid = entity.uid();
        let eid: &str = uid.eid().as_ref();
        Some(Shown {
            kind: uid.entity_type().to_string(),
            id: eid.to_owned(),
            text: entry::written(entity)?,
            source: self.source_of(uid),
            over_file: self.hidden.contains_key(uid),
        })
    }

    /// At most so many stored entities in order of type and id, of one type or all, those after
    /// a type and id.
    #[must_use]
    pub fn page(
        &self,
        kind: Option<&str>,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Vec<Shown> {
        // The smallest so many, found in one pass: to sort a hundred thousand for each page
        // would cost more.
        let mut least: BinaryHeap<(String, &str, &EntityUID)> = BinaryHeap::new();
        for uid in self.entities.iter().map(ast::Entity::uid) {
            if uid.is_action() {
                continue;
            }
            let (name, id): (String, &str) = (uid.entity_type().to_string(), uid.eid().as_ref());
            let is_wanted = kind.is_none_or(|kind| kind == name)
                && after.is_none_or(|after| (name.as_str(), id) > after);
            if is_wanted {
                let is_least = least
                    .peek()
                    .is_none_or(|most| (&name, id) < (&most.0, most.1));
                if is_least || least.len() < limit {
                    least.push((name, id, uid));
                }
                if least.len() > limit {
                    least.pop();
                }
            }
        }
        let found = least.into_sorted_vec().into_iter();
        found
            .filter_map(|(_, _, uid)| self.show(self.get(uid)?))
            .collect()
    }

    /// Content hash of the file alone.
    #[must_use]
    pub fn file_revision(&self) -> &str {
        &self.file_revision
    }

    /// Whether the file has any entities.
    #[must_use]
    pub fn has_file(&self) -> bool {
        !self.file.is_empty()
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
        let stored = self.get(&policies.uid_of(entity)?)?;
        text(stored.get(attribute)?).map(str::to_owned)
    }

    /// The stored entities, of one type or all, with this text in an attribute, whatever the case
    /// of its letters: one look at each of them.
    #[must_use]
    pub fn with_text(&self, kind: Option<&str>, attribute: &str, wanted: &str) -> Vec<EntityRef> {
        let wanted = wanted.to_lowercase();
        let has = |entity: &&ast::Entity| {
            let stored = entity.get(attribute).and_then(text);
            stored.is_some_and(|stored| stored.to_lowercase() == wanted)
        };
        let found = self.entities.iter().filter(has).filter_map(|entity| {
            let uid = entity.uid();
            let name = uid.entity_type().to_string();
            kind.is_none_or(|kind| kind == name)
                .then(|| EntityRef::new(name, uid.eid().as_ref() as &str).ok())?
        });
        found.collect()
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

    /// The entities in order, and what is below each group.
    pub(crate) fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::new(self.entities.iter()))
    }

    pub(crate) const fn as_cedar(&self) -> &Entities {
        &self.entities
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
