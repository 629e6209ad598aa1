//! Conditions that can never hold, that always hold, and that can fail.

use std::collections::HashMap;

use cedar_policy_core::ast::{Effect, Expr, ExprKind, Var};
use cedar_policy_core::validator::ValidationMode;
use cedar_policy_core::validator::typecheck::{PolicyCheck, Typechecker};
use cedar_policy_core::validator::types::{EntityKind, RequestEnv, Type};
use smol_str::SmolStr;

use super::failures::Failure;
use super::reason::{Place, Reasoner, Seen, place_of};
use super::world::{Typed, World};
use super::{Desk, meant, ranges};
use crate::load::Policy;
use crate::problem::{Problem, Severity};
use crate::validate::NEVER_MATCHES;

/// For each policy, the kinds of requests (by position) for which it may hold.
pub(super) type Held = Vec<Vec<usize>>;

/// Kinds of requests that a policy cannot tell apart: one of them, and all of them.
pub(super) struct Alike {
    pub(super) one: usize,
    pub(super) all: Vec<usize>,
}

/// Checks every condition.
pub(super) fn check(desk: &mut Desk<'_>) -> Held {
    let policies = &desk.policies.policies;
    let mut held = Vec::with_capacity(policies.len());
    let mut found = Vec::new();
    for (position, policy) in policies.iter().enumerate() {
        let mut reasoner = Reasoner::new(&desk.policies.annotated);
        if let Some(condition) = &policy.condition {
            reasoner.watch(condition);
        }
        let mut may_hold = Vec::new();
        let kinds = desk.policies.kinds_of(position, policy, &desk.kinds);
        for alike in desk.alike(policy, &kinds) {
            let Some(typed) = desk.typed(policy, alike.one) else {
                may_hold.extend(alike.all);
                continue;
            };
            let parted = reasoner.part(&typed, vec![World::default()]);
            if !parted.yes.is_empty() {
                may_hold.extend(alike.all);
            }
        }
        if kinds.is_empty() {
            found.push(out_of_scope(desk, policy));
        } else if may_hold.is_empty() {
            found.push(never(desk, policy, &reasoner, &kinds));
        } else {
            found.extend(idle_parts(desk, policy, &reasoner, &kinds));
            found.extend(failures(desk, policy, &reasoner));
        }
        if reasoner.gave_up && !may_hold.is_empty() {
            let id = &policy.told.id;
            let message = format!(
                "not decided whether every part of policy `{id}` can hold: it branches too often"
            );
            let problem = desk.problem(policy, "policy::not-decided", None, message);
            let help = "split it into policies of one intent each";
            found.push((problem.with_help(help), Severity::Note));
        }
        held.push(may_hold);
    }
    for (problem, severity) in found {
        desk.note(problem, severity);
    }
    held
}

impl Desk<'_> {
    /// The kinds among these that a policy can tell apart: types, and the action and the type of
    /// its context where the condition looks at them.
    pub(super) fn alike(&self, policy: &Policy, kinds: &[usize]) -> Vec<Alike> {
        let condition = policy.condition.as_deref();
        let mentions = |wanted: Var| {
            let mut parts = condition.into_iter().flat_map(Expr::subexpressions);
            parts.any(|part| matches!(part.expr_kind(), ExprKind::Var(var) if *var == wanted))
        };
        let (by_action, by_context) = (mentions(Var::Action), mentions(Var::Context));
        let mut found: Vec<Alike> = Vec::new();
        for position in kinds {
            let Some(kind) = self.kinds.get(*position) else {
                continue;
            };
            let same = |other: &Alike| {
                self.kinds.get(other.one).is_some_and(|other| {
                    other.principal == kind.principal
                        && other.resource == kind.resource
                        && (!by_action || other.action == kind.action)
                        && (!by_context
                            || other.action == kind.action
                            || context_of(&other.env) == context_of(&kind.env))
                })
            };
            match found.iter_mut().find(|other| same(other)) {
                Some(alike) => alike.all.push(*position),
                None => found.push(Alike {
                    one: *position,
                    all: vec![*position],
                }),
            }
        }
        found
    }

    /// The whole of a policy, scope and condition, with its types for a kind of request.
    pub(super) fn typed(&self, policy: &Policy, kind: usize) -> Option<Typed> {
        let kind = self.kinds.get(kind)?;
        let checker = Typechecker::new(self.schema, ValidationMode::Strict);
        match checker.typecheck_by_single_request_env(policy.policy.template(), &kind.env) {
            PolicyCheck::Success(typed) | PolicyCheck::Irrelevant(_, typed) => Some(typed),
            PolicyCheck::Fail(_) => None,
        }
    }
}

fn context_of<'a>(env: &'a RequestEnv<'_>) -> Option<&'a Type> {
    match env {
        RequestEnv::DeclaredAction { context, .. } => Some(context),
        RequestEnv::UndeclaredAction => None,
    }
}

/// The span of the conditions of a policy: from the first word to the last.
pub(super) fn span(policy: &Policy) -> Option<(usize, usize)> {
    let condition = policy.condition.as_deref()?;
    let places = condition
        .subexpressions()
        .filter_map(|part| part.source_loc())
        .map(|loc| (loc.start(), loc.end()));
    places.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
}

