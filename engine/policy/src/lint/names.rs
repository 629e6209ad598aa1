//! Entities that policies name, and permits that a caller's word can open, against what is
//! stored.

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy_core::ast::{
    EntityReference, EntityType, EntityUID, Expr, ExprKind, Literal, PrincipalOrResourceConstraint,
};

use super::reason::{Place, place_of};
use super::{Desk, meant};
use crate::directory::Directory;
use crate::load::Policy;
use crate::problem::Severity;

pub(super) fn check(desk: &mut Desk<'_>, directory: &Directory) {
    let mut found = Vec::new();
    let mut stored: HashMap<&EntityType, BTreeSet<&str>> = HashMap::new();
    let mut known: HashSet<&EntityUID> = HashSet::new();
    for entity in directory
        .entities()
        .filter(|entity| !entity.uid().is_action())
    {
        // A group exists when somebody is in it, stored or not.
        for uid in entity.ancestors().chain([entity.uid()]) {
            known.insert(uid);
            let ids = stored.entry(uid.entity_type()).or_default();
            ids.insert(uid.eid().as_ref());
        }
    }
    for policy in &desk.policies.policies {
        for (uid, place) in named(policy) {
            // Where nothing of a type is stored, its entities live elsewhere.
            let Some(ids) = stored.get(uid.entity_type()) else {
                continue;
            };
            if uid.is_action() || known.contains(&uid) {
                continue;
            }
            let id = &policy.told.id;
            let message = format!("policy `{id}` names {uid}, which is not stored");
            let eid: &str = uid.eid().as_ref();
            let help = match meant(eid, ids.iter().copied()) {
                Some(meant) => format!("write {}::\"{meant}\"", uid.entity_type()),
                None => "store it, or name one that is stored".to_owned(),
            };
            let problem = desk.problem(policy, "policy::unknown-entity", place, message);
            found.push(problem.with_help(help));
        }
    }
    for grant in directory.open_grants(desk.policies) {
        if let Some(policy) = desk.policies.policies.get(grant.policy) {
            let problem = desk.problem(policy, "policy::open-grant", grant.place, grant.message);
            found.push(problem.with_help(grant.help));
        }
    }
    for problem in found {
        desk.note(problem, Severity::Warning);
    }
}

/// The entities that a policy names, each with its place if that is known.
fn named(policy: &Policy) -> Vec<(EntityUID, Option<Place>)> {
    let principal = policy.policy.principal_constraint();
    let resource = policy.policy.resource_constraint();
    let scope = [principal.as_inner(), resource.as_inner()];
    let of_scope = scope.into_iter().filter_map(|constraint| match constraint {
        PrincipalOrResourceConstraint::Eq(EntityReference::EUID(uid))
        | PrincipalOrResourceConstraint::In(EntityReference::EUID(uid))
        | PrincipalOrResourceConstraint::IsIn(_, EntityReference::EUID(uid)) => Some((
            (**uid).clone(),
            uid.loc().map(|loc| (loc.start(), loc.end() - loc.start())),
        )),
        _ => None,
    });
    let condition = policy.condition.as_deref();
    let parts = condition.into_iter().flat_map(Expr::subexpressions);
    let of_condition = parts.filter_map(|part| match part.expr_kind() {
        ExprKind::Lit(Literal::EntityUID(uid)) => Some(((**uid).clone(), place_of(part))),
        _ => None,
    });
    of_scope.chain(of_condition).collect()
}
