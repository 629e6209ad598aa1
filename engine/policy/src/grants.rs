//! Permits that a caller's word can open: they read an attribute that stored entities lack, and
//! what is not stored is filled in from the `properties` of the request.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{
    Effect, EntityReference, EntityType, Expr, ExprKind, PrincipalOrResourceConstraint, Var,
};
use smol_str::SmolStr;

use crate::directory::Directory;
use crate::load::{Policies, Policy};

impl Directory {
    /// What permits read of `@stored` entities that some of them lack, each as a sentence that
    /// says what to do.
    #[must_use]
    pub fn open_grants(&self, policies: &Policies) -> Vec<String> {
        let mut told = Vec::new();
        let permits = policies.policies.iter();
        for policy in permits.filter(|policy| policy.effect == Effect::Permit) {
            let read: BTreeSet<(Var, SmolStr)> = policy
                .condition
                .iter()
                .flat_map(|condition| condition.subexpressions())
                .filter_map(party_attribute)
                .collect();
            for (party, attribute) in read {
                for kind in policies.filled_types(party, &attribute) {
                    if could_be(policy, party, kind) {
                        told.extend(self.lacking(&policy.told.id, party, &attribute, kind));
                    }
                }
            }
        }
        told
    }

    fn lacking(&self, id: &str, party: Var, attribute: &str, kind: &EntityType) -> Option<String> {
        let stored = || {
            self.entities()
                .filter(|entity| entity.uid().entity_type() == kind)
        };
        let lacking = stored()
            .filter(|entity| entity.get(attribute).is_none())
            .count();
        (lacking > 0).then(|| {
            format!(
                "warning: policy `{id}` permits by `{party}.{attribute}`, which {lacking} of {} \
                 stored {kind} entities lack: there the caller's `properties` say what it is. \
                 Store it, or annotate {kind} with `@stored(\"alone\")`, so that only what is \
                 stored counts",
                stored().count()
            )
        })
    }
}

/// The party and the attribute, if the expression reads one of the request's two.
fn party_attribute(expr: &Expr) -> Option<(Var, SmolStr)> {
    let ExprKind::GetAttr { expr, attr } = expr.expr_kind() else {
        return None;
    };
    match expr.expr_kind() {
        ExprKind::Var(party @ (Var::Principal | Var::Resource)) => Some((*party, attr.clone())),
        _ => None,
    }
}

/// Whether the scope of a policy leaves room for a party of this type.
fn could_be(policy: &Policy, party: Var, kind: &EntityType) -> bool {
    let principal = policy.policy.principal_constraint();
    let resource = policy.policy.resource_constraint();
    let scope = match party {
        Var::Principal => principal.as_inner(),
        _ => resource.as_inner(),
    };
    match scope {
        PrincipalOrResourceConstraint::Is(only) | PrincipalOrResourceConstraint::IsIn(only, _) => {
            **only == *kind
        }
        PrincipalOrResourceConstraint::Eq(EntityReference::EUID(uid)) => uid.entity_type() == kind,
        _ => true,
    }
}
