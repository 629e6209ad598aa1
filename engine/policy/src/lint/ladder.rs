//! A ladder that turns round: more assurance must never turn an allow into a deny.
//!
//! What the form of a condition does not tell ([`super::polarity`]) is tried with every assurance
//! that it can tell apart, the rest of the request being the same.

use cedar_policy_core::ast::Effect;
use domain::facts::AssuranceFacts;

use super::Desk;
use super::assurances::{in_words, is_more, telling};
use super::conditions::Held;
use super::polarity::{self, Way};
use super::reason::{Place, Reasoner, mentions_assurance};
use super::world::{Term, Terms, World};
use crate::load::Policy;
use crate::problem::{Problem, Severity};

/// How a policy turns round.
enum Turned {
    /// It does not.
    Never,
    /// With less and with more, the rest of the request being the same.
    Between(Box<(AssuranceFacts, AssuranceFacts)>),
    NotDecided,
}

pub(super) fn check(desk: &mut Desk<'_>, held: &Held) {
    let mut found = Vec::new();
    for (policy, kinds) in desk.policies.policies.iter().zip(held) {
        let Some(condition) = policy.condition.as_deref() else {
            continue;
        };
        if kinds.is_empty() || !mentions_assurance(condition) {
            continue;
        }
        let right = match policy.effect {
            Effect::Permit => Way::Up,
            Effect::Forbid => Way::Down,
        };
        let wrong: Vec<Option<Place>> = polarity::parts(condition)
            .into_iter()
            .filter(|(way, _)| *way != right)
            .map(|(_, place)| place)
            .collect();
        let Some(first) = wrong.first() else {
            continue;
        };
        found.extend(match turns(desk, policy, kinds) {
            Turned::Never => None,
            Turned::Between(pair) => Some(turned(desk, policy, *first, &pair.0, &pair.1)),
            Turned::NotDecided => Some(not_decided(desk, policy, *first)),
        });
    }
    for (problem, severity) in found {
        desk.note(problem, severity);
    }
}

fn turned(
    desk: &Desk<'_>,
    policy: &Policy,
    place: Option<Place>,
    less: &AssuranceFacts,
    more: &AssuranceFacts,
) -> (Problem, Severity) {
    let id = &policy.told.id;
    let (less, more) = (in_words(less), in_words(more));
    let (message, help, severity) = match policy.effect {
        Effect::Forbid => (
            format!(
                "policy `{id}` forbids with more assurance what it lets pass with less: with \
                 {more}, and not with {less}"
            ),
            "assurance belongs into `unless`, as what is enough: `unless { context.assurance.level \
             >= 2 }`",
            Severity::Error,
        ),
        Effect::Permit => (
            format!(
                "policy `{id}` permits with less assurance what it does not with more: with \
                 {less}, and not with {more}"
            ),
            "ask for at least so much: `context.assurance.level >= 2`, `…_age_seconds <= 900`; or \
             leave it out",
            // Another permit may hold where this one ceases to.
            Severity::Warning,
        ),
    };
    let problem = desk.problem(policy, "policy::ladder-turns-round", place, message);
    (problem.with_help(help), severity)
}

fn not_decided(desk: &Desk<'_>, policy: &Policy, place: Option<Place>) -> (Problem, Severity) {
    let id = &policy.told.id;
    let message = format!(
        "not decided whether more assurance can make policy `{id}` turn an allow into a deny"
    );
    let problem = desk.problem(policy, "policy::not-decided", place, message);
    let help = "compare `level` and the ages with numbers, each by itself";
    (problem.with_help(help), Severity::Note)
}

fn turns(desk: &Desk<'_>, policy: &Policy, kinds: &[usize]) -> Turned {
    let Some(condition) = policy.condition.as_deref() else {
        return Turned::Never;
    };
    let (points, all) = telling(&polarity::ages(condition));
    let mut decided = all;
    for alike in desk.alike(policy, kinds) {
        let Some(typed) = desk.typed(policy, alike.one) else {
            decided = false;
            continue;
        };
        let mut reasoner = Reasoner::new(&desk.policies.annotated);
        for less in &points {
            reasoner.assume(less.clone());
            let parted = reasoner.part(&typed, vec![World::default()]);
            let open = match policy.effect {
                Effect::Permit => parted.yes,
                Effect::Forbid => parted.no,
            };
            if open.is_empty() {
                continue;
            }
            for more in points.iter().filter(|more| is_more(more, less)) {
                if reasoner.is_tired() {
                    return Turned::NotDecided;
                }
                reasoner.assume(more.clone());
                let parted = reasoner.part(&typed, open.clone());
                let closed = match policy.effect {
                    Effect::Permit => parted.no,
                    Effect::Forbid => parted.yes,
                };
                let exists = |world: &World| surely_exists(&reasoner.terms, world);
                if closed.is_empty() {
                    continue;
                }
                let exact = !reasoner.clouded && !reasoner.gave_up && !reasoner.loose;
                if exact && closed.iter().any(exists) {
                    return Turned::Between(Box::new((less.clone(), more.clone())));
                }
                decided = false;
            }
        }
        decided &= !reasoner.clouded;
    }
    if decided {
        Turned::Never
    } else {
        Turned::NotDecided
    }
}

/// Whether a request like this can be: its facts are about attributes and groups, each of which
/// can be as it likes.
fn surely_exists(terms: &Terms, world: &World) -> bool {
    world.terms().all(|term| match terms.get(term) {
        // The level follows from the score.
        Some(Term::Attribute(..)) if terms.word(term) == Some(("risk", "level")) => false,
        Some(Term::Var(_) | Term::Attribute(..)) => terms.is_path(term),
        Some(Term::Has(of, _) | Term::Member(of, _)) => terms.is_path(*of),
        Some(Term::Less(..) | Term::Equal(..) | Term::Other(_)) | None => false,
    })
}
