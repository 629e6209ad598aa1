//! Which kinds of requests the scopes of policies leave room for.
//!
//! A kind is an action with a type of principal and a type of resource, as the schema allows
//! them. The scope alone is looked at, as slicing does; what conditions leave of it is for
//! [`crate::lint`].

use std::collections::HashSet;
use std::sync::Arc;

use cedar_policy_core::ast::{ActionConstraint, Effect, EntityType, EntityUID};
use cedar_policy_core::validator::types::RequestEnv;
use cedar_policy_core::validator::{ValidationMode, ValidatorSchema};
use domain::DecidingPolicy;

use crate::directory::Directory;
use crate::load::{Policies, Policy, members};
use crate::slice::Party;

/// A kind of request that the schema allows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKind {
    /// The action, as Cedar writes it: `Action::"read"`.
    pub action: String,
    /// The type of the principal.
    pub principal: String,
    /// The type of the resource.
    pub resource: String,
}

/// What one policy could have a say in.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The policy.
    pub policy: Arc<DecidingPolicy>,
    /// Whether it permits; otherwise it forbids.
    pub permits: bool,
    /// The file that it stands in.
    pub file: Arc<str>,
    /// What its scope says of the principal, as it is written: `principal in Group::"staff"`.
    pub principal: String,
    /// What its scope says of the resource.
    pub resource: String,
    /// Whether it says nothing of the action.
    pub any_action: bool,
    /// Whether it has a condition besides its scope.
    pub conditional: bool,
    /// Positions among the kinds.
    pub kinds: Vec<usize>,
}

/// A kind of request in Cedar's types.
#[derive(Clone, Debug)]
pub(crate) struct Kind<'a> {
    pub(crate) principal: &'a EntityType,
    pub(crate) action: &'a EntityUID,
    pub(crate) resource: &'a EntityType,
    pub(crate) env: RequestEnv<'a>,
}

/// Every kind of request, by action, principal and resource.
pub(crate) fn kinds(schema: &ValidatorSchema) -> Vec<Kind<'_>> {
    let envs = schema.unlinked_request_envs(ValidationMode::Strict);
    let mut kinds: Vec<Kind<'_>> = envs
        .filter_map(|env| match &env {
            RequestEnv::DeclaredAction {
                principal,
                action,
                resource,
                ..
            } => Some(Kind {
                principal,
                action,
                resource,
                env,
            }),
            RequestEnv::UndeclaredAction => None,
        })
        .collect();
    kinds.sort_by_cached_key(|kind| {
        (
            kind.action.to_string(),
            kind.principal.to_string(),
            kind.resource.to_string(),
        )
    });
    kinds
}

impl Policies {
    /// The kinds of requests that the schema allows, and what each policy could have a say in,
    /// in the order of files.
    #[must_use]
    pub fn reach(&self) -> (Vec<RequestKind>, Vec<Reach>) {
        let schema: &ValidatorSchema = self.schema().as_ref();
        let kinds = kinds(schema);
        let reach = self.policies.iter().enumerate().map(|(position, policy)| {
            let core = &policy.policy;
            Reach {
                policy: Arc::clone(&policy.told),
                permits: policy.effect == Effect::Permit,
                file: Arc::clone(&policy.file),
                principal: core.principal_constraint().to_string(),
                resource: core.resource_constraint().to_string(),
                any_action: matches!(core.action_constraint(), ActionConstraint::Any),
                conditional: policy.condition.is_some(),
                kinds: self.kinds_of(position, policy, &kinds),
            }
        });
        let told = kinds.iter().map(|kind| RequestKind {
            action: kind.action.to_string(),
            principal: kind.principal.to_string(),
            resource: kind.resource.to_string(),
        });
        (told.collect(), reach.collect())
    }

    /// Whether the schema has this action, by its id, for these types; of the principal, any where
    /// none is named.
    #[must_use]
    pub fn has_kind(&self, action: &str, principal: Option<&str>, resource: &str) -> bool {
        let schema: &ValidatorSchema = self.schema().as_ref();
        kinds(schema).iter().any(|kind| {
            AsRef::<str>::as_ref(kind.action.eid()) == action
                && principal.is_none_or(|wanted| kind.principal.to_string() == wanted)
                && kind.resource.to_string() == resource
        })
    }

