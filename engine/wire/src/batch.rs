//! Many questions at once: AuthZEN 1.0 §7.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::object;
use crate::request::{Incoming, Malformed, RawQuestion, read};

/// When to stop (`options.evaluations_semantic`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Semantic {
    /// Never: every item is answered, in order.
    #[default]
    ExecuteAll,
    /// After the first that is false or failed.
    DenyOnFirstDeny,
    /// After the first that is true.
    PermitOnFirstPermit,
}

/// A batch.
#[derive(Clone, Debug)]
pub enum Batch {
    /// No items: behaves as the single question, and is answered like one.
    Single(Box<Incoming>),
    /// Items, each a question or what is wrong with it.
    Items {
        /// When to stop.
        semantic: Semantic,
        /// The items in order.
        items: Vec<Result<Incoming, Malformed>>,
    },
}

#[derive(Deserialize)]
struct RawBatch<'a> {
    #[serde(borrow, default)]
    evaluations: Option<Vec<&'a RawValue>>,
    #[serde(default, deserialize_with = "object")]
    options: Option<RawOptions>,
}

#[derive(Default, Deserialize)]
struct RawOptions {
    #[serde(default)]
    evaluations_semantic: Option<Semantic>,
}

/// Reads a batch of at most `most` items.
///
/// # Errors
/// `Err(Ok(malformed))` when the payload as a whole is not of this form, `Err(Err(count))` when
/// it has more items than `most`.
pub fn parse(text: &[u8], most: usize) -> Result<Batch, Result<Malformed, usize>> {
    let defaults: RawQuestion = read(text).map_err(Ok)?;
    let batch: RawBatch<'_> = read(text).map_err(Ok)?;
    let items = batch.evaluations.unwrap_or_default();
    if items.is_empty() {
        let single = defaults.into_incoming().map_err(Ok)?;
        return Ok(Batch::Single(Box::new(single)));
    }
    if items.len() > most {
        return Err(Err(items.len()));
    }
    let semantic = batch
        .options
        .unwrap_or_default()
        .evaluations_semantic
        .unwrap_or_default();
    let items = items
        .into_iter()
        .map(|item| parse_item(item, &defaults))
        .collect();
    Ok(Batch::Items { semantic, items })
}

/// An item's member replaces the default whole; nothing is merged below it.
fn parse_item(item: &RawValue, defaults: &RawQuestion) -> Result<Incoming, Malformed> {
    let item: RawQuestion = read(item.get().as_bytes())?;
    RawQuestion {
        subject: item.subject.or_else(|| defaults.subject.clone()),
        action: item.action.or_else(|| defaults.action.clone()),
        resource: item.resource.or_else(|| defaults.resource.clone()),
        context: item.context.or_else(|| defaults.context.clone()),
        result: item.result,
    }
    .into_incoming()
}
