//! serde, behind its feature: a forest goes as its binary form, parameters by name. Both are
//! checked on the way in; parameters that claim to be valid have to be.

use crate::forest::IsolationForest;
use crate::hyperparams::{IsolationForestParams, IsolationForestValidParams};
use linfa::{Float, ParamGuard};
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

/// Parameters as they are written.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters<R> {
    n_trees: usize,
    sample_size: usize,
    max_depth: Option<usize>,
    extension_level: usize,
    column_fraction: f64,
    contamination: Option<f64>,
    threshold: Option<f64>,
    n_threads: usize,
    rng: R,
}

impl<F, R: Serialize + Clone> Serialize for IsolationForestValidParams<F, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parameters = Parameters {
            n_trees: self.n_trees,
            sample_size: self.sample_size,
            max_depth: self.max_depth,
            extension_level: self.extension_level,
            column_fraction: self.column_fraction,
            contamination: self.contamination,
            threshold: self.threshold,
            n_threads: self.n_threads,
            rng: self.rng.clone(),
        };
        parameters.serialize(serializer)
    }
}

impl<F, R: Serialize + Clone> Serialize for IsolationForestParams<F, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, F, R: Deserialize<'de>> Deserialize<'de> for IsolationForestParams<F, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parameters = Parameters::deserialize(deserializer)?;
        Ok(Self(IsolationForestValidParams {
            n_trees: parameters.n_trees,
            sample_size: parameters.sample_size,
            max_depth: parameters.max_depth,
            extension_level: parameters.extension_level,
            column_fraction: parameters.column_fraction,
            contamination: parameters.contamination,
            threshold: parameters.threshold,
            n_threads: parameters.n_threads,
            rng: parameters.rng,
            float: PhantomData,
        }))
    }
}

impl<'de, F: Float, R: Deserialize<'de>> Deserialize<'de> for IsolationForestValidParams<F, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let params = IsolationForestParams::deserialize(deserializer)?;
        params.check().map_err(D::Error::custom)
    }
}