    /// Whether the scope of some `permit` leaves room for an action, by its id: one that names it, or
    /// is for all actions of everybody. One for all that a few may do, such as administrators, does
    /// not count. Where there is none, a denial says that nobody has thought of the action, and
    /// nothing about who asks.
    #[must_use]
    pub fn may_permit(&self, action: &str) -> bool {
        let schema: &ValidatorSchema = self.schema().as_ref();
        let mut kinds = kinds(schema);
        kinds.retain(|kind| AsRef::<str>::as_ref(kind.action.eid()) == action);
        let policies = self.policies.iter().enumerate();
        policies
            .filter(|(_, policy)| policy.effect == Effect::Permit)
            .filter(|(_, policy)| {
                let principal = policy.policy.principal_constraint().to_string();
                let is_for_few = principal.contains(" in ") || principal.contains("==");
                !(is_for_few && matches!(policy.policy.action_constraint(), ActionConstraint::Any))
            })
            .any(|(position, policy)| !self.kinds_of(position, policy, &kinds).is_empty())
    }

    /// For each policy, in the order of [`Self::reach`], whether its scope admits a principal, with
    /// the groups that it is stored in. None when the text names no entity, such as
    /// `User::"alice"`.
    #[must_use]
    pub fn open_to(&self, directory: &Directory, principal: &str) -> Option<Vec<bool>> {
        let uid: EntityUID = principal.parse().ok()?;
        let party = Party {
            uid: &uid,
            stored: directory.get(&uid),
        };
        let scopes = (0..self.policies.len()).map(|position| {
            let scope = self.slices.scope(position);
            scope.is_some_and(|(principal, _)| principal.admits(&party))
        });
        Some(scopes.collect())
    }

    /// The positions of the kinds of requests that the scope of a policy leaves room for.
    pub(crate) fn kinds_of(
        &self,
        position: usize,
        policy: &Policy,
        kinds: &[Kind<'_>],
    ) -> Vec<usize> {
        let schema: &ValidatorSchema = self.schema().as_ref();
        let below = |group: &EntityType, kind: &EntityType| {
            schema
                .get_entity_type(group)
                .is_some_and(|group| group.has_descendant_entity_type(kind))
        };
        let named: Option<HashSet<EntityUID>> = match policy.policy.action_constraint() {
            ActionConstraint::Any => None,
            ActionConstraint::Eq(uid) => Some([(**uid).clone()].into()),
            ActionConstraint::In(uids) => {
                Some(uids.iter().flat_map(|uid| members(schema, uid)).collect())
            }
        };
        let Some((principal, resource)) = self.slices.scope(position) else {
            return Vec::new();
        };
        let fits = |kind: &Kind<'_>| {
            named
                .as_ref()
                .is_none_or(|named| named.contains(kind.action))
                && principal.has_room_for(kind.principal, below)
                && resource.has_room_for(kind.resource, below)
        };
        let kinds = kinds.iter().enumerate();
        kinds
            .filter_map(|(position, kind)| fits(kind).then_some(position))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::lint;
    use crate::{Policies, SourceFile};

    #[test]
    fn what_lets_sessions_go_on_names_it_or_is_for_everybody_and_its_lack_is_warned_of() {
        let schema = r#"entity Group; entity User in [Group]; entity Session;
            action "session.continue", "other" appliesTo { principal: User, resource: Session };"#;
        let named =
            r#"permit (principal in Group::"a", action == Action::"session.continue", resource);"#;
        for (policies, may) in [
            (named, true),
            ("permit (principal, action, resource);", true),
            ("permit (principal is User, action, resource);", true),
            (
                r#"permit (principal in Group::"a", action, resource);"#,
                false,
            ),
            (
                r#"permit (principal, action == Action::"other", resource);"#,
                false,
            ),
            ("forbid (principal, action, resource);", false),
        ] {
            let files = [("a.cedarschema", schema), ("a.cedar", policies)];
            let files = files.map(|(name, text)| SourceFile::new(name, text));
            let loaded = Policies::load(&files).unwrap();
            assert_eq!(loaded.may_permit("session.continue"), may, "{policies}");
            let findings = lint::check(&files, None, None).findings.0;
            let is_warned = findings
                .iter()
                .any(|finding| finding.code == "policy::no-session-goes-on");
            assert_eq!(is_warned, !may, "{policies}: {findings:?}");
        }
    }
}
