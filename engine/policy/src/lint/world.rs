//! What is known of a request at one point of a condition: a world.
//!
//! A world stands for all requests that agree with its facts. It never holds a fact that one of
//! them breaks, so when no world is left, no request is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, ExprShapeOnly, Literal, Var};
use cedar_policy_core::validator::types::Type;
use smol_str::SmolStr;

/// An expression, as the type checker gives it back.
pub(super) type Typed = Expr<Option<Type>>;

/// The number of a term.
pub(super) type TermId = usize;

/// Something with a value that stays the same while one request is decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Term {
    Var(Var),
    Attribute(TermId, SmolStr),
    Has(TermId, SmolStr),
    Less(TermId, TermId),
    Equal(TermId, TermId),
    /// Whether an entity is in a named one.
    Member(TermId, Literal),
    Other(ExprShapeOnly<'static, Option<Type>>),
}

/// The terms of one condition, numbered, so that the same words are the same term wherever they
/// stand.
#[derive(Debug, Default)]
pub(super) struct Terms {
    numbers: HashMap<Term, TermId>,
    terms: Vec<Term>,
}

impl Terms {
    pub(super) fn number(&mut self, term: Term) -> TermId {
        if let Some(number) = self.numbers.get(&term) {
            return *number;
        }
        let number = self.terms.len();
        self.terms.push(term.clone());
        self.numbers.insert(term, number);
        number
    }

    pub(super) fn of(&mut self, expr: &Typed) -> TermId {
        let term = match expr.expr_kind() {
            ExprKind::Var(var) => Term::Var(*var),
            ExprKind::GetAttr { expr, attr } => Term::Attribute(self.of(expr), attr.clone()),
            ExprKind::HasAttr { expr, attr } => Term::Has(self.of(expr), attr.clone()),
            ExprKind::BinaryApp {
                op: BinaryOp::In,
                arg1,
                arg2,
            } => match arg2.expr_kind() {
                ExprKind::Lit(group) => Term::Member(self.of(arg1), group.clone()),
                _ => Term::Other(ExprShapeOnly::new_from_owned(expr.clone())),
            },
            _ => Term::Other(ExprShapeOnly::new_from_owned(expr.clone())),
        };
        self.number(term)
    }

    pub(super) fn get(&self, number: TermId) -> Option<&Term> {
        self.terms.get(number)
    }

    /// Group and word, if the term is `context.group.word`.
    pub(super) fn word(&self, number: TermId) -> Option<(&str, &str)> {
        match self.get(number)? {
            Term::Attribute(group, word) => Some((self.group(*group)?, word)),
            _ => None,
        }
    }

    /// The group, if the term is `context.group`.
    pub(super) fn group(&self, number: TermId) -> Option<&str> {
        match self.get(number)? {
            Term::Attribute(context, group) => {
                matches!(self.get(*context)?, Term::Var(Var::Context)).then_some(group.as_str())
            }
            _ => None,
        }
    }

    /// Whether a term is a variable, or an attribute of one, however deep.
    pub(super) fn is_path(&self, number: TermId) -> bool {
        match self.get(number) {
            Some(Term::Var(_)) => true,
            Some(Term::Attribute(of, _)) => self.is_path(*of),
            _ => false,
        }
    }
}

/// Whole numbers from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) low: i128,
    pub(super) high: i128,
}

impl Range {
    /// All that a `Long` can hold.
    pub(super) const ALL: Self = Self {
        low: i64::MIN as i128,
        high: i64::MAX as i128,
    };

    pub(super) const fn only(number: i64) -> Self {
        Self {
            low: number as i128,
            high: number as i128,
        }
    }

    pub(super) const fn new(low: i64, high: i64) -> Self {
        Self {
            low: low as i128,
            high: high as i128,
        }
    }

    pub(super) fn and(self, other: Self) -> Option<Self> {
        let low = self.low.max(other.low);
        let high = self.high.min(other.high);
        (low <= high).then_some(Self { low, high })
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
        }
    }

    /// Without one number, as far as a range can say so.
    pub(super) fn without(self, number: i128) -> Option<Self> {
        let low = self.low + i128::from(self.low == number);
        let high = self.high - i128::from(self.high == number);
        (low <= high).then_some(Self { low, high })
    }

    pub(super) const fn fits(self) -> bool {
        self.low >= Self::ALL.low && self.high <= Self::ALL.high
    }
}

/// What is known of one term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Bool(bool),
    Long(Range),
    /// One of these.
    OneOf(BTreeSet<Literal>),
    /// None of these.
    NoneOf(BTreeSet<Literal>),
}

impl Known {
    /// What is known when either may hold.
    fn or(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => (a == b).then_some(Self::Bool(*a)),
            (Self::Long(a), Self::Long(b)) => Some(Self::Long(a.or(*b))),
            (Self::OneOf(a), Self::OneOf(b)) => Some(Self::OneOf(a | b)),
            (Self::NoneOf(a), Self::NoneOf(b)) => Some(Self::NoneOf(a & b)),
            _ => None,
        }
    }

    /// What is known when it is, or is not, one of these. None when that cannot be.
    pub(super) fn among(
        before: Option<&Self>,
        literals: &BTreeSet<Literal>,
        it_is: bool,
    ) -> Option<Self> {
        let left = match (before, it_is) {
            (Some(Self::OneOf(known)), true) => Self::OneOf(known & literals),
            (Some(Self::OneOf(known)), false) => Self::OneOf(known - literals),
            (Some(Self::NoneOf(known)), true) => Self::OneOf(literals - known),
            (Some(Self::NoneOf(known)), false) => Self::NoneOf(known | literals),
            (_, true) => Self::OneOf(literals.clone()),
            (_, false) => Self::NoneOf(literals.clone()),
        };
        match &left {
            Self::OneOf(none) if none.is_empty() => None,
            _ => Some(left),
        }
    }
}

/// Facts about the terms of a condition; about all others nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct World {
    facts: BTreeMap<TermId, Known>,
}

impl World {
    pub(super) fn get(&self, term: TermId) -> Option<&Known> {
        self.facts.get(&term)
    }

    pub(super) fn with(&self, term: TermId, known: Known) -> Self {
        let mut world = self.clone();
        world.facts.insert(term, known);
        world
    }

    pub(super) fn terms(&self) -> impl Iterator<Item = TermId> {
        self.facts.keys().copied()
    }

    /// What holds in both.
    pub(super) fn or(&self, other: &Self) -> Self {
        let facts = self.facts.iter().filter_map(|(term, known)| {
            let both = known.or(other.get(*term)?)?;
            Some((*term, both))
        });
        Self {
            facts: facts.collect(),
        }
    }
}
