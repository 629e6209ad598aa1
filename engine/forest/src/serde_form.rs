//! serde, behind its feature: a forest goes as its binary form, checks and all.

use crate::forest::IsolationForest;
use linfa::Float;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// As bytes: the binary form, with its checks.
impl<F: Float> Serialize for IsolationForest<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de, F: Float> Deserialize<'de> for IsolationForest<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytes(PhantomData))
    }
}

struct Bytes<F>(PhantomData<F>);

impl<'de, F: Float> Visitor<'de> for Bytes<F> {
    type Value = IsolationForest<F>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the bytes of an isolation forest")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        IsolationForest::from_bytes(bytes).map_err(E::custom)
    }

    /// Formats without bytes, such as JSON, have a sequence of numbers.
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = sequence.next_element()? {
            bytes.push(byte);
        }
        self.visit_bytes(&bytes)
    }
}