/// A forbid that never holds protects nobody; a permit is at worst in the way.
const fn weight(policy: &Policy) -> Severity {
    match policy.effect {
        Effect::Forbid => Severity::Error,
        Effect::Permit => Severity::Warning,
    }
}

fn out_of_scope(desk: &Desk<'_>, policy: &Policy) -> (Problem, Severity) {
    let id = &policy.told.id;
    let message =
        format!("policy `{id}` never matches: no action of the schema is for what its scope says");
    let core = &policy.policy;
    let mut actions: HashMap<String, (Vec<String>, Vec<String>)> = HashMap::new();
    for kind in &desk.kinds {
        let named = core
            .action_constraint()
            .iter_euids()
            .any(|uid| uid == kind.action);
        if named {
            let of = actions.entry(kind.action.to_string()).or_default();
            of.0.push(kind.principal.to_string());
            of.1.push(kind.resource.to_string());
        }
    }
    let mut told: Vec<String> = actions
        .into_iter()
        .map(|(action, (mut principals, mut resources))| {
            for types in [&mut principals, &mut resources] {
                types.sort_unstable();
                types.dedup();
            }
            format!(
                "{action} is for principals of type {} and resources of type {}",
                principals.join(", "),
                resources.join(", ")
            )
        })
        .collect();
    told.sort_unstable();
    let help = if told.is_empty() {
        "declare an action in the schema with `appliesTo` these types, or name others".to_owned()
    } else {
        told.join("; ")
    };
    let problem = desk.problem(policy, NEVER_MATCHES, None, message);
    (problem.with_help(help), weight(policy))
}

/// The operands of a condition that did only one of two things, in the order of the file.
fn idle(policy: &Policy, reasoner: &Reasoner<'_>) -> Vec<(Place, Seen)> {
    let Some((start, end)) = span(policy) else {
        return Vec::new();
    };
    let mut idle: Vec<(Place, Seen)> = reasoner
        .seen
        .iter()
        .filter(|((offset, length), seen)| {
            *offset >= start && offset + length <= end && seen.holds != seen.fails
        })
        .map(|(place, seen)| (*place, *seen))
        .collect();
    // The longest first, where several begin at one place.
    idle.sort_by_key(|((offset, length), _)| (*offset, usize::MAX - length));
    idle
}

fn never(
    desk: &Desk<'_>,
    policy: &Policy,
    reasoner: &Reasoner<'_>,
    kinds: &[usize],
) -> (Problem, Severity) {
    let id = &policy.told.id;
    let idle = idle(policy, reasoner);
    let failing = idle.iter().filter(|(_, seen)| seen.fails);
    let culprit = failing.map(|(place, _)| *place).min_by_key(|place| place.1);
    let culprit = culprit.or_else(|| span(policy).map(|(start, end)| (start, end - start)));
    let message = match culprit {
        Some(place) => format!(
            "policy `{id}` never matches: `{}` cannot hold here",
            desk.text(policy, place)
        ),
        None => format!("policy `{id}` never matches"),
    };
    let help = culprit.and_then(|place| misspelt(desk, policy, place, kinds));
    let problem = desk.problem(policy, NEVER_MATCHES, culprit, message);
    let problem = problem.with_help(help.unwrap_or_else(|| {
        "hold it against what the rest of the policy demands, or take the policy out".to_owned()
    }));
    (problem, weight(policy))
}

/// Parts of a condition that never hold or always do, the outermost of each.
fn idle_parts(
    desk: &Desk<'_>,
    policy: &Policy,
    reasoner: &Reasoner<'_>,
    kinds: &[usize],
) -> Vec<(Problem, Severity)> {
    let mut found = Vec::new();
    let mut covered = 0;
    let idle = idle(policy, reasoner);
    for (place, seen) in &idle {
        let end = place.0 + place.1;
        // To ask twice whether something is there is no mistake.
        if end <= covered || (seen.guard && seen.holds) {
            continue;
        }
        covered = end;
        // What is wrong is the smallest part of it that never holds, if there is one.
        let inside = idle
            .iter()
            .filter(|(other, seen)| other.0 >= place.0 && other.0 + other.1 <= end && seen.fails);
        let culprit = inside.map(|(place, _)| *place).min_by_key(|place| place.1);
        let (code, message, place) = match culprit {
            Some(place) => (
                "policy::never-holds",
                format!("`{}` never holds here", desk.text(policy, place)),
                place,
            ),
            None => (
                "policy::always-holds",
                format!(
                    "`{}` always holds here, and so says nothing",
                    desk.text(policy, *place)
                ),
                *place,
            ),
        };
        let help = misspelt(desk, policy, place, kinds)
            .unwrap_or_else(|| "write what you mean, or leave this part out".to_owned());
        let problem = desk.problem(policy, code, Some(place), message);
        found.push((problem.with_help(help), Severity::Warning));
    }
    found
}

