//! A directory with some entities changed, without building it anew where that can be avoided.
//!
//! Cedar's `upsert_entities` goes through all entities several times for each that it replaces.
//! Here the ancestors are worked out first, for those alone whose family changes, and Cedar is
//! told that they are.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use cedar_policy_core::ast::{self, EntityUID};
use cedar_policy_core::entities::err::EntitiesError;
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::ValidatorSchema;

use super::{Directory, Entry};
use crate::load::Policies;
use crate::plain::told;

/// Ancestors of one entity at most: every one of them is copied into each of its descendants.
const ANCESTORS_MAX: usize = 1000;
/// Entities that are replaced one by one; more are not worth it, and all are put together anew.
const REPLACED_MAX: usize = 4;
/// Entities whose descendants are looked for by name rather than by going through all ancestors.
const MOVED_FEW: usize = 4;

/// Why a directory cannot be changed like this.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Somebody would be their own ancestor.
    #[error(
        "{0} would be its own ancestor through `parents`; leave out the parent that leads back to it"
    )]
    Cycle(String),
    /// Too many ancestors.
    #[error("{0} would have more than {ANCESTORS_MAX} ancestors; keep the groups flatter")]
    TooDeep(String),
    /// Cedar refused; nothing that is known to happen.
    #[error("{0}")]
    Cedar(String),
}

impl From<EntitiesError> for ChangeError {
    fn from(error: EntitiesError) -> Self {
        Self::Cedar(told(&error))
    }
}

/// Entities by name as they are to be; none where one is to be no more.
type Wanted = HashMap<EntityUID, Option<Arc<ast::Entity>>>;

impl Directory {
    /// The directory with these changes, the last one of number `number`. What is set here goes
    /// over what the file says of the same entity, and what is removed here shows the file's
    /// again.
    ///
    /// # Errors
    /// When an entity would be its own ancestor, or have too many. Nothing is changed then.
    pub fn with_changes(
        &self,
        policies: &Policies,
        changes: impl IntoIterator<Item = Entry>,
        number: u64,
    ) -> Result<Self, ChangeError> {
        let mut hidden = Arc::clone(&self.hidden);
        let mut wanted = Wanted::new();
        for Entry { uid, entity } in changes {
            let is_in_file = self.file.contains(&uid);
            let is_hidden = hidden.contains_key(&uid);
            let form = match (entity, is_in_file, is_hidden) {
                (Some(entity), true, false) => {
                    // One that was shown again by a change before is not in `self`.
                    let shown = wanted.get(&uid).and_then(Option::as_deref);
                    if let Some(of_file) = shown.or_else(|| self.get(&uid)) {
                        let of_file = with_ancestors(of_file.clone(), HashSet::new());
                        Arc::make_mut(&mut hidden).insert(uid.clone(), Arc::new(of_file));
                    }
                    Some(entity)
                }
                (Some(entity), _, _) => Some(entity),
                (None, true, true) => Arc::make_mut(&mut hidden).remove(&uid),
                // The file's own, which stays.
                (None, true, false) => continue,
                (None, false, _) => None,
            };
            wanted.insert(uid, form);
        }
        let entities = self.changed(policies, &wanted)?;
        let stored = entities
            .iter()
            .filter(|entity| !entity.uid().is_action())
            .count();
        Ok(Self {
            entities,
            file: Arc::clone(&self.file),
            hidden,
            file_revision: Arc::clone(&self.file_revision),
            revision: revision(&self.file_revision, number),
            stored,
            index: OnceLock::new(),
        })
    }

    /// The same under the number that the store gave to its last change.
    #[must_use]
    pub fn numbered(self, number: u64) -> Self {
        Self {
            revision: revision(&self.file_revision, number),
            ..self
        }
    }

