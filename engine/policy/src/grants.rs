//! Permits that a caller's word can open: they read an attribute that stored entities lack, and
//! what is not stored is filled in from the `properties` of the request.

use std::collections::BTreeMap;

use cedar_policy_core::ast::{
    Effect, EntityReference, EntityType, Expr, ExprKind, PrincipalOrResourceConstraint, Var,
};
use smol_str::SmolStr;

use crate::directory::Directory;
use crate::load::{Policies, Policy};

/// A permit that a caller's word can open.
#[derive(Clone, Debug)]
pub(crate) struct OpenGrant {
    /// The position of the policy.
    pub(crate) policy: usize,
    /// Where it reads the attribute: offset and length, bytes.
    pub(crate) place: Option<(usize, usize)>,
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Directory {
    /// What permits read of `@stored` entities that some of them lack, each once.
    pub(crate) fn open_grants(&self, policies: &Policies) -> Vec<OpenGrant> {
        let mut found = Vec::new();
        // Looked up once for an attribute of a type, however many permits read it.
        let mut lacking: BTreeMap<(EntityType, SmolStr), (usize, usize)> = BTreeMap::new();
        let permits = policies.policies.iter().enumerate();
        for (position, policy) in permits.filter(|(_, policy)| policy.effect == Effect::Permit) {
            let mut read = BTreeMap::new();
            let condition = policy.condition.iter();
            for part in condition.flat_map(|condition| condition.subexpressions()) {
                if let Some(pair) = party_attribute(part) {
                    let loc = part.source_loc();
                    let place = loc.map(|loc| (loc.start(), loc.end() - loc.start()));
                    read.entry(pair).or_insert(place);
                }
            }
            for ((party, attribute), place) in read {
                for kind in policies.filled_types(party, &attribute) {
                    if !could_be(policy, party, kind) {
                        continue;
                    }
                    let (lack, all) = *lacking
                        .entry((kind.clone(), attribute.clone()))
                        .or_insert_with(|| self.lacking(kind, &attribute));
                    if lack > 0 {
                        let id = &policy.told.id;
                        found.push(OpenGrant {
                            policy: position,
                            place,
                            message: format!(
                                "policy `{id}` permits by `{party}.{attribute}`, which {lack} of \
                                 {all} stored {kind} entities lack: there the caller's \
                                 `properties` say what it is"
                            ),
                            help: format!(
                                "store it, or annotate {kind} with `@stored(\"alone\")`, so that \
                                 only what is stored counts"
                            ),
                        });
                    }
                }
            }
        }
        found
    }

    /// How many stored entities of a type lack an attribute, and how many there are.
    fn lacking(&self, kind: &EntityType, attribute: &str) -> (usize, usize) {
        let stored = self
            .entities()
            .filter(|entity| entity.uid().entity_type() == kind);
        stored.fold((0, 0), |(lack, all), entity| {
            let lacks = usize::from(entity.get(attribute).is_none());
            (lack + lacks, all + 1)
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
