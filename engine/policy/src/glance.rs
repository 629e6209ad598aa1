//! What the policies can tell of a question at all: two that look the same have the same answer.
//!
//! Whoever asks the same about a million sessions again and again need not climb for those of
//! which nothing has changed that a policy could see. That a score went from 12 to 14 is nothing,
//! where policies only ask whether it is 30 or more.

use std::hash::{Hash as _, Hasher};

use domain::Facts;
use domain::facts::AssuranceFacts;

use crate::ladder::Question;
use crate::load::Policies;

impl Policies {
    /// Puts everything into a hash that the policies, their own revision aside, can tell of a
    /// question: with the same policies and the same directory, questions that come to the same
    /// have the same climb, but for collisions. False when the question cannot be put to them.
    ///
    /// A word that changes with each moment, such as `context.time.now`, makes each question look new
    /// where a policy mentions it other than to compare it with numbers.
    pub fn glance(&self, question: &Question<'_>, hash: &mut impl Hasher) -> bool {
        let request = question.request;
        let (principal, resource) = (&request.subject.entity, &request.resource.entity);
        let (Some(subject), Some(object)) = (self.uid_of(principal), self.uid_of(resource)) else {
            return false;
        };
        let plans = self.plans(request.action.name.as_str());
        let Some(plan) = plans.iter().find(|plan| plan.applies_to(&subject, &object)) else {
            return false;
        };
        for party in [&request.subject, &request.resource] {
            party.entity.kind.as_str().hash(hash);
            party.entity.id.as_str().hash(hash);
            if !party.properties.is_empty() {
                format!("{:?}", party.properties).hash(hash);
            }
        }
        request.action.name.as_str().hash(hash);
        question.interactive.hash(hash);
        // Where the ladder begins.
        question.facts.session.required_level.hash(hash);
        let assurance = Facts {
            assurance: AssuranceFacts::of(&question.assurance, question.now),
            ..Facts::default()
        };
        plan.context
            .glance(request, (question.facts, &assurance), hash);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::hash::DefaultHasher;

    use domain::facts::RiskFacts;
    use domain::{
        AccessRequest, Action, Assurance, EntityRef, Level, Name, Party, RequestContext, Rung,
        Timestamp,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{Directory, SourceFile};

    const SCHEMA: &str = r"
        entity User; entity Session;
        type Seen = {
            risk: {score: Long},
            signals: {tor?: Bool},
            assurance: {level: Long, age_seconds: Long, mfa_age_seconds?: Long},
            session: {age_seconds?: Long},
        };
        action go appliesTo { principal: User, resource: Session, context: Seen };
    ";
    const POLICIES: &str = r"
        permit(principal, action, resource);
        forbid(principal, action, resource) when { context.risk.score >= 30 }
        unless { context.assurance has mfa_age_seconds && context.assurance.mfa_age_seconds <= 60 };
        forbid(principal, action, resource) when { context.signals has tor && context.signals.tor };
        forbid(principal, action, resource)
        when { context.session has age_seconds && context.session.age_seconds > 3600 };
    ";

    fn request() -> AccessRequest {
        let party = |kind: &str| Party {
            entity: EntityRef::new(kind, "1").unwrap(),
            properties: Default::default(),
        };
        AccessRequest {
            subject: party("User"),
            action: Action {
                name: Name::new("go").unwrap(),
                properties: Default::default(),
            },
            resource: party("Session"),
            context: RequestContext::default(),
            result: None,
        }
    }

    prop_compose! {
        fn world()(
            score in 0..=100_i64, tor in any::<Option<bool>>(), age in 3590..3610_i64,
            mfa in prop::option::of(0..120_i64),
        ) -> (Facts, Assurance) {
            let mut facts = Facts {
                risk: RiskFacts { score: Some(score), ..RiskFacts::default() },
                ..Facts::default()
            };
            facts.signals.tor = tor;
            facts.session.age_seconds = Some(age);
            let now = Timestamp::from_seconds(1_000_000);
            let assurance = mfa.map(|age| Assurance::of(Level::Mfa, Some(now.plus_seconds(-age))));
            (facts, assurance.unwrap_or_default())
        }
    }

    proptest! {
        #[test]
        fn what_looks_the_same_is_answered_the_same(one in world(), other in world()) {
            let files = [
                SourceFile::new("a.cedarschema", SCHEMA),
                SourceFile::new("a.cedar", POLICIES),
            ];
            let policies = Policies::load(&files).unwrap();
            let directory = Directory::load(&Directory::nothing(), &policies).unwrap();
            let request = request();
            let ask = |(facts, assurance): &(Facts, Assurance)| -> (u64, Rung) {
                let question = Question {
                    request: &request,
                    facts,
                    assurance: *assurance,
                    now: Timestamp::from_seconds(1_000_000),
                    interactive: true,
                };
                let mut hash = DefaultHasher::new();
                assert!(policies.glance(&question, &mut hash));
                (hash.finish(), policies.climb(&directory, &question).rung)
            };
            let (one, other) = (ask(&one), ask(&other));
            prop_assert!(one.0 != other.0 || one.1 == other.1, "{one:?} {other:?}");
        }
    }

    #[test]
    fn only_what_policies_can_tell_is_seen() {
        let files = [
            SourceFile::new("a.cedarschema", SCHEMA),
            SourceFile::new("a.cedar", POLICIES),
        ];
        let policies = Policies::load(&files).unwrap();
        let request = request();
        let look = |score: i64, age: i64, mfa_age: i64| {
            let mut facts = Facts::default();
            facts.risk.score = Some(score);
            facts.session.age_seconds = Some(age);
            let now = Timestamp::from_seconds(1_000_000);
            let question = Question {
                request: &request,
                facts: &facts,
                assurance: Assurance::of(Level::Mfa, Some(now.plus_seconds(-mfa_age))),
                now,
                interactive: true,
            };
            let mut hash = DefaultHasher::new();
            assert!(policies.glance(&question, &mut hash));
            hash.finish()
        };
        let usual = look(12, 100, 61);
        assert_eq!(look(29, 3599, 5000), usual);
        for other in [look(30, 100, 61), look(12, 3601, 61), look(12, 100, 60)] {
            assert_ne!(other, usual);
        }
    }
}
