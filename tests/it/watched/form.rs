//! What a story of watched sessions looks like.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A story over hours, by a clock that the story moves.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Story {
    /// What happens, for people.
    pub(super) about: String,
    /// Requirements.
    pub(super) covers: Vec<String>,
    /// More settings, as TOML.
    #[serde(default)]
    pub(super) settings: String,
    /// Files of the shipped policies that are left out.
    #[serde(default)]
    pub(super) without_policies: Vec<String>,
    /// More policies, beside the shipped ones.
    #[serde(default)]
    pub(super) more_policies: String,
    /// Ordinary accesses of alice on the working days before.
    #[serde(default)]
    pub(super) history: u32,
    /// In their order.
    pub(super) steps: Vec<Step>,
}

/// One thing that happens, and what is wanted then.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// Seconds since the step before.
    #[serde(default)]
    pub(super) after: i64,
    /// So often, a second apart; only the last one is held against what is wanted.
    #[serde(default = "once")]
    pub(super) times: u32,
    /// A session is opened under this name.
    pub(super) open: Option<String>,
    /// Something is asked in the session of this name.
    pub(super) ask: Option<String>,
    /// Members over those of the ordinary request: of `subject`, `action`, `resource`, `context`.
    #[serde(default)]
    pub(super) request: Value,
    /// The session's public id is sent, and not its handle.
    #[serde(default)]
    pub(super) by_id: bool,
    /// It is asked, passed or told by a client that did not open the session and knows its id.
    #[serde(default)]
    pub(super) by_another: bool,
    /// It is told as a fact that a second factor was passed in the session of this name.
    pub(super) fact: Option<String>,
    /// Somebody else sends a handle that the session has had: its place among them, from 0.
    pub(super) stolen: Option<usize>,
    /// A step-up is passed in the session of this name, at `level` or 3.
    pub(super) step_up: Option<String>,
    /// See there.
    pub(super) level: Option<u8>,
    /// A step-up is passed for the last decision: its level.
    pub(super) passes: Option<u8>,
    /// A device's record is written: `id`, and what `PUT /v1/devices` takes.
    pub(super) device: Option<BTreeMap<String, Value>>,
    /// A device's record is removed.
    pub(super) no_device: Option<String>,
    /// An entity is stored: `type`, `id`, and what `PUT /v1/entities` takes.
    pub(super) entity: Option<BTreeMap<String, Value>>,
    /// An entity is removed, `Type/id`.
    pub(super) no_entity: Option<String>,
    /// The key of the client that opens sessions is revoked.
    #[serde(default)]
    pub(super) no_key: bool,
    /// Done to the database behind the engine's back.
    pub(super) sql: Option<String>,
    /// The monitor's rounds that are due by now are made.
    #[serde(default)]
    pub(super) monitor: bool,
    /// What is wanted.
    #[serde(default)]
    pub(super) want: Want,
}

const fn once() -> u32 {
    1
}

/// What is wanted after a step.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Want {
    /// Of an answer.
    pub(super) outcome: Option<String>,
    /// Of an answer.
    pub(super) cause: Option<String>,
    /// Of an answer: the score lies within these.
    pub(super) score: Option<[i64; 2]>,
    /// Of any request over HTTP.
    pub(super) status: Option<u16>,
    /// A round cannot be made.
    #[serde(default)]
    pub(super) fails: bool,
    /// How many sessions a round looked at.
    pub(super) looked: Option<usize>,
    /// How many acts of the monitor are in the journal by now.
    pub(super) recorded: Option<usize>,
    /// How many handles sessions have had, by name.
    #[serde(default)]
    pub(super) handles: BTreeMap<String, usize>,
    /// Members of sessions by name, as `GET /v1/sessions/{id}` shows them. Text with `…` at its
    /// end is a beginning.
    #[serde(default)]
    pub(super) session: BTreeMap<String, BTreeMap<String, Value>>,
    /// What was told since the last step that wanted to know: kinds, or the words of alerts.
    pub(super) told: Option<Vec<String>>,
}
