//! Following a condition through all the ways that it can take.
//!
//! Worlds go in, and come out parted into those in which the condition holds and those in which
//! it does not, in the order in which Cedar evaluates: the right side of `&&` sees only worlds in
//! which the left side held. Facts are dropped when there are too many worlds, never made up, so
//! "no world is left" is a proof and "some world is left" is not.

use std::collections::HashMap;

use cedar_policy_core::ast::{BinaryOp, EntityType, Expr, ExprKind, UnaryOp, Var};
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

/// More steps are not taken to try out assurances, well under a second of work.
const STEPS_MAX: usize = 200_000;

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
    pub(super) assurance: Option<AssuranceFacts>,
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
    /// How many worlds were parted by a comparison.
    steps: usize,
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
            steps: 0,
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

    /// Whether so much was tried already that one should rather say "not decided".
    pub(super) const fn is_tired(&self) -> bool {
        self.steps > STEPS_MAX
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
                self.steps += worlds.len();
                for world in worlds {
                    self.inspect(condition, &world);
                    let (yes, no) = match condition.data() {
                        // Nothing is to be learnt from what holds by its type.
                        Some(Type::Bool(BoolType::True)) => (Some(world), None),
                        Some(Type::Bool(BoolType::False)) => (None, Some(world)),
                        _ => self.atom(condition, &world),
                    };
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
