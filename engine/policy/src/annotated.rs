//! What annotations in the schema say of entity types.

use std::collections::{HashMap, HashSet};

use cedar_policy::SchemaFragment;
use cedar_policy_core::ast::EntityType;
use cedar_policy_core::validator::ValidatorSchema;
use smol_str::SmolStr;

/// Makes an unknown id of an entity type a deny.
const STORED: &str = "stored";
/// The value of it that makes what is stored the whole of it: a caller's properties fill in nothing.
const ALONE: &str = "alone";
/// Names the service that resources of a type belong to: tokens for them are for that service.
const AUDIENCE: &str = "audience";

/// The entity types that the schema says more of than Cedar asks for.
#[derive(Debug)]
pub(crate) struct AnnotatedTypes {
    pub(crate) stored: HashSet<EntityType>,
    /// Those of which only what is stored counts.
    pub(crate) alone: HashSet<EntityType>,
    pub(crate) audiences: HashMap<EntityType, SmolStr>,
}

impl AnnotatedTypes {
    pub(crate) fn new(schema: &ValidatorSchema, fragments: &[SchemaFragment]) -> Self {
        let types = || schema.entity_type_names();
        Self {
            stored: types()
                .filter(|kind| annotation(fragments, kind, STORED).is_some())
                .cloned()
                .collect(),
            alone: types()
                .filter(|kind| annotation(fragments, kind, STORED).is_some_and(|of| of == ALONE))
                .cloned()
                .collect(),
            audiences: types()
                .filter_map(|kind| Some((kind.clone(), annotation(fragments, kind, AUDIENCE)?)))
                .collect(),
        }
    }
}

/// The value of an annotation of a type; empty when it has none.
fn annotation(fragments: &[SchemaFragment], kind: &EntityType, key: &str) -> Option<SmolStr> {
    let name = kind.to_string();
    let (namespace, base) = match name.rsplit_once("::") {
        Some((namespace, base)) => (namespace.parse().ok(), base),
        None => (None, name.as_str()),
    };
    fragments.iter().find_map(|fragment| {
        let mut annotations = fragment.entity_type_annotations(namespace.clone(), base)?;
        annotations
            .find(|(known, _)| *known == key)
            .map(|(_, value)| SmolStr::new(value))
    })
}
