//! Slicing: the few policies whose scope a request can meet, found without looking at the rest.
//!
//! Cedar's authorizer evaluates every policy of a set. A policy whose scope does not match cannot
//! be satisfied and cannot fail, and scopes are exact, so leaving it out changes nothing. Each
//! policy is filed once, under a key for its principal and one for its resource, apart for each
//! action it names; a request looks under its own keys: anything, its type, itself, and every
//! ancestor.

use std::collections::HashMap;

use cedar_policy_core::ast::{
    ActionConstraint, Entity, EntityReference, EntityType, EntityUID, Policy,
    PrincipalOrResourceConstraint as Constraint,
};

/// One of the two parties of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The subject.
    Principal,
    /// What it wants to act on.
    Resource,
}

/// What a scope says of a principal or a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    Any,
    Is(EntityType),
    Equal(EntityUID),
    In(EntityUID),
    IsIn(EntityType, EntityUID),
}

/// Where a policy is filed.
#[derive(Clone, Debug)]
enum Key {
    Any,
    Type(EntityType),
    Uid(EntityUID),
}

impl Scope {
    fn of(constraint: &Constraint) -> Self {
        let uid = |reference: &EntityReference| match reference {
            EntityReference::EUID(uid) => Some((**uid).clone()),
            EntityReference::Slot(_) => None,
        };
        let scope = match constraint {
            Constraint::Any => Some(Self::Any),
            Constraint::Is(kind) => Some(Self::Is((**kind).clone())),
            Constraint::Eq(reference) => uid(reference).map(Self::Equal),
            Constraint::In(reference) => uid(reference).map(Self::In),
            Constraint::IsIn(kind, reference) => {
                uid(reference).map(|uid| Self::IsIn((**kind).clone(), uid))
            }
        };
        // A slot that is not filled never gets here: templates without links are refused.
        scope.unwrap_or(Self::Any)
    }

    fn key(&self) -> Key {
        match self {
            Self::Any => Key::Any,
            Self::Is(kind) => Key::Type(kind.clone()),
            Self::Equal(uid) | Self::In(uid) | Self::IsIn(_, uid) => Key::Uid(uid.clone()),
        }
    }

    /// Whether some party of a type could meet this scope. `below` says whether entities of its
    /// second type can be members of entities of its first.
    pub(crate) fn has_room_for(
        &self,
        kind: &EntityType,
        below: impl Fn(&EntityType, &EntityType) -> bool,
    ) -> bool {
        let within =
            |group: &EntityUID| group.entity_type() == kind || below(group.entity_type(), kind);
        match self {
            Self::Any => true,
            Self::Is(only) => only == kind,
            Self::Equal(uid) => uid.entity_type() == kind,
            Self::In(group) => within(group),
            Self::IsIn(only, group) => only == kind && within(group),
        }
    }

    /// Whether a party meets this scope: what Cedar would say, and as exactly.
    pub(crate) fn admits(&self, party: &Party<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Is(kind) => party.uid.entity_type() == kind,
            Self::Equal(uid) => party.uid == uid,
            Self::In(uid) => party.is_in(uid),
            Self::IsIn(kind, uid) => party.uid.entity_type() == kind && party.is_in(uid),
        }
    }
}

/// A principal or resource, with what is stored of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Party<'a> {
    pub(crate) uid: &'a EntityUID,
    pub(crate) stored: Option<&'a Entity>,
}

impl Party<'_> {
    fn is_in(&self, group: &EntityUID) -> bool {
        self.uid == group
            || self
                .stored
                .is_some_and(|stored| stored.is_descendant_of(group))
    }
}

/// The keys of one shelf that are in use, numbered: most keys of a request lead nowhere.
#[derive(Debug, Default)]
struct Keys {
    count: u32,
    any: Option<u32>,
    types: HashMap<EntityType, u32>,
    uids: HashMap<EntityUID, u32>,
}

impl Keys {
    fn number(&mut self, key: Key) -> u32 {
        let next = self.count;
        let number = match key {
            Key::Any => *self.any.get_or_insert(next),
            Key::Type(kind) => *self.types.entry(kind).or_insert(next),
            Key::Uid(uid) => *self.uids.entry(uid).or_insert(next),
        };
        self.count += u32::from(number == next);
        number
    }

    /// The numbers that a party's keys have here: anything, its type, itself, its ancestors.
    fn of(&self, party: &Party<'_>) -> impl Iterator<Item = u32> {
        let ancestors = party.stored.into_iter().flat_map(Entity::ancestors);
        self.any
            .into_iter()
            .chain(self.types.get(party.uid.entity_type()).copied())
            .chain(self.uids.get(party.uid).copied())
            .chain(ancestors.filter_map(|uid| self.uids.get(uid).copied()))
    }
}

