//! What an action's context type declares, worked out once when the schema is loaded.
//!
//! Exactly what is declared is built for a request, no more: a policy set that says nothing of
//! risk gets no risk, and works as it is.

use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher};
use std::sync::Arc;

use cedar_policy_core::ast;
use cedar_policy_core::validator::types::{AttributeType, Type};
use domain::Value;
use domain::facts::{self, Fact, Facts, Group, Kind, Word};
use domain::request::{AccessRequest, RequestContext};
use domain::value::Attributes;
use smol_str::SmolStr;

use crate::mentions::{Mentions, Seen};
use crate::value::{BadValue, convert, convert_record, from_fact};
use crate::vocabulary::cedar_name;

/// The name of the group that alone changes from rung to rung.
const ASSURANCE: &str = "assurance";

/// Reserved names whose content is not in the vocabulary.
const UNAVAILABLE: &str = "unavailable";
const ACTION: &str = "action";

/// The declared attributes of one action's context.
#[derive(Debug, Default)]
pub(crate) struct ContextShape {
    groups: Vec<GroupShape>,
    assurance: Option<GroupShape>,
    unavailable: bool,
    action: Option<AttributeType>,
    callers: Vec<(SmolStr, AttributeType)>,
}

/// The declared words of one group.
#[derive(Debug)]
struct GroupShape {
    name: SmolStr,
    words: Vec<(SmolStr, &'static Word, Seen)>,
}

/// Context attributes, ready for Cedar.
pub(crate) type ContextMap = BTreeMap<SmolStr, ast::Value>;

impl ContextShape {
    /// Reads a context type. Attributes that claim a reserved name with another type than the
    /// engine gives it are returned as messages.
    /// Words that no policy mentions are left out.
    pub(crate) fn new(context: Option<&Type>, mentions: &Mentions) -> Result<Self, Vec<String>> {
        let mut shape = Self::default();
        let Some(Type::Record { attrs, .. }) = context else {
            return Ok(shape);
        };
        let mut wrong = Vec::new();
        for (name, attribute) in attrs.iter() {
            if let Some(group) = facts::group(name) {
                match GroupShape::new(group, attribute, mentions) {
                    Ok(group) if name == ASSURANCE => shape.assurance = Some(group),
                    Ok(group) => shape.groups.push(group),
                    Err(messages) => wrong.extend(messages),
                }
                continue;
            }
            match name.as_str() {
                UNAVAILABLE if is_set_of_strings(&attribute.attr_type) => shape.unavailable = true,
                UNAVAILABLE => wrong.push(format!("`context.{name}` is a `Set<String>`")),
                ACTION if matches!(*attribute.attr_type, Type::Record { .. }) => {
                    shape.action = Some(attribute.clone());
                }
                ACTION => wrong.push(format!("`context.{name}` is a record")),
                _ => shape.callers.push((name.clone(), attribute.clone())),
            }
        }
        if wrong.is_empty() {
            Ok(shape)
        } else {
            Err(wrong)
        }
    }

    /// Whether a change of assurance can be seen at all under this shape.
    pub(crate) const fn sees_assurance(&self) -> bool {
        self.assurance.is_some()
    }

    /// Everything but the assurance.
    pub(crate) fn build(
        &self,
        request: &AccessRequest,
        facts: &Facts,
    ) -> Result<ContextMap, BadValue> {
        let mut context = ContextMap::new();
        for group in &self.groups {
            context.insert(group.name.clone(), group.value(facts));
        }
        if self.unavailable {
            let names = facts
                .unavailable
                .iter()
                .map(|source| SmolStr::new_static(source.name()));
            context.insert(
                SmolStr::new_static(UNAVAILABLE),
                ast::Value::set(names.map(ast::Value::from), None),
            );
        }
        if let Some(attribute) = &self.action
            && let Type::Record { attrs, .. } = attribute.attr_type.as_ref()
            && (attribute.is_required || !request.action.properties.is_empty())
        {
            let record = convert_record(&request.action.properties, attrs, "action.properties")?;
            context.insert(
                SmolStr::new_static(ACTION),
                ast::Value::record_arc(Arc::new(record), None),
            );
        }
        for (name, attribute) in &self.callers {
            let path = || format!("context.{name}");
            match callers_attribute(&request.context, name) {
                Some(value) => {
                    let value = convert(&value, &attribute.attr_type, &path())?;
                    context.insert(name.clone(), value);
                }
                None if attribute.is_required => return Err(BadValue::new(&path(), "is missing")),
                None => {}
            }
        }
        Ok(context)
    }