/// What somebody will have meant who asks for an attribute that the schema does not know, or
/// compares a word with a text that it never is.
fn misspelt(desk: &Desk<'_>, policy: &Policy, place: Place, kinds: &[usize]) -> Option<String> {
    let condition = policy.condition.as_deref()?;
    let here = |part: &&Expr| place_of(part) == Some(place);
    let mut parts = condition.subexpressions().filter(here);
    parts.find_map(|part| match part.expr_kind() {
        ExprKind::HasAttr { expr, attr } => unknown_attribute(desk, kinds, expr, attr),
        ExprKind::BinaryApp { arg1, arg2, .. } => {
            let (group, word) = word(arg1).or_else(|| word(arg2))?;
            let texts = ranges::texts(group, word)?;
            Some(format!(
                "`context.{group}.{word}` is one of {}",
                texts.join(", ")
            ))
        }
        _ => None,
    })
}

fn unknown_attribute(
    desk: &Desk<'_>,
    kinds: &[usize],
    of: &Expr,
    attr: &SmolStr,
) -> Option<String> {
    let path = of.to_string();
    let kinds = kinds.iter().filter_map(|kind| desk.kinds.get(*kind));
    let known: Vec<SmolStr> = kinds
        .flat_map(|kind| attributes(desk, &kind.env, of))
        .collect();
    if known.iter().any(|name| name == attr) {
        return None;
    }
    if let Some(meant) = meant(attr, known.iter().map(SmolStr::as_str)) {
        return Some(format!(
            "the schema knows no `{path}.{attr}`; write `{meant}`"
        ));
    }
    let group = word_of_context(of)?;
    Some(match ranges::words(group).find(|word| word == attr) {
        Some(word) => {
            format!("the engine has it, but the schema does not declare it: add `{word}?`")
        }
        None => format!("the schema knows no `{path}.{attr}`: declare it, or take this out"),
    })
}

/// The attributes that the schema gives to an expression for a kind of request.
fn attributes(desk: &Desk<'_>, env: &RequestEnv<'_>, of: &Expr) -> Vec<SmolStr> {
    let names = |kind: &Type| match kind {
        Type::Record { attrs, .. } => attrs.keys().cloned().collect(),
        Type::Entity(EntityKind::Entity(kinds)) => kinds
            .get_single_entity()
            .and_then(|kind| desk.schema.get_entity_type(kind))
            .map(|kind| kind.attributes().keys().cloned().collect())
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    match of.expr_kind() {
        ExprKind::Var(Var::Principal) => names(&env.principal_type()),
        ExprKind::Var(Var::Resource) => names(&env.resource_type()),
        ExprKind::Var(Var::Context) => names(&env.context_type()),
        ExprKind::GetAttr { expr, attr }
            if matches!(expr.expr_kind(), ExprKind::Var(Var::Context)) =>
        {
            match env.context_type() {
                Type::Record { attrs, .. } => attrs
                    .get_attr(attr)
                    .map(|attribute| names(&attribute.attr_type))
                    .unwrap_or_default(),
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

fn word_of_context(of: &Expr) -> Option<&str> {
    match of.expr_kind() {
        ExprKind::GetAttr { expr, attr }
            if matches!(expr.expr_kind(), ExprKind::Var(Var::Context)) =>
        {
            Some(attr)
        }
        _ => None,
    }
}

fn word(expr: &Expr) -> Option<(&str, &str)> {
    match expr.expr_kind() {
        ExprKind::GetAttr { expr, attr } => Some((word_of_context(expr)?, attr)),
        _ => None,
    }
}

fn failures(desk: &Desk<'_>, policy: &Policy, reasoner: &Reasoner<'_>) -> Vec<(Problem, Severity)> {
    let id = &policy.told.id;
    let told = |(place, failure): (&Place, &Failure)| {
        let text = desk.text(policy, *place);
        let (code, message, help, severity) = match failure {
            Failure::Overflow => (
                "policy::may-overflow",
                format!("policy `{id}` fails when `{text}` is more than a Long can hold"),
                "hold its parts between limits first: `… > 0 && … < 1000000 &&`".to_owned(),
                Severity::Warning,
            ),
            Failure::NotStored(kind, attr) => {
                let of = text.strip_suffix(&format!(".{attr}")).unwrap_or("…");
                let guard = format!("ask first `{of} has {attr} &&`");
                let help = if desk.policies.annotated.stored.contains(kind) {
                    guard
                } else {
                    format!(
                        "{guard}, or annotate {kind} with `@stored`, so that a subject or \
                         resource that is not stored is denied by itself"
                    )
                };
                (
                    "policy::may-not-be-stored",
                    format!(
                        "policy `{id}` reads `{text}`, which fails when that {kind} is not stored"
                    ),
                    help,
                    Severity::Warning,
                )
            }
            Failure::TooFar => (
                "policy::not-decided",
                format!(
                    "not decided whether policy `{id}` can fail: `{text}` does for moments too far away"
                ),
                "nothing is to be done where both are near now".to_owned(),
                Severity::Note,
            ),
        };
        let problem = desk.problem(policy, code, Some(*place), message);
        let problem =
            problem.with_help(format!("{help}; a policy that fails denies what it covers"));
        (problem, severity)
    };
    reasoner.failures.iter().map(told).collect()
}
