//! Numbers: what an expression can come to in a world, and what a comparison says of its parts.

use cedar_policy_core::ast::{BinaryOp, ExprKind, Literal, UnaryOp};
use cedar_policy_core::validator::types::Type;

use super::reason::Reasoner;
use super::world::{Known, Range, Typed, World};

impl Reasoner<'_> {
    /// The world with a number within these; None when it cannot be.
    pub(super) fn narrow(&mut self, expr: &Typed, within: Range, world: World) -> Option<World> {
        match expr.expr_kind() {
            ExprKind::BinaryApp { op, arg1, arg2 } => {
                let shifted = |by: i64, sign: i128| Range {
                    low: within.low - sign * i128::from(by),
                    high: within.high - sign * i128::from(by),
                };
                match (op, literal_long(arg1), literal_long(arg2)) {
                    (BinaryOp::Add, _, Some(by)) => self.narrow(arg1, shifted(by, 1), world),
                    (BinaryOp::Add, Some(by), _) => self.narrow(arg2, shifted(by, 1), world),
                    (BinaryOp::Sub, _, Some(by)) => self.narrow(arg1, shifted(by, -1), world),
                    _ => Some(self.kept(expr, within, world)),
                }
            }
            ExprKind::If { .. } | ExprKind::UnaryApp { .. } | ExprKind::Lit(_) => {
                Some(self.kept(expr, within, world))
            }
            _ => {
                let before = self.range(expr, &world);
                let after = before.and(within)?;
                if after == before {
                    return Some(world);
                }
                let term = self.terms.of(expr);
                Some(world.with(term, Known::Long(after)))
            }
        }
    }

    /// The world as it was, with a note when it should have become smaller.
    fn kept(&mut self, expr: &Typed, within: Range, world: World) -> World {
        let range = self.range(expr, &world);
        self.loose |= range.and(within) != Some(range);
        world
    }

    /// What numbers an expression can have in a world, overflow not counted.
    pub(super) fn range(&mut self, expr: &Typed, world: &World) -> Range {
        let range = match expr.expr_kind() {
            ExprKind::Lit(Literal::Long(number)) => Range::only(*number),
            ExprKind::UnaryApp {
                op: UnaryOp::Neg,
                arg,
            } => {
                let of = self.range(arg, world);
                Range {
                    low: -of.high,
                    high: -of.low,
                }
            }
            ExprKind::BinaryApp {
                op: op @ (BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul),
                arg1,
                arg2,
            } => {
                let result = self.result(*op, arg1, arg2, world);
                return result.and(Range::ALL).unwrap_or(Range::ALL);
            }
            ExprKind::If {
                then_expr,
                else_expr,
                ..
            } => {
                let then = self.range(then_expr, world);
                then.or(self.range(else_expr, world))
            }
            _ => {
                let term = self.terms.of(expr);
                match self.known(term, world) {
                    Some(Known::Long(range)) => range,
                    _ => Range::ALL,
                }
            }
        };
        range.and(Range::ALL).unwrap_or(Range::ALL)
    }

    /// What comes of arithmetic, were there no limit to a `Long`.
    pub(super) fn result(
        &mut self,
        op: BinaryOp,
        one: &Typed,
        other: &Typed,
        world: &World,
    ) -> Range {
        let (a, b) = (self.range(one, world), self.range(other, world));
        match op {
            BinaryOp::Add => Range {
                low: a.low + b.low,
                high: a.high + b.high,
            },
            BinaryOp::Sub => Range {
                low: a.low - b.high,
                high: a.high - b.low,
            },
            // Two numbers of 64 bits have a product of 127.
            _ => {
                let corners = [
                    a.low * b.low,
                    a.low * b.high,
                    a.high * b.low,
                    a.high * b.high,
                ];
                corners.into_iter().fold(
                    Range {
                        low: corners[0],
                        high: corners[0],
                    },
                    |range, corner| Range {
                        low: range.low.min(corner),
                        high: range.high.max(corner),
                    },
                )
            }
        }
    }
}

pub(super) fn literal_long(expr: &Typed) -> Option<i64> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::Long(number)) => Some(*number),
        _ => None,
    }
}

pub(super) fn is_long(expr: &Typed) -> bool {
    matches!(expr.data(), Some(Type::Long))
}
