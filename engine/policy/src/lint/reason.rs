//! Following a condition through all the ways that it can take.
//!
//! Worlds go in, and come out parted into those in which the condition holds and those in which
//! it does not, in the order in which Cedar evaluates: the right side of `&&` sees only worlds in
//! which the left side held. Facts are dropped when there are too many worlds, never made up, so
//! "no world is left" is a proof and "some world is left" is not.

use std::collections::{BTreeSet, HashMap};

use cedar_policy_core::ast::{
    BinaryOp, EntityType, Expr, ExprKind, Literal, PatternElem, UnaryOp, Var,
};
use cedar_policy_core::validator::types::{BoolType, Type};
use domain::facts::AssuranceFacts;

use super::failures::{Failure, Failures};
use super::ranges;
use super::world::{Known, Range, Term, TermId, Terms, Typed, World};
use crate::annotated::AnnotatedTypes;

/// More worlds than these become one that knows what all of them know.
const WORLDS_MAX: usize = 64;

/// Deeper expressions are not followed; nothing is known of them.
const DEPTH_MAX: usize = 400;

/// A place in a file: offset and length, bytes.
pub(super) type Place = (usize, usize);

/// Whether an operand was seen to hold, and seen not to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) holds: bool,
    pub(super) fails: bool,
    /// Whether the operand only asks if something is there.
    pub(super) guard: bool,
}

/// Worlds, parted by an expression.
#[derive(Debug, Default)]
pub(super) struct Parted {
    pub(super) yes: Vec<World>,
    pub(super) no: Vec<World>,
}

/// Follows conditions. What it learns of operands and failures adds up over all that it follows.
#[derive(Debug)]
pub(super) struct Reasoner<'a> {
    pub(super) terms: Terms,
    annotated: &'a AnnotatedTypes,
    /// What is assumed of the assurance.
    assurance: Option<AssuranceFacts>,
    /// Operands of `&&` and `||`, tests of `if`, and whole conditions.
    pub(super) seen: HashMap<Place, Seen>,
    /// Where each `&&` (true) and `||` of the condition has its left side.
    lefts: HashMap<Place, (bool, Place)>,
    pub(super) failures: Failures,
    /// Whether facts were dropped, or an expression was too deep.
    pub(super) gave_up: bool,
    /// Whether a fact was too fine for a world to hold, so that what is left in it may be none.
    pub(super) loose: bool,
    /// Whether something asked of the assurance is not known although the assurance is.
    pub(super) clouded: bool,
    depth: usize,
}

impl<'a> Reasoner<'a> {
    pub(super) fn new(annotated: &'a AnnotatedTypes) -> Self {
        Self {
            terms: Terms::default(),
            annotated,
            assurance: None,
            seen: HashMap::new(),
            lefts: HashMap::new(),
            failures: Failures::default(),
            gave_up: false,
            loose: false,
            clouded: false,
            depth: 0,
        }
    }

    /// From here on, operands of this condition are looked at.
    pub(super) fn watch(&mut self, condition: &Expr) {
        for part in condition.subexpressions() {
            let (is_and, left) = match part.expr_kind() {
                ExprKind::And { left, .. } => (true, left),
                ExprKind::Or { left, .. } => (false, left),
                _ => continue,
            };
            if let (Some(place), Some(left)) = (place_of(part), place_of(left)) {
                self.lefts.insert(place, (is_and, left));
            }
        }
    }

    /// From here on, the assurance is this.
    pub(super) fn assume(&mut self, assurance: AssuranceFacts) {
        self.assurance = Some(assurance);
    }

    /// Parts worlds by a condition.
    pub(super) fn part(&mut self, condition: &Typed, worlds: Vec<World>) -> Parted {
        if self.depth >= DEPTH_MAX {
            self.gave_up = true;
            return Parted {
                yes: worlds.clone(),
                no: worlds,
            };
        }
        self.depth += 1;
        let reached = !worlds.is_empty();
        let mut parted = self.part_by_kind(condition, worlds);
        self.depth -= 1;
        // What the type checker knows: types that do not fit, attributes that cannot be there.
        match condition.data() {
            Some(Type::Bool(BoolType::True)) => parted.no.clear(),
            Some(Type::Bool(BoolType::False)) => parted.yes.clear(),
            _ => return parted,
        }
        if let Some(place) = place_of(condition).filter(|_| reached) {
            self.see_left(place, parted.no.is_empty());
        }
        parted
    }

    fn part_by_kind(&mut self, condition: &Typed, worlds: Vec<World>) -> Parted {
        match condition.expr_kind() {
            ExprKind::And { left, right } => {
                let left = self.operand(left, worlds);
                let right = self.operand(right, left.yes);
                Parted {
                    yes: right.yes,
                    no: self.either(left.no, right.no),
                }
            }
            ExprKind::Or { left, right } => {
                let left = self.operand(left, worlds);
                let right = self.operand(right, left.no);
                Parted {
                    yes: self.either(left.yes, right.yes),
                    no: right.no,
                }
            }
            ExprKind::UnaryApp {
                op: UnaryOp::Not,
                arg,
            } => {
                let Parted { yes, no } = self.part(arg, worlds);
                Parted { yes: no, no: yes }
            }
            ExprKind::If {
                test_expr,
                then_expr,
                else_expr,
            } => {
                let test = self.operand(test_expr, worlds);
                let then = self.part(then_expr, test.yes);
                let otherwise = self.part(else_expr, test.no);
                Parted {
                    yes: self.either(then.yes, otherwise.yes),
                    no: self.either(then.no, otherwise.no),
                }
            }
            _ => {
                let mut parted = Parted::default();
                for world in worlds {
                    self.inspect(condition, &world);
                    let (yes, no) = self.atom(condition, &world);
                    parted.yes.extend(yes);
                    parted.no.extend(no);
                }
                parted
            }
        }
    }

