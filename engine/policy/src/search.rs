//! Who or what a search has to look at: the stored entities that the scope of some permit admits.
//!
//! An allow needs a permit that holds, and a permit holds only for what its scope admits. So a
//! search starts from the scopes of the permits that the other two parts of the question meet,
//! and of the stored entities looks at those alone.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use cedar_policy_core::ast::{self, Effect, EntityType, EntityUID};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use domain::{AccessRequest, EntityRef, Name};

use crate::directory::Directory;
use crate::load::{ActionPlan, Policies};
use crate::slice::{Party, Scope, Side};

/// The stored entities in an order that stays the same as long as the directory does, and what is
/// below each group.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By type, then by id.
    entities: Vec<EntityUID>,
    types: HashMap<EntityType, Range<usize>>,
    /// Places of all that is in an entity, to any depth, ascending.
    below: HashMap<EntityUID, Vec<u32>>,
}

impl Index {
    pub(crate) fn new<'a>(stored: impl Iterator<Item = &'a ast::Entity>) -> Self {
        let mut stored: Vec<&ast::Entity> =
            stored.filter(|entity| !entity.uid().is_action()).collect();
        stored.sort_unstable_by(|a, b| a.uid().cmp(b.uid()));
        let mut index = Self::default();
        for (place, entity) in stored.into_iter().enumerate() {
            let kind = entity.uid().entity_type();
            match index.types.get_mut(kind) {
                Some(range) => range.end = place + 1,
                None => {
                    index.types.insert(kind.clone(), place..place + 1);
                }
            }
            // A directory with more would not fit into memory.
            let short = u32::try_from(place).unwrap_or(u32::MAX);
            for above in entity.ancestors() {
                match index.below.get_mut(above) {
                    Some(below) => below.push(short),
                    None => {
                        index.below.insert(above.clone(), vec![short]);
                    }
                }
            }
            index.entities.push(entity.uid().clone());
        }
        index
    }

    fn of_type(&self, kind: &EntityType) -> Range<usize> {
        self.types.get(kind).cloned().unwrap_or_default()
    }

    /// Adds the places, among those of one type, that a scope admits. None when it admits all.
    fn admitted(&self, scope: &Scope, kind: &EntityType, found: &mut Vec<usize>) -> Option<()> {
        match scope {
            Scope::Any => return None,
            Scope::Is(only) | Scope::IsIn(only, _) if only != kind => {}
            Scope::Is(_) => return None,
            Scope::Equal(uid) => found.extend(self.place(uid, kind)),
            Scope::In(uid) | Scope::IsIn(_, uid) => {
                let range = self.of_type(kind);
                found.extend(self.place(uid, kind));
                let below = self.below.get(uid).map_or(&[][..], Vec::as_slice);
                let places = below
                    .iter()
                    .filter_map(|place| usize::try_from(*place).ok());
                found.extend(places.filter(|place| range.contains(place)));
            }
        }
        Some(())
    }

    fn place(&self, uid: &EntityUID, kind: &EntityType) -> Option<usize> {
        if uid.entity_type() != kind {
            return None;
        }
        self.entities.binary_search(uid).ok()
    }
}

/// What is looked at, in order.
#[derive(Clone, Debug)]
enum Places {
    All(Range<usize>),
    Some(Vec<usize>),
}

/// The stored entities that a search has to look at. Empty when there can be no allow.
#[derive(Debug)]
pub struct Candidates<'a> {
    policies: &'a Policies,
    directory: &'a Directory,
    places: Places,
    /// None when nothing is to be looked at, or a caller's properties make each candidate's
    /// attributes its own.
    screen: Option<Screen<'a>>,
}

/// What the given half of the question looks like to the policies.
#[derive(Debug)]
struct Screen<'a> {
    action: &'a EntityUID,
    given: EntityUID,
    sought: Side,
}

