//! Which way a condition goes when the assurance grows: by its form alone.
//!
//! More assurance is a higher level, a younger proof, a proof where there was none.

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, UnaryOp, Var};

use super::reason::{ASSURANCE, Place, mentions_assurance, place_of};

/// Which way something goes when the assurance grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It stays.
    Neither,
    /// A number grows; a condition may come to hold.
    Up,
    /// A number shrinks; a condition may cease to hold.
    Down,
    /// Not told by the form.
    Either,
}

impl Way {
    const fn turned(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
            same => same,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Neither, way) | (way, Self::Neither) => way,
            (one, other) if one == other => one,
            _ => Self::Either,
        }
    }
}

/// The parts of a condition that look at the assurance: which way each moves the whole, and where
/// it stands.
pub(super) fn parts(condition: &Expr) -> Vec<(Way, Option<Place>)> {
    let mut found = Vec::new();
    walk(condition, false, &mut found);
    found
}

fn walk(expr: &Expr, turned: bool, found: &mut Vec<(Way, Option<Place>)>) {
    match expr.expr_kind() {
        ExprKind::And { left, right } | ExprKind::Or { left, right } => {
            walk(left, turned, found);
            walk(right, turned, found);
        }
        ExprKind::UnaryApp {
            op: UnaryOp::Not,
            arg,
        } => walk(arg, !turned, found),
        ExprKind::If {
            test_expr,
            then_expr,
            else_expr,
        } => {
            // `if t then a else false` is `t && a`, and so on; otherwise the test moves the
            // whole both ways.
            match (truth(then_expr), truth(else_expr)) {
                (Some(true), _) | (_, Some(false)) => walk(test_expr, turned, found),
                (Some(false), _) | (_, Some(true)) => walk(test_expr, !turned, found),
                (None, None) if mentions_assurance(test_expr) => {
                    found.push((Way::Either, place_of(test_expr)));
                }
                (None, None) => {}
            }
            walk(then_expr, turned, found);
            walk(else_expr, turned, found);
        }
        _ => {
            let way = of_atom(expr);
            if way != Way::Neither {
                found.push((if turned { way.turned() } else { way }, place_of(expr)));
            }
        }
    }
}

fn of_atom(expr: &Expr) -> Way {
    match expr.expr_kind() {
        ExprKind::BinaryApp {
            op: BinaryOp::Less | BinaryOp::LessEq,
            arg1,
            arg2,
        } => of_number(arg1).turned().and(of_number(arg2)),
        ExprKind::HasAttr { expr, .. } if is_assurance(expr) => Way::Up,
        _ if mentions_assurance(expr) => Way::Either,
        _ => Way::Neither,
    }
}

fn of_number(expr: &Expr) -> Way {
    match expr.expr_kind() {
        ExprKind::GetAttr { expr, attr } if is_assurance(expr) => match attr.as_str() {
            "level" => Way::Up,
            "age_seconds" | "challenge_age_seconds" | "mfa_age_seconds" => Way::Down,
            _ => Way::Either,
        },
        ExprKind::BinaryApp { op, arg1, arg2 } => match (op, number(arg1), number(arg2)) {
            (BinaryOp::Add, ..) => of_number(arg1).and(of_number(arg2)),
            (BinaryOp::Sub, ..) => of_number(arg1).and(of_number(arg2).turned()),
            (BinaryOp::Mul, Some(by), _) => times(of_number(arg2), by),
            (BinaryOp::Mul, _, Some(by)) => times(of_number(arg1), by),
            _ if mentions_assurance(expr) => Way::Either,
            _ => Way::Neither,
        },
        ExprKind::UnaryApp {
            op: UnaryOp::Neg,
            arg,
        } => of_number(arg).turned(),
        _ if mentions_assurance(expr) => Way::Either,
        _ => Way::Neither,
    }
}

const fn times(way: Way, by: i64) -> Way {
    match by {
        0 => Way::Neither,
        1.. => way,
        _ => way.turned(),
    }
}

fn is_assurance(expr: &Expr) -> bool {
    matches!(expr.expr_kind(), ExprKind::GetAttr { expr, attr }
        if attr == ASSURANCE && matches!(expr.expr_kind(), ExprKind::Var(Var::Context)))
}

fn number(expr: &Expr) -> Option<i64> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::Long(number)) => Some(*number),
        _ => None,
    }
}

fn truth(expr: &Expr) -> Option<bool> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::Bool(truth)) => Some(*truth),
        _ => None,
    }
}

/// The whole numbers that a condition holds ages of proofs against.
pub(super) fn ages(condition: &Expr) -> Vec<i64> {
    let parts = condition.subexpressions();
    let compared = parts.filter_map(|part| match part.expr_kind() {
        ExprKind::BinaryApp { arg1, arg2, .. } if mentions_assurance(part) => {
            number(arg1).or_else(|| number(arg2))
        }
        _ => None,
    });
    compared.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(text: &str) -> Way {
        let condition: Expr = text.parse().unwrap();
        let parts = parts(&condition);
        parts
            .into_iter()
            .fold(Way::Neither, |whole, (way, _)| whole.and(way))
    }

    #[test]
    fn the_form_tells_the_way() {
        for (text, wanted) in [
            ("context.risk.score >= 30", Way::Neither),
            ("context.assurance.level >= 2", Way::Up),
            ("context.assurance.level < 2", Way::Down),
            ("3 > context.assurance.level", Way::Down),
            ("context.assurance.age_seconds <= 900", Way::Up),
            ("!(context.assurance.age_seconds <= 900)", Way::Down),
            ("900 + 60 > context.assurance.age_seconds", Way::Up),
            ("0 - context.assurance.level > -2", Way::Down),
            ("-1 * context.assurance.level < -2", Way::Up),
            (
                "context.assurance has mfa_age_seconds && context.assurance.mfa_age_seconds < 60",
                Way::Up,
            ),
            (
                "if context.assurance has mfa_age_seconds then true else context.risk.score < 30",
                Way::Up,
            ),
            (
                "if context.assurance.level > 1 then context.risk.score < 9 else context.risk.score < 30",
                Way::Either,
            ),
            ("context.assurance.level == 2", Way::Either),
            (
                "context.assurance.level > 1 && context.assurance.level < 3",
                Way::Either,
            ),
            ("[context.assurance.level].contains(2)", Way::Either),
            ("context has assurance", Way::Either),
        ] {
            assert_eq!(way(text), wanted, "{text}");
        }
    }
}