/// Policies by their scope.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    any_action: Shelf,
    by_action: HashMap<EntityUID, Shelf>,
    scopes: Vec<(Scope, Scope)>,
}

/// Policies of one action, or of any.
#[derive(Debug, Default)]
struct Shelf {
    principals: Keys,
    resources: Keys,
    filed: HashMap<(u32, u32), Vec<usize>>,
}

impl Shelf {
    fn file(&mut self, principal: Key, resource: Key, policy: usize) {
        let keys = (
            self.principals.number(principal),
            self.resources.number(resource),
        );
        self.filed.entry(keys).or_default().push(policy);
    }

    /// As [`Self::find`], with one party open: whatever stands in its place.
    fn find_facing(&self, given: &Party<'_>, sought: Side, found: &mut Vec<usize>) {
        let keys = match sought {
            Side::Principal => &self.resources,
            Side::Resource => &self.principals,
        };
        let numbers: Vec<u32> = keys.of(given).collect();
        for ((principal, resource), policies) in &self.filed {
            let number = match sought {
                Side::Principal => resource,
                Side::Resource => principal,
            };
            if numbers.contains(number) {
                found.extend_from_slice(policies);
            }
        }
    }

    fn find(&self, principal: &Party<'_>, resource: &Party<'_>, found: &mut Vec<usize>) {
        let resources: Vec<u32> = self.resources.of(resource).collect();
        for principal in self.principals.of(principal) {
            for resource in &resources {
                if let Some(policies) = self.filed.get(&(principal, *resource)) {
                    found.extend_from_slice(policies);
                }
            }
        }
    }
}

impl Slices {
    /// Files policies, in their order. `members` gives the actions that an action group holds,
    /// itself among them.
    pub(crate) fn new<'a>(
        policies: impl Iterator<Item = &'a Policy>,
        members: impl Fn(&EntityUID) -> Vec<EntityUID>,
    ) -> Self {
        let mut slices = Self::default();
        for (position, policy) in policies.enumerate() {
            let principal = Scope::of(policy.principal_constraint().as_inner());
            let resource = Scope::of(policy.resource_constraint().as_inner());
            let keys = (principal.key(), resource.key());
            let named: Vec<EntityUID> = match policy.action_constraint() {
                ActionConstraint::Any => {
                    slices.any_action.file(keys.0, keys.1, position);
                    slices.scopes.push((principal, resource));
                    continue;
                }
                ActionConstraint::Eq(uid) => vec![(**uid).clone()],
                ActionConstraint::In(uids) => uids.iter().flat_map(|uid| members(uid)).collect(),
            };
            let mut filed: Vec<EntityUID> = Vec::new();
            for action in named {
                // Two groups may hold the same action; the policy is still one.
                if !filed.contains(&action) {
                    let shelf = slices.by_action.entry(action.clone()).or_default();
                    shelf.file(keys.0.clone(), keys.1.clone(), position);
                    filed.push(action);
                }
            }
            slices.scopes.push((principal, resource));
        }
        slices
    }

    /// The policies whose scope the other party and the action meet, each with what its scope
    /// says of the party that is sought.
    pub(crate) fn facing(
        &self,
        given: &Party<'_>,
        action: &EntityUID,
        sought: Side,
    ) -> impl Iterator<Item = (usize, &Scope)> {
        let mut found = Vec::new();
        let shelves = [Some(&self.any_action), self.by_action.get(action)];
        for shelf in shelves.into_iter().flatten() {
            shelf.find_facing(given, sought, &mut found);
        }
        found.sort_unstable();
        found.into_iter().filter_map(move |position| {
            let (principal, resource) = self.scopes.get(position)?;
            let (of_given, of_sought) = match sought {
                Side::Principal => (resource, principal),
                Side::Resource => (principal, resource),
            };
            of_given.admits(given).then_some((position, of_sought))
        })
    }

    /// What the scope of a policy says of principal and resource, by its position.
    pub(crate) fn scope(&self, policy: usize) -> Option<&(Scope, Scope)> {
        self.scopes.get(policy)
    }

    /// The policies whose scope this request meets, in the order in which they were filed.
    pub(crate) fn candidates(
        &self,
        principal: &Party<'_>,
        action: &EntityUID,
        resource: &Party<'_>,
    ) -> Vec<usize> {
        let mut found = Vec::new();
        self.any_action.find(principal, resource, &mut found);
        if let Some(shelf) = self.by_action.get(action) {
            shelf.find(principal, resource, &mut found);
        }
        // A key says where to look; the scope itself decides.
        found.retain(|position| {
            self.scopes
                .get(*position)
                .is_some_and(|(of_principal, of_resource)| {
                    of_principal.admits(principal) && of_resource.admits(resource)
                })
        });
        found.sort_unstable();
        found
    }
}
