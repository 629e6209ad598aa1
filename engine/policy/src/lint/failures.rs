//! What can fail when it is evaluated. A policy that fails is a deny, so what it covers is
//! closed as long as it does.
//!
//! Strict validation covers optional attributes without `has`, tags without `hasTag`, and
//! constructors such as `ip()` on text that is no literal. It leaves out numbers that grow too
//! large, and entities that are not stored.

use std::collections::BTreeMap;

use cedar_policy_core::ast::{BinaryOp, EntityType, ExprKind, UnaryOp, Var};
use cedar_policy_core::validator::types::{EntityKind, Type};
use smol_str::SmolStr;

use super::reason::{Place, Reasoner};
use super::world::{Known, Range, Term, Typed, World};

/// Methods of extensions that fail on values far enough out.
const MAY_OVERFLOW: [&str; 3] = ["offset", "durationSince", "toDate"];

/// Why an expression may fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The result may be more than a `Long` can hold.
    Overflow,
    /// The entity may not be stored, or be without this attribute.
    NotStored(EntityType, SmolStr),
    /// A moment may be too far away.
    TooFar,
}

/// What may fail, and where.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<Place, Failure>);

impl Failures {
    pub(super) fn note(&mut self, place: Place, failure: Failure) {
        self.0.insert(place, failure);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Place, &Failure)> {
        self.0.iter()
    }
}

impl Reasoner<'_> {
    /// Notes what of an expression may fail in a world in which it is evaluated.
    pub(super) fn inspect(&mut self, expr: &Typed, world: &World) {
        match expr.expr_kind() {
            ExprKind::And { .. }
            | ExprKind::Or { .. }
            | ExprKind::UnaryApp {
                op: UnaryOp::Not, ..
            } => {
                self.part(expr, vec![world.clone()]);
            }
            ExprKind::If {
                test_expr,
                then_expr,
                else_expr,
            } => {
                let test = self.part(test_expr, vec![world.clone()]);
                for (worlds, branch) in [(test.yes, then_expr), (test.no, else_expr)] {
                    for world in worlds {
                        self.inspect(branch, &world);
                    }
                }
            }
            ExprKind::UnaryApp { op, arg } => {
                self.inspect(arg, world);
                if *op == UnaryOp::Neg && self.range(arg, world).low <= Range::ALL.low {
                    self.fails(expr, Failure::Overflow);
                }
            }
            ExprKind::BinaryApp { op, arg1, arg2 } => {
                self.inspect(arg1, world);
                self.inspect(arg2, world);
                if matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul)
                    && !self.result(*op, arg1, arg2, world).fits()
                {
                    self.fails(expr, Failure::Overflow);
                }
            }
            ExprKind::GetAttr { expr: of, attr } => {
                self.inspect(of, world);
                self.inspect_attribute(expr, of, attr, world);
            }
            ExprKind::HasAttr { expr, .. }
            | ExprKind::ExtHasAttr { expr, .. }
            | ExprKind::Like { expr, .. }
            | ExprKind::Is { expr, .. } => self.inspect(expr, world),
            ExprKind::ExtensionFunctionApp { fn_name, args } => {
                for arg in args.iter() {
                    self.inspect(arg, world);
                }
                let name = fn_name.to_string();
                if MAY_OVERFLOW.contains(&name.as_str()) {
                    self.fails(expr, Failure::TooFar);
                }
            }
            ExprKind::Set(elements) => {
                for element in elements.iter() {
                    self.inspect(element, world);
                }
            }
            ExprKind::Record(attributes) => {
                for value in attributes.values() {
                    self.inspect(value, world);
                }
            }
            ExprKind::Lit(_) | ExprKind::Var(_) | ExprKind::Slot(_) | ExprKind::Unknown(_) => {}
        }
    }

    fn inspect_attribute(&mut self, whole: &Typed, of: &Typed, attr: &SmolStr, world: &World) {
        let Some(Type::Entity(EntityKind::Entity(kinds))) = of.data() else {
            return;
        };
        let Some(kind) = kinds.get_single_entity() else {
            return;
        };
        // The engine refuses a request whose subject or resource is of a `@stored` type and not
        // stored; what is stored has all that the schema demands.
        let is_party = matches!(
            of.expr_kind(),
            ExprKind::Var(Var::Principal | Var::Resource)
        );
        if is_party && self.is_stored(kind) {
            return;
        }
        let of = self.terms.of(of);
        let has = self.terms.number(Term::Has(of, attr.clone()));
        if self.known(has, world) != Some(Known::Bool(true)) {
            self.fails(whole, Failure::NotStored(kind.clone(), attr.clone()));
        }
    }
}
