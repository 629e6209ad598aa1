//! Cedar by itself, without the ladder: what its own authorizer says of one request.
//!
//! Tests in the form of `cedar run-tests` mean this and nothing else: the whole set is asked once,
//! with the context as it is written, and a policy that fails is counted and skipped.

use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, Request};
use cedar_policy_core::ast;
use domain::EntityRef;

use crate::load::Policies;
use crate::source::SourceFile;

/// What Cedar's authorizer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainAnswer {
    /// A permit holds and no forbid does.
    pub allowed: bool,
    /// The permits of an allow, the forbids of a deny, by their ids, sorted.
    pub determining: Vec<String>,
    /// Policies that could not be evaluated, and why.
    pub errors: Vec<String>,
}

/// One request in Cedar's own words.
#[derive(Clone, Copy, Debug)]
pub struct PlainRequest<'a> {
    /// `Type::"id"` of the principal.
    pub principal: &'a str,
    /// `Action::"id"` of the action.
    pub action: &'a str,
    /// `Type::"id"` of the resource.
    pub resource: &'a str,
    /// The whole context, a JSON object in Cedar's form.
    pub context: &'a str,
}

/// The entity that Cedar text such as `User::"alice"` names.
///
/// # Errors
/// When the text is none, or the name is one that no caller could send.
pub fn entity_named(text: &str) -> Result<EntityRef, String> {
    let uid = parse(text)?;
    EntityRef::new(uid.type_name().to_string(), uid.id().unescaped())
        .map_err(|error| format!("`{text}` {error}"))
}

/// Cedar's public reader wants the one normal form, in which the quote of `o'brien` is escaped; the
/// reader of policies does not, and that is how authors write.
fn parse(text: &str) -> Result<EntityUid, String> {
    text.parse::<ast::EntityUID>()
        .map(EntityUid::from)
        .map_err(|_| {
            format!("`{text}` names no entity: write type and id, as in `User::\"alice\"`")
        })
}

impl Policies {
    /// Asks Cedar's own authorizer, as `cedar run-tests` does, entities in its JSON form.
    ///
    /// # Errors
    /// When the request, its context or the entities do not fit the schema; in words.
    pub fn ask_cedar(
        &self,
        request: &PlainRequest<'_>,
        entities: &SourceFile,
    ) -> Result<PlainAnswer, String> {
        let action = parse(request.action)?;
        let schema = self.schema();
        let context = Context::from_json_str(request.context, Some((schema, &action)))
            .map_err(|error| format!("`request.context`: {}", told(&error)))?;
        let request = Request::new(
            parse(request.principal)?,
            action,
            parse(request.resource)?,
            context,
            Some(schema),
        )
        .map_err(|error| format!("`request`: {}", told(&error)))?;
        let entities = Entities::from_json_str(&entities.text, Some(schema))
            .map_err(|error| format!("{}: {}", entities.name, told(&error)))?;
        let answer = Authorizer::new().is_authorized(&request, self.as_cedar(), &entities);
        let mut determining: Vec<String> = answer
            .diagnostics()
            .reason()
            .map(ToString::to_string)
            .collect();
        determining.sort();
        Ok(PlainAnswer {
            allowed: answer.decision() == Decision::Allow,
            determining,
            errors: answer
                .diagnostics()
                .errors()
                .map(ToString::to_string)
                .collect(),
        })
    }
}

/// An error with its causes, on one line.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
