//! Requests that no policy permits.

use std::collections::BTreeMap;

use cedar_policy_core::ast::Effect;

use super::Desk;
use super::conditions::Held;
use crate::load::at_action;
use crate::problem::{Problem, Severity};

/// What the engine asks of live sessions.
const CONTINUE: &str = "session.continue";

pub(super) fn check(desk: &mut Desk<'_>, held: &Held) {
    let mut permitted = vec![false; desk.kinds.len()];
    let policies = desk.policies.policies.iter().zip(held);
    for (_, kinds) in policies.filter(|(policy, _)| policy.effect == Effect::Permit) {
        for kind in kinds {
            if let Some(permitted) = permitted.get_mut(*kind) {
                *permitted = true;
            }
        }
    }
    let mut by_action: BTreeMap<String, (usize, Vec<String>)> = BTreeMap::new();
    for (kind, permitted) in desk.kinds.iter().zip(&permitted) {
        let (all, closed) = by_action.entry(kind.action.to_string()).or_default();
        *all += 1;
        if !permitted {
            closed.push(format!("{} on {}", kind.principal, kind.resource));
        }
    }
    let mut found = Vec::new();
    if desk.policies.knows_action(CONTINUE) && !desk.policies.may_permit(CONTINUE) {
        let message = format!("no policy is there that lets sessions go on (`{CONTINUE}`)");
        let help = format!(
            "the monitor ends none for that; write a `permit` with `action == \
             Action::\"{CONTINUE}\"`, or take the action out of the schema"
        );
        let problem = Problem::error("schema", message).of_kind("policy::no-session-goes-on");
        found.push((problem.with_help(help), Severity::Warning));
    }
    for (action, (all, closed)) in by_action {
        if closed.is_empty() {
            continue;
        }
        let whole = closed.len() == all;
        let message = if whole {
            format!("no policy permits {action} to anybody")
        } else {
            format!("no policy permits {action} to: {}", closed.join(", "))
        };
        let help = if whole {
            format!("write a `permit` with `action == {action}`, or take it out of the schema")
        } else {
            "that is denied, whatever else holds; nothing is to be done if it should be".to_owned()
        };
        let files = desk.files.values().copied();
        let mut actions = desk.schema.action_ids();
        let declared = actions.find(|known| known.name().to_string() == action);
        let problem = match declared {
            Some(declared) => at_action(files, declared, message),
            None => Problem::error("schema", message),
        };
        let problem = problem.of_kind("policy::nobody-may");
        let severity = if whole {
            Severity::Warning
        } else {
            Severity::Note
        };
        found.push((problem.with_help(help), severity));
    }
    for (problem, severity) in found {
        desk.note(problem, severity);
    }
}