    /// Puts everything into a hash that the policies can tell of the context, with the assurance
    /// of the second facts.
    pub(crate) fn glance(
        &self,
        request: &AccessRequest,
        (facts, assurance): (&Facts, &Facts),
        hash: &mut impl Hasher,
    ) {
        let groups = self.groups.iter().map(|group| (group, facts));
        for (group, facts) in groups.chain(self.assurance.iter().map(|group| (group, assurance))) {
            for (_, word, seen) in &group.words {
                glance_at((word.get)(facts), seen, hash);
            }
        }
        if self.assurance.is_some() {
            // What a step-up would lift depends on it.
            assurance.assurance.level.hash(hash);
        }
        if self.unavailable {
            for source in &facts.unavailable {
                source.name().hash(hash);
            }
        }
        for (name, _) in &self.callers {
            match callers_attribute(&request.context, name) {
                Some(value) => format!("{value:?}").hash(hash),
                None => 0_u8.hash(hash),
            }
        }
        if self.action.is_some() && !request.action.properties.is_empty() {
            format!("{:?}", request.action.properties).hash(hash);
        }
    }

    /// Puts the assurance of one rung in.
    pub(crate) fn set_assurance(&self, context: &mut ContextMap, facts: &Facts) {
        if let Some(group) = &self.assurance {
            context.insert(group.name.clone(), group.value(facts));
        }
    }
}

impl GroupShape {
    fn new(
        group: &'static Group,
        declared: &AttributeType,
        mentions: &Mentions,
    ) -> Result<Self, Vec<String>> {
        let Type::Record { attrs, .. } = declared.attr_type.as_ref() else {
            return Err(vec![format!("`context.{}` is a record", group.name)]);
        };
        let mut words = Vec::new();
        let mut wrong = Vec::new();
        for (name, attribute) in attrs.iter() {
            let path = format!("context.{}.{name}", group.name);
            let Some(word) = group.words.iter().find(|word| word.name == name) else {
                wrong.push(format!(
                    "the engine offers no `{path}`; it has: {}",
                    group
                        .words
                        .iter()
                        .map(|word| word.name)
                        .collect::<Vec<_>>()
                        .join(", ")
                ));
                continue;
            };
            if !is_of_kind(&attribute.attr_type, word.kind) {
                wrong.push(format!("`{path}` is a `{}`", cedar_name(word.kind)));
            } else if attribute.is_required && !word.always {
                wrong.push(format!(
                    "`{path}` is there only when it is known: declare it `{name}?`"
                ));
            } else if mentions.sees(group.name, name) {
                words.push((name.clone(), word, mentions.seen(group.name, name)));
            }
        }
        if wrong.is_empty() {
            Ok(Self {
                name: SmolStr::new_static(group.name),
                words,
            })
        } else {
            Err(wrong)
        }
    }

    fn value(&self, facts: &Facts) -> ast::Value {
        let words = self.words.iter().filter_map(|(name, word, _)| {
            (word.get)(facts)
                .and_then(from_fact)
                .map(|value| (name.clone(), value))
        });
        ast::Value::record_arc(Arc::new(words.collect()), None)
    }
}

fn glance_at(fact: Option<Fact<'_>>, seen: &Seen, hash: &mut impl Hasher) {
    std::mem::discriminant(&fact).hash(hash);
    match (fact, seen) {
        (Some(Fact::Long(number)), Seen::Among(numbers)) => {
            let (Ok(place) | Err(place)) = numbers.binary_search(&number);
            (place, numbers.get(place) == Some(&number)).hash(hash);
        }
        (Some(Fact::Long(number)), Seen::Exactly) => number.hash(hash),
        (Some(Fact::Bool(yes)), _) => yes.hash(hash),
        (Some(Fact::Text(text)), _) => text.hash(hash),
        (Some(Fact::Address(address)), _) => address.hash(hash),
        (Some(Fact::Moment(moment)), _) => moment.millis().hash(hash),
        (None, _) => {}
    }
}

/// What the caller sent under this name, be it one the engine reads itself or one it passes on.
fn callers_attribute<'a>(
    context: &'a RequestContext,
    name: &str,
) -> Option<std::borrow::Cow<'a, Value>> {
    use std::borrow::Cow;
    let extra: &'a Attributes = &context.extra;
    let text = |text: String| Some(Cow::Owned(Value::Text(text)));
    match name {
        "ip" => context.ip.and_then(|ip| text(ip.to_string())),
        "user_agent" => context.user_agent.clone().and_then(text),
        "session_id" => context.session_id.clone().and_then(text),
        _ => extra.get(name).map(Cow::Borrowed),
    }
}

fn is_of_kind(declared: &Type, kind: Kind) -> bool {
    match (declared, kind) {
        (Type::Bool(_), Kind::Bool) | (Type::Long, Kind::Long) | (Type::String, Kind::Text) => true,
        (Type::ExtensionType { name }, Kind::Address | Kind::Moment) => {
            name.to_string() == cedar_name(kind)
        }
        _ => false,
    }
}

fn is_set_of_strings(declared: &Type) -> bool {
    matches!(declared, Type::Set { element_type: Some(element) } if **element == Type::String)
}
