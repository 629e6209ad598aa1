//! From the engine's and the callers' values to Cedar's, under the guidance of the schema.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use cedar_policy_core::ast;
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::types::{Attributes as AttributeTypes, EntityKind, Type};
use domain::facts::Fact;
use domain::{EntityRef, Timestamp, Value};
use smol_str::SmolStr;

/// Why a caller's value cannot be what the schema says it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {what}")]
pub(crate) struct BadValue {
    /// Where it stands, for example `context.action.amount`.
    path: String,
    /// What is wrong with it.
    what: String,
}

impl BadValue {
    pub(crate) fn new(path: &str, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            what: what.into(),
        }
    }
}

/// A word of the vocabulary as a Cedar value; none for what cannot be one.
pub(crate) fn from_fact(fact: Fact<'_>) -> Option<ast::Value> {
    match fact {
        Fact::Bool(value) => Some(ast::Value::from(value)),
        Fact::Long(value) => Some(ast::Value::from(value)),
        Fact::Text(value) => Some(ast::Value::from(SmolStr::new(value))),
        Fact::Address(value) => construct(CONSTRUCTORS.ip, &value.to_string()),
        Fact::Moment(value) => moment(value),
    }
}

/// A caller's value as the Cedar value of a type.
///
/// Attributes that the type does not know are left out; a value of another type than the
/// schema's is refused, because to drop it might drop what a `forbid` looks at.
pub(crate) fn convert(value: &Value, wanted: &Type, path: &str) -> Result<ast::Value, BadValue> {
    let wrong = || BadValue::new(path, format!("is not a {wanted}"));
    match (wanted, value) {
        (Type::Bool(_), Value::Bool(value)) => Ok(ast::Value::from(*value)),
        (Type::Long, Value::Long(value)) => Ok(ast::Value::from(*value)),
        (Type::String, Value::Text(text)) => Ok(ast::Value::from(SmolStr::new(text))),
        (
            Type::Set {
                element_type: Some(element),
            },
            Value::List(items),
        ) => {
            let items: Result<Vec<_>, _> = items
                .iter()
                .map(|item| convert(item, element, path))
                .collect();
            Ok(ast::Value::set(items?, None))
        }
        (Type::Record { attrs, .. }, Value::Record(given)) => {
            let record = convert_record(given, attrs, path)?;
            Ok(ast::Value::record_arc(Arc::new(record), None))
        }
        (Type::Entity(EntityKind::Entity(kinds)), Value::Record(given)) => {
            let (Some(Value::Text(kind)), Some(Value::Text(id))) =
                (given.get("type"), given.get("id"))
            else {
                return Err(BadValue::new(path, "is not an object with `type` and `id`"));
            };
            let entity = EntityRef::new(kind.as_str(), id.as_str())
                .map_err(|error| BadValue::new(path, error.to_string()))?;
            let uid = uid_of(&entity).ok_or_else(wrong)?;
            if kinds.get_single_entity() != Some(uid.entity_type()) {
                return Err(wrong());
            }
            Ok(ast::Value::from(uid))
        }
        (Type::ExtensionType { name }, value) => {
            let text = match value {
                Value::Text(text) => text.clone(),
                Value::Long(number) => format!("{number}.0"),
                Value::Number(number) => format!("{number:.4}"),
                _ => return Err(wrong()),
            };
            let made = match name.to_string().as_str() {
                "ipaddr" => construct(CONSTRUCTORS.ip, &normal_address(&text)),
                "decimal" => construct(CONSTRUCTORS.decimal, &text),
                "datetime" => construct(CONSTRUCTORS.datetime, &text),
                "duration" => construct(CONSTRUCTORS.duration, &text),
                _ => None,
            };
            made.ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

/// The attributes of a record type, each converted; required ones must be there.
pub(crate) fn convert_record(
    given: &BTreeMap<String, Value>,
    wanted: &AttributeTypes,
    path: &str,
) -> Result<BTreeMap<SmolStr, ast::Value>, BadValue> {
    let mut record = BTreeMap::new();
    for (name, attribute) in wanted.iter() {
        match given.get(name.as_str()) {
            Some(value) => {
                let path = format!("{path}.{name}");
                record.insert(name.clone(), convert(value, &attribute.attr_type, &path)?);
            }
            None if attribute.is_required => {
                return Err(BadValue::new(&format!("{path}.{name}"), "is missing"));
            }
            None => {}
        }
    }
    Ok(record)
}

/// The Cedar name of an entity. None when the type is not a Cedar type name.
pub(crate) fn uid_of(entity: &EntityRef) -> Option<ast::EntityUID> {
    let kind = ast::EntityType::from_normalized_str(entity.kind.as_str()).ok()?;
    Some(ast::EntityUID::from_components(
        kind,
        ast::Eid::new(entity.id.as_str()),
        None,
    ))
}

/// Cedar's constructors of extension values, looked up once: to parse a name for each address
/// would cost more than a policy.
struct Constructors {
    ip: Option<&'static ast::ExtensionFunction>,
    decimal: Option<&'static ast::ExtensionFunction>,
    datetime: Option<&'static ast::ExtensionFunction>,
    duration: Option<&'static ast::ExtensionFunction>,
}

static CONSTRUCTORS: LazyLock<Constructors> = LazyLock::new(|| {
    let find = |name: &str| {
        let name: ast::Name = name.parse().ok()?;
        Extensions::all_available().func(&name).ok()
    };
    Constructors {
        ip: find("ip"),
        decimal: find("decimal"),
        datetime: find("datetime"),
        duration: find("duration"),
    }
});

/// Calls a constructor such as `ip("…")`. None when Cedar refuses the text.
fn construct(function: Option<&ast::ExtensionFunction>, text: &str) -> Option<ast::Value> {
    match function?
        .call(&[ast::Value::from(SmolStr::new(text))])
        .ok()?
    {
        ast::PartialValue::Value(value) => Some(value),
        ast::PartialValue::Residual(_) => None,
    }
}

/// Cedar refuses IPv4 inside IPv6, and text around an address; a network keeps its prefix.
fn normal_address(text: &str) -> String {
    let (address, prefix) = match text.trim().split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text.trim(), None),
    };
    match (
        address
            .parse::<IpAddr>()
            .map(|address| address.to_canonical()),
        prefix,
    ) {
        (Ok(address), None) => address.to_string(),
        (Ok(address), Some(prefix)) => format!("{address}/{prefix}"),
        (Err(_), _) => text.to_owned(),
    }
}

/// Cedar's `datetime` of a moment, through the only constructor it has.
fn moment(at: Timestamp) -> Option<ast::Value> {
    let at = jiff::Timestamp::from_millisecond(at.millis()).ok()?;
    construct(CONSTRUCTORS.datetime, &format!("{at:.3}"))
}
