//! Thresholds that contradict one another: a forbid that stands in the shadow of another, which
//! forbids whatever it does, whatever the assurance. So a challenge from 60 says nothing beside
//! a second factor from 30.

use cedar_policy_core::ast::{Effect, Expr};
use domain::facts::AssuranceFacts;

use super::Desk;
use super::assurances::telling;
use super::conditions::Held;
use super::polarity;
use super::reason::Reasoner;
use super::thresholds::thresholds;
use super::world::{Typed, World};
use crate::load::Policy;
use crate::problem::{Problem, Severity};

/// Each of these is held against each other: more of them would take too long.
const COMPARED_MAX: usize = 100;

/// A forbid that looks at the score.
struct Rung<'a> {
    policy: &'a Policy,
    condition: &'a Expr,
    kinds: Vec<usize>,
}

pub(super) fn check(desk: &mut Desk<'_>, held: &Held) {
    let policies = desk.policies.policies.iter().zip(held);
    let mut rungs: Vec<Rung<'_>> = policies
        .filter(|(policy, kinds)| policy.effect == Effect::Forbid && !kinds.is_empty())
        .filter_map(|(policy, kinds)| {
            let condition = policy.condition.as_deref()?;
            (!thresholds(condition).is_empty()).then(|| Rung {
                policy,
                condition,
                kinds: kinds.clone(),
            })
        })
        .collect();
    if rungs.len() > COMPARED_MAX {
        let message = format!(
            "not decided whether some of the last of {} policies that look at the score are in \
             the shadow of another",
            rungs.len()
        );
        let problem = Problem::error("policies", message).of_kind("policy::not-decided");
        let help = format!("only the first {COMPARED_MAX} were held against each other");
        desk.note(problem.with_help(help), Severity::Note);
        rungs.truncate(COMPARED_MAX);
    }
    let mut shadowed: Vec<(usize, usize)> = Vec::new();
    for (position, rung) in rungs.iter().enumerate() {
        let by = rungs.iter().enumerate().position(|(other, by)| {
            // Of two that say the same, one stays.
            other != position && !shadowed.contains(&(other, position)) && covers(desk, by, rung)
        });
        shadowed.extend(by.map(|by| (position, by)));
    }
    let mut found = Vec::new();
    for (rung, by) in shadowed {
        if let (Some(rung), Some(by)) = (rungs.get(rung), rungs.get(by)) {
            found.push(in_shadow(desk, rung, by));
        }
    }
    for problem in found {
        desk.note(problem, Severity::Warning);
    }
}

fn in_shadow(desk: &Desk<'_>, rung: &Rung<'_>, by: &Rung<'_>) -> Problem {
    let (id, other) = (&rung.policy.told.id, &by.policy.told.id);
    let place = thresholds(rung.condition).first().and_then(|at| at.place);
    let line = |rung: &Rung<'_>| thresholds(rung.condition).first().map(|at| at.from);
    let message = format!(
        "policy `{id}` changes nothing: whatever it forbids, `{other}` forbids too, with any \
         assurance"
    );
    let stands = desk.problem(by.policy, "", None, "");
    let stands = match stands.place {
        Some((line, _)) => format!("{}:{line}", stands.file),
        None => stands.file,
    };
    let help = match (line(rung), line(by)) {
        (Some(own), Some(others)) if own > others => format!(
            "`{other}` ({stands}) begins at {others} already: let it begin above {own}, or take \
             one of the two out"
        ),
        _ => format!("take one of the two out, or tell them apart; the other is at {stands}"),
    };
    let problem = desk.problem(rung.policy, "policy::in-shadow", place, message);
    problem.with_help(help)
}

/// Whether one forbid holds wherever the other does.
fn covers(desk: &Desk<'_>, by: &Rung<'_>, rung: &Rung<'_>) -> bool {
    if !rung.kinds.iter().all(|kind| by.kinds.contains(kind)) {
        return false;
    }
    let mut ages = polarity::ages(by.condition);
    ages.extend(polarity::ages(rung.condition));
    let (points, all) = telling(&ages);
    let looks = [by, rung];
    let mut looks = looks.iter();
    let looks = looks.any(|rung| !polarity::parts(rung.condition).is_empty());
    let points: Vec<Option<AssuranceFacts>> = if looks {
        points.into_iter().map(Some).collect()
    } else {
        vec![None]
    };
    // Kinds that the one cannot tell apart, the other may.
    all && rung.kinds.iter().all(|kind| {
        let typed = desk.typed(rung.policy, *kind);
        let over = desk.typed(by.policy, *kind);
        let (Some(typed), Some(over)) = (typed, over) else {
            return false;
        };
        let mut reasoner = Reasoner::new(&desk.policies.annotated);
        points.iter().all(|point| {
            if let Some(point) = point {
                reasoner.assume(point.clone());
            }
            nothing_left(&mut reasoner, &typed, &over)
        })
    })
}

fn nothing_left(reasoner: &mut Reasoner<'_>, typed: &Typed, over: &Typed) -> bool {
    let holds = reasoner.part(typed, vec![World::default()]);
    let left = reasoner.part(over, holds.yes);
    left.no.is_empty() && !reasoner.clouded && !reasoner.is_tired()
}
