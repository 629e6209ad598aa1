//! JSON values between text and [`Value`].

use std::fmt;

use domain::Value;
use domain::value::Attributes;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};

/// A JSON value; `null` is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Node(pub Option<Value>);

/// A JSON object; members that are `null` are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(pub Attributes);

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node(Some(Value::Bool(value))))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node(Some(Value::Long(value))))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        // Beyond i64 only a floating-point number can hold it.
        Ok(Node(Some(
            i64::try_from(value).map_or(Value::Number(value as f64), Value::Long),
        )))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node(Some(Value::Number(value))))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node(Some(Value::Text(value.to_owned()))))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Node, E> {
        Ok(Node(Some(Value::Text(value))))
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(Node(item)) = items.next_element()? {
            list.extend(item);
        }
        Ok(Node(Some(Value::List(list))))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Node, A::Error> {
        Ok(Node(Some(Value::Record(read_members(members)?))))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NodeVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object, A::Error> {
        read_members(members).map(Object)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ObjectVisitor)
    }
}

fn read_members<'de, A: MapAccess<'de>>(mut members: A) -> Result<Attributes, A::Error> {
    let mut attributes = Attributes::new();
    while let Some((name, Node(value))) = members.next_entry::<String, Node>()? {
        match value {
            Some(value) => attributes.insert(name, value),
            None => attributes.remove(&name),
        };
    }
    Ok(attributes)
}

/// A value, to be written.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a>(pub &'a Value);

/// Attributes, to be written as an object.
#[derive(Clone, Copy, Debug)]
pub struct WrittenObject<'a>(pub &'a Attributes);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Bool(value) => to.serialize_bool(*value),
            Value::Long(value) => to.serialize_i64(*value),
            Value::Number(value) => to.serialize_f64(*value),
            Value::Text(value) => to.serialize_str(value),
            Value::List(items) => to.collect_seq(items.iter().map(Written)),
            Value::Record(attributes) => WrittenObject(attributes).serialize(to),
        }
    }
}

impl Serialize for WrittenObject<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, &Written(value))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_and_null_is_absent() {
        let text = r#"{"a":true,"b":[1,-2,2.5,"x",null],"c":{"d":9223372036854775807},"e":null}"#;
        let Node(Some(value)) = serde_json::from_str(text).unwrap() else {
            panic!("no value")
        };
        let back = serde_json::to_string(&Written(&value)).unwrap();
        assert_eq!(
            back,
            r#"{"a":true,"b":[1,-2,2.5,"x"],"c":{"d":9223372036854775807}}"#
        );
        let big: Node = serde_json::from_str("18446744073709551615").unwrap();
        assert!(matches!(big, Node(Some(Value::Number(_)))));
    }
}
