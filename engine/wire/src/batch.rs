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

/// What a batch may hold at most.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Items.
    pub items: usize,
    /// Bytes of all items together, each counted with the defaults that it takes over: so much is
    /// worked on and recorded.
    pub bytes: usize,
}

/// Why a batch could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It is not of this form: HTTP 400.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// HTTP 413.
    #[error("{0} evaluations; at most {1} at once")]
    TooMany(usize, usize),
    /// HTTP 413.
    #[error(
        "{0} bytes with the defaults repeated for each evaluation; at most {1}: send fewer at once"
    )]
    TooLarge(usize, usize),
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

/// Reads a batch.
///
/// # Errors
/// When the payload as a whole is not of this form, or holds more than the limits.
pub fn parse(text: &[u8], limits: BatchLimits) -> Result<Batch, BatchError> {
    let defaults: RawQuestion = read(text)?;
    let batch: RawBatch<'_> = read(text)?;
    let items = batch.evaluations.unwrap_or_default();
    if items.is_empty() {
        return Ok(Batch::Single(Box::new(defaults.into_incoming()?)));
    }
    if items.len() > limits.items {
        return Err(BatchError::TooMany(items.len(), limits.items));
    }
    let own: usize = items.iter().map(|item| item.get().len()).sum();
    let shared = text.len().saturating_sub(own);
    let expanded = shared.saturating_mul(items.len()).saturating_add(own);
    if expanded > limits.bytes {
        return Err(BatchError::TooLarge(expanded, limits.bytes));
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
