//! Cedar's strict validation, with each finding at its place and of a kind that stays the same.

use std::collections::{BTreeMap, HashSet};

use cedar_policy::{
    PolicyId, PolicySet, Schema, ValidationError, ValidationMode, ValidationWarning, Validator,
};

use miette::Diagnostic;

use crate::load::Places;
use crate::problem::{Problem, Severity};

/// The kind of a policy that no request can meet.
pub(crate) const NEVER_MATCHES: &str = "policy::never-matches";

/// Validates strictly; what Cedar finds goes to the problems.
pub(crate) fn validate(
    schema: &Schema,
    set: &PolicySet,
    places: &Places<'_>,
    problems: &mut Vec<Problem>,
) {
    let validator = Validator::new(schema.clone());
    let result = validator.validate(set, ValidationMode::Strict);
    let errors = result.validation_errors().map(|error| {
        let found: &dyn Diagnostic = error;
        (error.policy_id(), Severity::Error, kind_of(error), found)
    });
    let warnings = result.validation_warnings().map(|warning| {
        let kind = kind_of_warning(warning);
        let found: &dyn Diagnostic = warning;
        (warning.policy_id(), Severity::Warning, kind, found)
    });
    let mut invalid: HashSet<&PolicyId> = HashSet::new();
    let mut told: BTreeMap<_, Problem> = BTreeMap::new();
    for (id, severity, kind, found) in errors.chain(warnings) {
        let Some((file, offset)) = places.get(id) else {
            continue;
        };
        if severity == Severity::Error {
            invalid.insert(id);
        } else if kind == NEVER_MATCHES && invalid.contains(id) {
            // That follows from what is wrong with it.
            continue;
        }
        let mut problem = Problem::from_cedar(file, found).of_kind(kind);
        problem = problem.as_bad_as(severity);
        // What is wrong with a link points into its template, which is in another file.
        if problem.place.is_none() || file.is_links() {
            problem = problem.at(file, *offset);
        }
        if let Some(advice) = advice(kind) {
            problem = problem.with_help(advice);
        }
        // Cedar looks at each action by itself: what is wrong at one place for all of them is
        // said once.
        let key = (&file.name, problem.place, kind);
        let first = told
            .get(&key)
            .is_none_or(|other| problem.message < other.message);
        if first {
            told.insert(key, problem);
        }
    }
    problems.extend(told.into_values());
}

/// What to do, where Portreeve knows it better than Cedar.
fn advice(kind: &str) -> Option<&'static str> {
    match kind {
        "cedar::constructor-on-text" => Some(
            "declare the attribute with this type in the schema: the engine reads what callers \
             send as such, and denies what is none",
        ),
        "cedar::wrong-type" => Some("compare values of one type; the schema says which it is"),
        _ => None,
    }
}

const fn kind_of(error: &ValidationError) -> &'static str {
    match error {
        ValidationError::UnrecognizedEntityType(_) => "cedar::unknown-entity-type",
        ValidationError::UnrecognizedActionId(_) => "cedar::unknown-action",
        ValidationError::InvalidActionApplication(_) => NEVER_MATCHES,
        ValidationError::UnexpectedType(_) | ValidationError::IncompatibleTypes(_) => {
            "cedar::wrong-type"
        }
        ValidationError::UnsafeAttributeAccess(_) => "cedar::unknown-attribute",
        ValidationError::UnsafeOptionalAttributeAccess(_) => "cedar::unguarded-attribute",
        ValidationError::UnsafeTagAccess(_) => "cedar::unguarded-tag",
        ValidationError::NoTagsAllowed(_) => "cedar::no-tags",
        ValidationError::UndefinedFunction(_) => "cedar::unknown-function",
        ValidationError::WrongNumberArguments(_) => "cedar::wrong-arguments",
        ValidationError::FunctionArgumentValidation(_) => "cedar::bad-literal",
        ValidationError::EmptySetForbidden(_) => "cedar::empty-set",
        ValidationError::NonLitExtConstructor(_) => "cedar::constructor-on-text",
        ValidationError::InvalidEnumEntity(_) => "cedar::unknown-entity",
        _ => "cedar::invalid",
    }
}

const fn kind_of_warning(warning: &ValidationWarning) -> &'static str {
    match warning {
        ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_) => {
            NEVER_MATCHES
        }
        _ => "cedar::confusable-text",
    }
}
