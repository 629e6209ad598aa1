//! Annotations: known ones, with values that mean something.

use cedar_policy_core::ast::Effect;

use super::{Desk, meant};
use crate::problem::Severity;

/// What Portreeve reads of a policy.
const KNOWN: [&str; 4] = ["alert", "id", "reason", "severity"];

/// What `@severity` can be.
const SEVERITIES: [&str; 3] = ["low", "medium", "high"];

pub(super) fn check(desk: &mut Desk<'_>) {
    for policy in &desk.policies.policies {
        let id = &policy.told.id;
        let mut reasoned = false;
        let mut found = Vec::new();
        for (key, annotation) in policy.policy.annotations() {
            let key: &str = key.as_ref();
            let value: &str = annotation.as_ref();
            let loc = annotation.loc.as_ref();
            let place = loc.map(|loc| (loc.start(), loc.end() - loc.start()));
            match key {
                "reason" => {
                    reasoned = !value.trim().is_empty();
                    if !reasoned {
                        let message = format!("policy `{id}` has an empty `@reason`");
                        let problem = desk.problem(policy, "policy::no-reason", place, message);
                        let help = "write a sentence for the person who is stopped: they read it";
                        found.push((problem.with_help(help), Severity::Warning));
                        reasoned = true;
                    }
                }
                "severity" if !SEVERITIES.contains(&value) => {
                    let message = format!("`@severity(\"{value}\")` of policy `{id}` is none");
                    let help = match meant(value, SEVERITIES) {
                        Some(meant) => format!("write `@severity(\"{meant}\")`"),
                        None => "write `low`, `medium` or `high`".to_owned(),
                    };
                    let problem = desk.problem(policy, "policy::unknown-severity", place, message);
                    found.push((problem.with_help(help), Severity::Error));
                }
                _ if KNOWN.contains(&key) => {}
                _ => {
                    let message = format!("`@{key}` of policy `{id}` means nothing to Portreeve");
                    let problem =
                        desk.problem(policy, "policy::unknown-annotation", place, message);
                    found.push(match meant(key, KNOWN) {
                        Some(meant) => (
                            problem.with_help(format!("write `@{meant}(…)`")),
                            Severity::Warning,
                        ),
                        None => (
                            problem.with_help("it is kept for other tools, and not read"),
                            Severity::Note,
                        ),
                    });
                }
            }
        }
        if policy.effect == Effect::Forbid && !reasoned {
            let message = format!("policy `{id}` forbids and has no `@reason`");
            let problem = desk.problem(policy, "policy::no-reason", None, message);
            let help = "say to the person who is stopped why: `@reason(\"…\")`";
            found.push((problem.with_help(help), Severity::Warning));
        }
        for (problem, severity) in found {
            desk.note(problem, severity);
        }
    }
}
