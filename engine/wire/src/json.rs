//! JSON values between text and [`Value`].

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use domain::Value;
use domain::value::Attributes;
use serde::de::value::MapAccessDeserializer;
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

/// Reads the members of an object. A name that comes twice is refused (I-JSON, RFC 7493 §2.3):
/// two readers could each believe another of the two.
fn read_members<'de, A: MapAccess<'de>>(mut members: A) -> Result<Attributes, A::Error> {
    let mut attributes = Attributes::new();
    let mut absent = BTreeSet::new();
    while let Some(name) = members.next_key::<String>()? {
        if attributes.contains_key(&name) || absent.contains(&name) {
            return Err(A::Error::custom(format!("duplicate member `{name}`")));
        }
        match members.next_value::<Node>()? {
            Node(Some(value)) => {
                attributes.insert(name, value);
            }
            Node(None) => {
                absent.insert(name);
            }
        }
    }
    Ok(attributes)
}

/// Reads a member that is an object; absent and `null` are none. For `deserialize_with`: a struct
/// by itself would also be read from an array of its members' values.
///
/// # Errors
/// When it is anything else, or not of the form of `T`.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Option::<Whole<T>>::deserialize(from).map(|found| found.map(|Whole(value)| value))
}

/// A value that is read from an object and from nothing else.
struct Whole<T>(T);

struct WholeVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for WholeVisitor<T> {
    type Value = Whole<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Whole<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Whole)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(WholeVisitor(PhantomData))
    }
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

    #[test]
    fn a_name_that_comes_twice_is_refused_wherever_it_stands() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"a":null}"#,
            r#"{"a":null,"a":1}"#,
            r#"{"a":{"b":[{"c":1,"c":1}]}}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            let error = serde_json::from_str::<Object>(text)
                .unwrap_err()
                .to_string();
            assert!(error.contains("duplicate member"), "{text}: {error}");
        }
        assert!(serde_json::from_str::<Object>(r#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
    }
}
