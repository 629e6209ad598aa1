//! One question to all policies: which permits hold, which forbids, which could not be told.

use std::sync::Arc;

use cedar_policy_core::ast::{self, Effect, EntityUID};
use cedar_policy_core::entities::{Dereference, Entities};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use domain::facts::AssuranceFacts;
use domain::{Cause, DecidingPolicy, Facts};

use crate::directory::{Directory, View};
use crate::ladder::Question;
use crate::load::{ActionPlan, Policies, Policy};
use crate::shape::ContextMap;
use crate::slice::Party;

/// What the policies say of one request under one assurance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Permits that hold.
    pub permits: Vec<Arc<DecidingPolicy>>,
    /// Forbids that hold.
    pub forbids: Vec<Arc<DecidingPolicy>>,
    /// Policies that could not be evaluated: `id: why`.
    pub errors: Vec<String>,
}

impl Verdict {
    /// A permit holds, no forbid does, and every policy could be evaluated.
    ///
    /// Cedar skips a policy that errors; to skip a `forbid` would be to allow, so any error is
    /// a no.
    #[must_use]
    pub fn allows(&self) -> bool {
        !self.permits.is_empty() && self.forbids.is_empty() && self.errors.is_empty()
    }

    fn note(&mut self, policy: &Policy) {
        let said = match policy.effect {
            Effect::Permit => &mut self.permits,
            Effect::Forbid => &mut self.forbids,
        };
        said.push(Arc::clone(&policy.told));
    }
}

/// Why a question could not be put to the policies at all, with words for the administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub cause: Cause,
    /// What was wrong, and with what.
    pub detail: String,
}

impl Refusal {
    fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            cause,
            detail: detail.into(),
        }
    }
}

/// A question in Cedar's form, to be asked once for each rung.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    policies: &'a Policies,
    plan: &'a ActionPlan,
    entities: View<'a>,
    principal: EntityUID,
    resource: EntityUID,
    candidates: Vec<usize>,
    context: Arc<ContextMap>,
}

impl<'a> Prepared<'a> {
    /// Names the parties, holds them against the schema, and builds the context.
    pub(crate) fn new(
        policies: &'a Policies,
        directory: &'a Directory,
        question: &Question<'_>,
    ) -> Result<Self, Refusal> {
        let request = question.request;
        let name = request.action.name.as_str();
        let plans = policies.plans(name);
        if plans.is_empty() {
            return Err(Refusal::new(
                Cause::UnknownAction,
                format!("the schema has no action `{name}`"),
            ));
        }
        let does_not_apply = || {
            Refusal::new(
                Cause::ActionDoesNotApply,
                format!(
                    "action `{name}` is not for subjects of type {} and resources of type {}",
                    request.subject.entity.kind, request.resource.entity.kind
                ),
            )
        };
        let principal = policies
            .uid_of(&request.subject.entity)
            .ok_or_else(does_not_apply)?;
        let resource = policies
            .uid_of(&request.resource.entity)
            .ok_or_else(does_not_apply)?;
        let plan = plans
            .iter()
            .find(|plan| plan.applies_to(&principal, &resource))
            .ok_or_else(does_not_apply)?;
        for (uid, cause) in [
            (&principal, Cause::UnknownSubject),
            (&resource, Cause::UnknownResource),
        ] {
            if policies.is_stored_type(uid.entity_type()) && !directory.knows(uid) {
                return Err(Refusal::new(cause, format!("no {uid} is stored")));
            }
        }
        let bad =
            |error: crate::value::BadValue| Refusal::new(Cause::BadAttribute, error.to_string());
        let parties = [
            (
                &principal,
                &request.subject.properties,
                "subject.properties",
            ),
            (
                &resource,
                &request.resource.properties,
                "resource.properties",
            ),
        ];
        let entities = directory
            .view(policies, &parties, &plan.action)
            .map_err(bad)?;
        let context = plan.context.build(request, question.facts).map_err(bad)?;
        let stored = entities.entities();
        let candidates = policies.slices.candidates(
            &Party {
                uid: &principal,
                stored: known(stored, &principal),
            },
            &plan.action,
            &Party {
                uid: &resource,
                stored: known(stored, &resource),
            },
        );
        let context = Arc::new(context);
        Ok(Self {
            policies,
            plan,
            entities,
            principal,
            resource,
            candidates,
            context,
        })
    }

    /// Whether another assurance could change the verdict.
    pub(crate) const fn sees_assurance(&self) -> bool {
        self.plan.context.sees_assurance()
    }

    /// Asks every policy that could have a say, with the assurance of these facts.
    pub(crate) fn evaluate(&mut self, assurance: &Facts) -> Verdict {
        // Nobody else holds the context between rungs, so nothing is copied.
        self.plan
            .context
            .set_assurance(Arc::make_mut(&mut self.context), assurance);
        let known = |uid: &EntityUID| ast::EntityUIDEntry::known(uid.clone(), None);
        // Unchecked, because `new` has checked the types and the shape has built the context.
        let request = ast::Request::new_unchecked(
            known(&self.principal),
            known(&self.plan.action),
            known(&self.resource),
            Some(ast::Context::Value(Arc::clone(&self.context))),
        );
        let evaluator = Evaluator::new(
            request,
            self.entities.entities(),
            Extensions::all_available(),
        );
        let mut verdict = Verdict::default();
        let candidates = self.candidates.iter();
        for policy in candidates.filter_map(|position| self.policies.policies.get(*position)) {
            let Some(condition) = &policy.condition else {
                verdict.note(policy);
                continue;
            };
            match evaluator.interpret(condition, policy.policy.env()) {
                Ok(ast::Value {
                    value: ast::ValueKind::Lit(ast::Literal::Bool(holds)),
                    ..
                }) => {
                    if holds {
                        verdict.note(policy);
                    }
                }
                Ok(_) => {
                    verdict
                        .errors
                        .push(format!("{}: its condition is no Bool", policy.told.id));
                }
                Err(error) => verdict.errors.push(format!("{}: {error}", policy.told.id)),
            }
        }
        verdict
    }
}

impl Policies {
    /// What the policies say of one question on its first rung, unfolded into permits, forbids
    /// and errors.
    ///
    /// # Errors
    /// When the question cannot be put to the policies at all.
    pub fn ask(&self, directory: &Directory, question: &Question<'_>) -> Result<Verdict, Refusal> {
        let mut prepared = Prepared::new(self, directory, question)?;
        let words = Facts {
            assurance: AssuranceFacts::of(&question.assurance, question.now),
            ..Facts::default()
        };
        Ok(prepared.evaluate(&words))
    }
}

fn known<'a>(entities: &'a Entities, uid: &EntityUID) -> Option<&'a ast::Entity> {
    match entities.entity(uid) {
        Dereference::Data(entity) => Some(entity),
        Dereference::NoSuchEntity | Dereference::Residual(_) => None,
    }
}