    fn changed(&self, policies: &Policies, wanted: &Wanted) -> Result<Entities, ChangeError> {
        let family = Family {
            before: self,
            wanted,
            moved: self.moved(policies, wanted),
        };
        let mut put = Vec::new();
        for (uid, entity) in wanted {
            if let Some(entity) = entity {
                let ancestors = family.ancestors(uid)?;
                put.push(Arc::new(with_ancestors(
                    ast::Entity::clone(entity),
                    ancestors,
                )));
            }
        }
        for uid in family.moved.iter().filter(|uid| !wanted.contains_key(uid)) {
            if let Some(entity) = self.get(uid) {
                let ancestors = family.ancestors(uid)?;
                put.push(Arc::new(with_ancestors(entity.clone(), ancestors)));
            }
        }
        let replaced: Vec<&EntityUID> = put
            .iter()
            .map(|entity| entity.uid())
            .chain(
                wanted
                    .iter()
                    .filter(|(_, entity)| entity.is_none())
                    .map(|(uid, _)| uid),
            )
            .filter(|uid| self.knows(uid))
            .collect();
        let none = None::<&NoEntitiesSchema>;
        let (known, all) = (
            TCComputation::AssumeAlreadyComputed,
            Extensions::all_available(),
        );
        if replaced.is_empty() {
            return Ok(self.entities.clone().add_entities(put, none, known, all)?);
        }
        let are_alone = replaced
            .iter()
            .all(|uid| !may_have_descendants(policies, uid));
        if replaced.len() <= REPLACED_MAX && are_alone {
            let gone: Vec<EntityUID> = wanted
                .iter()
                .filter(|(uid, entity)| entity.is_none() && self.knows(uid))
                .map(|(uid, _)| uid.clone())
                .collect();
            let mut entities = self.entities.clone();
            if !gone.is_empty() {
                entities = entities.remove_entities(gone, known)?;
            }
            return Ok(entities.upsert_entities(put, none, known, all)?);
        }
        let replaced: HashSet<&EntityUID> = replaced.into_iter().collect();
        let kept = self
            .entities
            .iter()
            .filter(|entity| !replaced.contains(entity.uid()))
            .map(|entity| Arc::new(entity.clone()));
        let kept: Vec<_> = kept.chain(put.iter().cloned()).collect();
        Ok(Entities::new().add_entities(kept, none, known, all)?)
    }

    /// Those whose ancestors may change: who gets other parents, and all their descendants.
    fn moved(&self, policies: &Policies, wanted: &Wanted) -> HashSet<EntityUID> {
        let mut moved = HashSet::new();
        for (uid, entity) in wanted {
            let after: HashSet<&EntityUID> = entity.iter().flat_map(|e| e.parents()).collect();
            let before: HashSet<&EntityUID> = self
                .get(uid)
                .into_iter()
                .flat_map(|e| e.parents())
                .collect();
            if after != before {
                moved.insert(uid.clone());
            }
        }
        let heads: Vec<&EntityUID> = moved
            .iter()
            .filter(|uid| may_have_descendants(policies, uid))
            .collect();
        if heads.is_empty() {
            return moved;
        }
        let below: Vec<EntityUID> = if heads.len() <= MOVED_FEW {
            let is_below =
                |entity: &&ast::Entity| heads.iter().any(|head| entity.is_descendant_of(head));
            self.uids(is_below)
        } else {
            let heads: HashSet<&EntityUID> = heads.into_iter().collect();
            self.uids(|entity| entity.ancestors().any(|above| heads.contains(above)))
        };
        moved.extend(below);
        moved
    }

    fn uids(&self, wanted: impl FnMut(&&ast::Entity) -> bool) -> Vec<EntityUID> {
        let found = self.entities.iter().filter(wanted);
        found.map(|entity| entity.uid().clone()).collect()
    }
}

/// What a directory is called in records: the file's hash, and the number of the last change
/// over it, if there is one.
pub(super) fn revision(file: &str, number: u64) -> String {
    if number == 0 {
        file.to_owned()
    } else {
        format!("{file}+{number}")
    }
}

/// Whether the schema lets anything be in entities of this type.
fn may_have_descendants(policies: &Policies, uid: &EntityUID) -> bool {
    let schema: &ValidatorSchema = policies.schema().as_ref();
    schema
        .get_entity_type(uid.entity_type())
        .is_none_or(|kind| !kind.descendants.is_empty())
}

/// Who is whose parent after the change.
struct Family<'a> {
    before: &'a Directory,
    wanted: &'a Wanted,
    moved: HashSet<EntityUID>,
}

impl<'a> Family<'a> {
    fn entity(&self, uid: &EntityUID) -> Option<&'a ast::Entity> {
        match self.wanted.get(uid) {
            Some(entity) => entity.as_deref(),
            None => self.before.get(uid),
        }
    }

    /// Every ancestor, the parents among them.
    fn ancestors(&self, of: &EntityUID) -> Result<HashSet<EntityUID>, ChangeError> {
        let mut found = HashSet::new();
        let mut waiting: Vec<&EntityUID> = self
            .entity(of)
            .into_iter()
            .flat_map(ast::Entity::parents)
            .collect();
        while let Some(uid) = waiting.pop() {
            if uid == of {
                return Err(ChangeError::Cycle(of.to_string()));
            }
            if !found.insert(uid.clone()) {
                continue;
            }
            if found.len() > ANCESTORS_MAX {
                return Err(ChangeError::TooDeep(of.to_string()));
            }
            if let Some(entity) = self.entity(uid) {
                if self.moved.contains(uid) || self.wanted.contains_key(uid) {
                    waiting.extend(entity.parents());
                } else {
                    // Nothing above it changes, so it knows them all.
                    waiting.extend(entity.ancestors());
                }
            }
        }
        Ok(found)
    }
}