    /// Parts worlds by an operand, and notes what it was seen to do.
    pub(super) fn operand(&mut self, operand: &Typed, worlds: Vec<World>) -> Parted {
        let reached = !worlds.is_empty();
        let parted = self.part(operand, worlds);
        if let Some(place) = place_of(operand).filter(|_| reached) {
            let seen = self.seen.entry(place).or_default();
            seen.holds |= !parted.yes.is_empty();
            seen.fails |= !parted.no.is_empty();
            seen.guard = matches!(
                operand.expr_kind(),
                ExprKind::HasAttr { .. }
                    | ExprKind::ExtHasAttr { .. }
                    | ExprKind::BinaryApp {
                        op: BinaryOp::HasTag,
                        ..
                    }
            );
        }
        parted
    }

    /// Where the left side of an `&&` cannot hold, the type checker puts it in the place of the
    /// whole, and the same for an `||` whose left side always holds. So what became of the whole
    /// became of it.
    fn see_left(&mut self, whole: Place, held: bool) {
        let mut place = whole;
        while let Some((is_and, left)) = self.lefts.get(&place).copied() {
            if is_and == held {
                return;
            }
            let seen = self.seen.entry(left).or_default();
            seen.holds |= held;
            seen.fails |= !held;
            place = left;
        }
    }

    fn either(&mut self, mut some: Vec<World>, more: Vec<World>) -> Vec<World> {
        some.extend(more);
        if some.len() <= WORLDS_MAX {
            return some;
        }
        self.gave_up = true;
        let all = some.iter().skip(1);
        let common = some.first().map(|first| {
            let first = first.clone();
            all.fold(first, |common, world| common.or(world))
        });
        common.into_iter().collect()
    }

    /// What becomes of a world when this holds, and when it does not.
    fn atom(&mut self, expr: &Typed, world: &World) -> (Option<World>, Option<World>) {
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

    fn choose(&self, term: TermId, world: &World) -> (Option<World>, Option<World>) {
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

    /// The world with a number within these; None when it cannot be.
    fn narrow(&mut self, expr: &Typed, within: Range, world: World) -> Option<World> {
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

    /// What is known of a term: in this world, by what is assumed, or always.
    pub(super) fn known(&self, term: TermId, world: &World) -> Option<Known> {
        if let Some(known) = world.get(term) {
            return Some(known.clone());
        }
        if let Some(assumed) = self.assumed(term) {
            return Some(assumed);
        }
        let (group, word) = self.terms.word(term)?;
        ranges::of(group, word)
    }

    fn assumed(&self, term: TermId) -> Option<Known> {
        let facts = self.assurance.as_ref()?;
        let value = |word: &str| match word {
            "level" => facts.level,
            "age_seconds" => facts.age_seconds,
            "challenge_age_seconds" => facts.challenge_age_seconds,
            "mfa_age_seconds" => facts.mfa_age_seconds,
            _ => None,
        };
        match self.terms.get(term)? {
            Term::Has(group, word) if self.terms.group(*group)? == ASSURANCE => {
                Some(Known::Bool(value(word).is_some()))
            }
            Term::Attribute(..) => {
                let (group, word) = self.terms.word(term)?;
                let number = value(word).filter(|_| group == ASSURANCE)?;
                Some(Known::Long(Range::only(number)))
            }
            _ => None,
        }
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

    pub(super) fn is_stored(&self, kind: &EntityType) -> bool {
        self.annotated.stored.contains(kind)
    }

    pub(super) fn fails(&mut self, expr: &Typed, failure: Failure) {
        if let Some(place) = place_of(expr) {
            self.failures.note(place, failure);
        }
    }
}

/// Where an expression stands in its file.
pub(super) fn place_of<T>(expr: &Expr<T>) -> Option<Place> {
    let loc = expr.source_loc()?;
    Some((loc.start(), loc.end() - loc.start()))
}

/// The group that alone changes from rung to rung.
pub(super) const ASSURANCE: &str = "assurance";

/// Whether an expression looks at the assurance, or at the context as a whole.
pub(super) fn mentions_assurance<T>(expr: &Expr<T>) -> bool {
    let (mut contexts, mut read) = (0, 0);
    for part in expr.subexpressions() {
        match part.expr_kind() {
            ExprKind::Var(Var::Context) => contexts += 1,
            ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => {
                if matches!(expr.expr_kind(), ExprKind::Var(Var::Context)) {
                    if attr == ASSURANCE {
                        return true;
                    }
                    read += 1;
                }
            }
            _ => {}
        }
    }
    contexts > read
}

fn literal_long(expr: &Typed) -> Option<i64> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::Long(number)) => Some(*number),
        _ => None,
    }
}

fn is_long(expr: &Typed) -> bool {
    matches!(expr.data(), Some(Type::Long))
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
