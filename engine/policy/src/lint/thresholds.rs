//! Thresholds of the score against `risk.levels` of the settings, which drive what is reported.

use cedar_policy_core::ast::{BinaryOp, Effect, Expr, ExprKind, Var};

use super::Desk;
use super::reason::{Place, place_of};
use crate::load::whole_number;
use crate::problem::{Problem, Severity};

/// A comparison of the score with a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Threshold {
    /// The number as it is written.
    pub(super) written: i64,
    /// The least score above the line that the comparison draws.
    pub(super) from: i64,
    pub(super) place: Option<Place>,
}

/// Policies that compare the score with something that is no level of the settings, and levels
/// that no policy compares with: one of the two is not what somebody thinks it is.
pub(super) fn check(desk: &mut Desk<'_>, levels: [u8; 3]) {
    let mut found = Vec::new();
    let mut compared = Vec::new();
    let is_level = |score: i64| levels.iter().any(|level| i64::from(*level) == score);
    for policy in &desk.policies.policies {
        let condition = policy.condition.as_deref();
        for threshold in condition.map(thresholds).unwrap_or_default() {
            compared.push(([threshold.from, threshold.written], policy.effect));
            if is_level(threshold.from) {
                continue;
            }
            let (id, written) = (&policy.told.id, threshold.written);
            let (message, help) = if is_level(written) {
                (
                    format!(
                        "policy `{id}` draws its line above {written}, and exactly {written} \
                         counts as above in `risk.levels`"
                    ),
                    format!("write `>= {written}`, or `< {written}`"),
                )
            } else {
                (
                    format!(
                        "policy `{id}` compares the score with {written}, which is none of \
                         `risk.levels` {levels:?}"
                    ),
                    "reported levels and session tiers will not follow it; write one of these, \
                     or set `risk.levels`"
                        .to_owned(),
                )
            };
            let code = "policy::threshold-differs";
            let problem = desk.problem(policy, code, threshold.place, message);
            found.push(problem.with_help(help));
        }
    }
    let ladder = compared.iter().any(|(_, effect)| *effect == Effect::Forbid);
    let missing: Vec<String> = levels
        .into_iter()
        .filter(|level| {
            let level = i64::from(*level);
            ladder && !compared.iter().any(|(scores, _)| scores.contains(&level))
        })
        .map(|level| level.to_string())
        .collect();
    if !missing.is_empty() {
        let message = format!(
            "no policy compares the score with {} of `risk.levels` {levels:?}",
            missing.join(", ")
        );
        found.push(
            Problem::error("risk.levels", message)
                .of_kind("policy::threshold-missing")
                .with_help("write a policy for it, or set `risk.levels` to what policies use"),
        );
    }
    for problem in found {
        desk.note(problem, Severity::Warning);
    }
}

/// The comparisons of `context.risk.score` with constants.
pub(super) fn thresholds(condition: &Expr) -> Vec<Threshold> {
    let parts = condition.subexpressions();
    let found = parts.filter_map(|part| {
        let ExprKind::BinaryApp { op, arg1, arg2 } = part.expr_kind() else {
            return None;
        };
        // `score >= 30` is `!(score < 30)`, and `score > 30` is `!(score <= 30)`.
        let (written, from) = match (op, is_score(arg1), is_score(arg2)) {
            (BinaryOp::Less, true, false) => {
                let number = whole_number(arg2)?;
                (number, number)
            }
            (BinaryOp::LessEq, true, false) => {
                let number = whole_number(arg2)?;
                (number, number.saturating_add(1))
            }
            (BinaryOp::Less, false, true) => {
                let number = whole_number(arg1)?;
                (number, number.saturating_add(1))
            }
            (BinaryOp::LessEq, false, true) => {
                let number = whole_number(arg1)?;
                (number, number)
            }
            _ => return None,
        };
        Some(Threshold {
            written,
            from,
            place: place_of(part),
        })
    });
    found.collect()
}

/// Whether an expression is `context.risk.score`.
fn is_score(expr: &Expr) -> bool {
    let ExprKind::GetAttr { expr: risk, attr } = expr.expr_kind() else {
        return false;
    };
    let ExprKind::GetAttr {
        expr: context,
        attr: group,
    } = risk.expr_kind()
    else {
        return false;
    };
    attr == "score" && group == "risk" && matches!(context.expr_kind(), ExprKind::Var(Var::Context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_drawn_where_the_least_score_above_it_is() {
        for (text, written, from) in [
            ("context.risk.score >= 30", 30, 30),
            ("context.risk.score > 30", 30, 31),
            ("context.risk.score < 60", 60, 60),
            ("context.risk.score <= 60", 60, 61),
            ("30 <= context.risk.score", 30, 30),
            ("30 < context.risk.score", 30, 31),
        ] {
            let condition: Expr = text.parse().unwrap();
            let found = thresholds(&condition);
            let found: Vec<_> = found.iter().map(|at| (at.written, at.from)).collect();
            assert_eq!(found, [(written, from)], "{text}");
        }
    }
}