fn with_ancestors(entity: ast::Entity, mut all: HashSet<EntityUID>) -> ast::Entity {
    let (uid, attributes, _, parents, tags) = entity.into_inner();
    all.retain(|ancestor| !parents.contains(ancestor));
    ast::Entity::new_with_attr_partial_value(uid, attributes, all, parents, tags)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::EntityRef;

    use super::*;
    use crate::SourceFile;

    const SCHEMA: &str = "entity Group in [Group]; entity User in [Group] { n?: Long }; \
                          action a appliesTo { principal: [User], resource: [User], context: {} };";

    type Bodies = BTreeMap<(String, String), String>;

    fn file(bodies: &Bodies) -> SourceFile {
        let one = |((kind, id), body): (&(String, String), &String)| {
            let rest = body.trim_start_matches('{');
            format!("{{\"uid\":{{\"type\":{kind:?},\"id\":{id:?}}},{rest}")
        };
        let all: Vec<String> = bodies.iter().map(one).collect();
        SourceFile::new("entities.json", format!("[{}]", all.join(",")))
    }

    /// A pseudo-random number below `below`: the same ones in each run.
    fn dice(state: &mut u64, below: u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % below
    }

    fn draw(state: &mut u64) -> ((String, String), String) {
        let is_group = dice(state, 2) == 0;
        let parents: Vec<String> = (0..dice(state, 3))
            .map(|_| format!("{{\"type\":\"Group\",\"id\":\"g{}\"}}", dice(state, 7)))
            .collect();
        let attrs = if is_group {
            "{}".to_owned()
        } else {
            format!("{{\"n\":{}}}", dice(state, 5))
        };
        let (kind, letter) = if is_group {
            ("Group", 'g')
        } else {
            ("User", 'u')
        };
        let name = (kind.to_owned(), format!("{letter}{}", dice(state, 7)));
        let body = format!("{{\"attrs\":{attrs},\"parents\":[{}]}}", parents.join(","));
        (name, body)
    }

    #[test]
    fn changed_by_and_by_is_the_same_as_built_at_once() {
        let policies = Policies::load(&[
            SourceFile::new("s.cedarschema", SCHEMA),
            SourceFile::new(
                "p.cedar",
                "@id(\"p\") permit (principal, action, resource);",
            ),
        ])
        .unwrap();
        let (mut circles, mut compared) = (0, 0);
        for seed in 0..150 {
            let state = &mut (seed * 7919 + 1);
            let of_file: Bodies = (0..4).map(|_| draw(state)).collect();
            let Ok(mut directory) = Directory::load(&file(&of_file), &policies) else {
                continue;
            };
            let mut set = Bodies::new();
            for step in 1..30_u64 {
                let mut wanted = set.clone();
                let changes: Vec<Entry> = (0..=dice(state, 7))
                    .map(|_| {
                        let (name, body) = draw(state);
                        let named = EntityRef::new(name.0.as_str(), name.1.as_str()).unwrap();
                        if dice(state, 3) == 0 {
                            wanted.remove(&name);
                            Entry::removed(&policies, &named).unwrap()
                        } else {
                            let entry = Entry::read(&policies, &named, &body).unwrap();
                            wanted.insert(name, body);
                            entry
                        }
                    })
                    .collect();
                let mut all = of_file.clone();
                all.extend(wanted.clone());
                let built = Directory::load(&file(&all), &policies);
                match (directory.with_changes(&policies, changes, step), built) {
                    (Ok(changed), Ok(built)) => {
                        compared += 1;
                        assert!(changed.entities.deep_eq(&built.entities), "{seed} {step}");
                        assert_eq!(changed.len(), built.len());
                        assert!(changed.revision().ends_with(&format!("+{step}")));
                        set = wanted;
                        directory = changed;
                    }
                    (Err(ChangeError::Cycle(_)), Err(_)) => circles += 1,
                    (changed, built) => panic!("{seed} {step}: {changed:?} {built:?}"),
                }
            }
        }
        assert!(compared > 1000 && circles > 200, "{compared} {circles}");
    }
}
