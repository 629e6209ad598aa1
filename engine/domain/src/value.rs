//! Attribute values that callers send along: properties and free context.

use std::collections::BTreeMap;

/// A JSON value without `null` (an attribute that is `null` is absent: I-JSON, AuthZEN 1.0).
///
/// It says nothing yet of the type that a schema wants; `policy` converts it under the schema's
/// guidance and never reads an entity reference or an extension call out of it by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number in the range of `i64`.
    Long(i64),
    /// Any other finite number.
    Number(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Value>),
    /// An object; no name comes twice.
    Record(BTreeMap<String, Value>),
}

/// Attributes by name.
pub type Attributes = BTreeMap<String, Value>;