impl Policies {
    /// The stored entities of a type for which the answer can be an allow at all. Of the request,
    /// the id of the party that is sought does not count.
    #[must_use]
    pub fn candidates<'a>(
        &'a self,
        directory: &'a Directory,
        request: &AccessRequest,
        sought: Side,
    ) -> Candidates<'a> {
        let nothing = Candidates {
            policies: self,
            directory,
            places: Places::Some(Vec::new()),
            screen: None,
        };
        let (principal, resource) = (&request.subject.entity, &request.resource.entity);
        let (Some(principal), Some(resource)) = (self.uid_of(principal), self.uid_of(resource))
        else {
            return nothing;
        };
        let Some(plan) = self.plan_for(request.action.name.as_str(), &principal, &resource) else {
            return nothing;
        };
        let (kind, given) = match sought {
            Side::Principal => (principal.entity_type().clone(), resource),
            Side::Resource => (resource.entity_type().clone(), principal),
        };
        if self.is_stored_type(given.entity_type()) && !directory.knows(&given) {
            return nothing;
        }
        let party = Party {
            uid: &given,
            stored: directory.get(&given),
        };
        let index = directory.index();
        let is_permit = |position: &usize| {
            let policy = self.policies.get(*position);
            policy.is_some_and(|policy| policy.effect == Effect::Permit)
        };
        let facing = self.slices.facing(&party, &plan.action, sought);
        let scopes: HashSet<&Scope> = facing
            .filter(|(position, _)| is_permit(position))
            .map(|(_, scope)| scope)
            .collect();
        let mut found = Vec::new();
        let some = scopes
            .into_iter()
            .try_for_each(|scope| index.admitted(scope, &kind, &mut found));
        let places = match some {
            Some(()) => {
                found.sort_unstable();
                found.dedup();
                Places::Some(found)
            }
            None => Places::All(index.of_type(&kind)),
        };
        let plain = request.subject.properties.is_empty() && request.resource.properties.is_empty();
        Candidates {
            places,
            screen: plain.then_some(Screen {
                action: &plan.action,
                given,
                sought,
            }),
            ..nothing
        }
    }

    /// The actions that there are between two types, in the order of their names.
    #[must_use]
    pub fn actions_between(&self, subject: &EntityRef, resource: &EntityRef) -> Vec<Name> {
        let (Some(principal), Some(resource)) = (self.uid_of(subject), self.uid_of(resource))
        else {
            return Vec::new();
        };
        let names: BTreeSet<Name> = self
            .action_names()
            .filter(|name| self.plan_for(name, &principal, &resource).is_some())
            // An action that nobody can name can be asked for by nobody.
            .filter_map(|name| Name::new(name).ok())
            .collect();
        names.into_iter().collect()
    }

    fn plan_for(
        &self,
        action: &str,
        principal: &EntityUID,
        resource: &EntityUID,
    ) -> Option<&ActionPlan> {
        let mut plans = self.plans(action).iter();
        plans.find(|plan| plan.applies_to(principal, resource))
    }
}

impl Candidates<'_> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.places {
            Places::All(range) => range.len(),
            Places::Some(places) => places.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn uid(&self, number: usize) -> Option<&EntityUID> {
        let place = match &self.places {
            Places::All(range) => range.start + number,
            Places::Some(places) => *places.get(number)?,
        };
        self.directory.index().entities.get(place)
    }

    /// The id of one of them, by its number from 0. None when there is no such, or its id is none
    /// that anybody could ask for.
    #[must_use]
    pub fn id(&self, number: usize) -> Option<Name> {
        let uid = self.uid(number)?;
        Name::new(AsRef::<str>::as_ref(uid.eid())).ok()
    }

    /// Whether some permit may hold for one of them: false only when it is certain that none
    /// does, by what their conditions say of the two parties alone.
    #[must_use]
    pub fn may_be_permitted(&self, number: usize) -> bool {
        let (Some(screen), Some(uid)) = (&self.screen, self.uid(number)) else {
            return true;
        };
        let (principal, resource) = match screen.sought {
            Side::Principal => (uid, &screen.given),
            Side::Resource => (&screen.given, uid),
        };
        let party = |uid| Party {
            uid,
            stored: self.directory.get(uid),
        };
        let slices = &self.policies.slices;
        let found = slices.candidates(&party(principal), screen.action, &party(resource));
        let policies = found
            .into_iter()
            .filter_map(|position| self.policies.policies.get(position));
        let mut evaluator = None;
        for policy in policies.filter(|policy| policy.effect == Effect::Permit) {
            let evaluator = evaluator.get_or_insert_with(|| {
                let known = |uid: &EntityUID| ast::EntityUIDEntry::known(uid.clone(), None);
                let context = ast::Context::Value(Arc::default());
                let request = ast::Request::new_unchecked(
                    known(principal),
                    known(screen.action),
                    known(resource),
                    Some(context),
                );
                Evaluator::new(
                    request,
                    self.directory.as_cedar(),
                    Extensions::all_available(),
                )
            });
            // What fails by itself is not true either, so the whole cannot hold.
            let is_true = |part: &Arc<ast::Expr>| {
                matches!(
                    evaluator.interpret(part, policy.policy.env()),
                    Ok(ast::Value {
                        value: ast::ValueKind::Lit(ast::Literal::Bool(true)),
                        ..
                    })
                )
            };
            if policy.of_parties.iter().all(is_true) {
                return true;
            }
        }
        false
    }
}
