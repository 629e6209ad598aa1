//! What becomes of a world when one comparison holds, and when it does not.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{BinaryOp, ExprKind, Literal, PatternElem};
use cedar_policy_core::validator::types::Type;

use super::numbers::{is_long, literal_long};
use super::reason::{Reasoner, mentions_assurance};
use super::world::{Known, Range, Term, TermId, Typed, World};

impl Reasoner<'_> {
    /// What becomes of a world when this holds, and when it does not.
    pub(super) fn atom(&mut self, expr: &Typed, world: &World) -> (Option<World>, Option<World>) {
        match expr.expr_kind() {
            ExprKind::Lit(Literal::Bool(true)) => (Some(world.clone()), None),
            ExprKind::Lit(Literal::Bool(false)) => (None, Some(world.clone())),
            ExprKind::BinaryApp { op, arg1, arg2 } => match op {
                BinaryOp::Less if is_long(arg1) => self.less(arg1, arg2, world),
                BinaryOp::LessEq if is_long(arg1) => {
                    let (greater, not) = self.less(arg2, arg1, world);
                    (not, greater)
                }
                BinaryOp::Eq => self.equal(arg1, arg2, world),
                BinaryOp::Contains => match literals(arg1) {
                    Some(literals) => {
                        let term = self.terms.of(arg2);
                        self.among(term, &literals, world)
                    }
                    None => self.yes_or_no(expr, world),
                },
                _ => self.yes_or_no(expr, world),
            },
            ExprKind::Like { pattern, .. }
                if pattern
                    .iter()
                    .all(|part| matches!(part, PatternElem::Wildcard))
                    && !pattern.is_empty() =>
            {
                (Some(world.clone()), None)
            }
            ExprKind::ExtHasAttr { expr, attrs } => {
                let mut of = self.terms.of(expr);
                let mut there = world.clone();
                let mut sure = true;
                for attr in attrs {
                    let has = self.terms.number(Term::Has(of, attr.clone()));
                    match self.known(has, &there) {
                        Some(Known::Bool(false)) => return (None, Some(world.clone())),
                        Some(Known::Bool(true)) => {}
                        _ => sure = false,
                    }
                    there = there.with(has, Known::Bool(true));
                    of = self.terms.number(Term::Attribute(of, attr.clone()));
                }
                self.loose |= !sure && attrs.len() > 1;
                (Some(there), (!sure).then(|| world.clone()))
            }
            _ => self.yes_or_no(expr, world),
        }
    }

    fn yes_or_no(&mut self, expr: &Typed, world: &World) -> (Option<World>, Option<World>) {
        let term = self.terms.of(expr);
        let there = self.known(term, world);
        if there.is_none() && self.assurance.is_some() && mentions_assurance(expr) {
            self.clouded = true;
        }
        self.choose(term, world)
    }

    pub(super) fn choose(&self, term: TermId, world: &World) -> (Option<World>, Option<World>) {
        match self.known(term, world) {
            Some(Known::Bool(true)) => (Some(world.clone()), None),
            Some(Known::Bool(false)) => (None, Some(world.clone())),
            _ => (
                Some(world.with(term, Known::Bool(true))),
                Some(world.with(term, Known::Bool(false))),
            ),
        }
    }

    fn less(
        &mut self,
        one: &Typed,
        other: &Typed,
        world: &World,
    ) -> (Option<World>, Option<World>) {
        let (a, b) = (self.range(one, world), self.range(other, world));
        if a.high < b.low {
            return (Some(world.clone()), None);
        }
        if a.low >= b.high {
            return (None, Some(world.clone()));
        }
        let pair = (self.terms.of(one), self.terms.of(other));
        let (yes, no) = if literal_long(one).is_some() || literal_long(other).is_some() {
            (Some(world.clone()), Some(world.clone()))
        } else {
            let less = self.terms.number(Term::Less(pair.0, pair.1));
            self.choose(less, world)
        };
        let below = |limit: i128| Range {
            low: Range::ALL.low,
            high: limit,
        };
        let above = |limit: i128| Range {
            low: limit,
            high: Range::ALL.high,
        };
        let yes = yes
            .and_then(|world| self.narrow(one, below(b.high - 1), world))
            .and_then(|world| self.narrow(other, above(a.low + 1), world));
        let no = no
            .and_then(|world| self.narrow(one, above(b.low), world))
            .and_then(|world| self.narrow(other, below(a.high), world));
        (yes, no)
    }

    fn equal(
        &mut self,
        one: &Typed,
        other: &Typed,
        world: &World,
    ) -> (Option<World>, Option<World>) {
        for (side, literal) in [(one, other), (other, one)] {
            match literal.expr_kind() {
                ExprKind::Lit(Literal::Bool(wanted)) if is_bool(side) => {
                    let parted = self.part(side, vec![world.clone()]);
                    self.loose |= parted.yes.len() > 1 || parted.no.len() > 1;
                    let mut both = [parted.yes, parted.no]
                        .map(|worlds| worlds.into_iter().reduce(|one, other| one.or(&other)));
                    if !wanted {
                        both.reverse();
                    }
                    let [yes, no] = both;
                    return (yes, no);
                }
                ExprKind::Lit(Literal::Long(number)) if is_long(side) => {
                    let range = self.range(side, world);
                    let only = Range::only(*number);
                    self.loose |= range.low < only.low && only.low < range.high;
                    let yes = range
                        .and(only)
                        .and_then(|_| self.narrow(side, only, world.clone()));
                    let no = range
                        .without(only.low)
                        .and_then(|rest| self.narrow(side, rest, world.clone()));
                    return (yes, no);
                }
                ExprKind::Lit(wanted @ (Literal::String(_) | Literal::EntityUID(_))) => {
                    if let ExprKind::Lit(literal) = side.expr_kind() {
                        let same = literal == wanted;
                        return (same.then(|| world.clone()), (!same).then(|| world.clone()));
                    }
                    let term = self.terms.of(side);
                    return self.among(term, &BTreeSet::from([wanted.clone()]), world);
                }
                _ => {}
            }
        }
        let pair = (self.terms.of(one), self.terms.of(other));
        if pair.0 == pair.1 {
            return (Some(world.clone()), None);
        }
        if self.assurance.is_some() && (mentions_assurance(one) || mentions_assurance(other)) {
            self.clouded = true;
        }
        let equal = Term::Equal(pair.0.min(pair.1), pair.0.max(pair.1));
        let equal = self.terms.number(equal);
        self.choose(equal, world)
    }

    fn among(
        &self,
        term: TermId,
        literals: &BTreeSet<Literal>,
        world: &World,
    ) -> (Option<World>, Option<World>) {
        let before = self.known(term, world);
        let then = |it_is| {
            let known = Known::among(before.as_ref(), literals, it_is)?;
            Some(world.with(term, known))
        };
        (then(true), then(false))
    }
}

fn is_bool(expr: &Typed) -> bool {
    matches!(expr.data(), Some(Type::Bool(_)))
}

/// The literals of a set of nothing else.
fn literals(set: &Typed) -> Option<BTreeSet<Literal>> {
    let ExprKind::Set(elements) = set.expr_kind() else {
        return None;
    };
    let of = |element: &Typed| match element.expr_kind() {
        // Numbers and truths are known in other ways, which this would overwrite.
        ExprKind::Lit(literal @ (Literal::String(_) | Literal::EntityUID(_))) => {
            Some(literal.clone())
        }
        _ => None,
    };
    elements.iter().map(of).collect()
}
