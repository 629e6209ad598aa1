//! How a story is written: what is given, what happens, what is wanted.

use super::*;

/// One story.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    /// What it shows.
    pub(super) about: String,
    /// The requirements that it covers.
    pub(super) covers: Vec<String>,
    /// Settings of the score, over the defaults.
    #[serde(default)]
    pub(super) settings: GivenSettings,
    /// Cedar text beside the shipped policies.
    #[serde(default)]
    pub(super) more_policies: String,
    /// Cedar text instead of the shipped policies.
    #[serde(default)]
    pub(super) only_policies: Option<String>,
    /// Schema instead of the shipped one.
    #[serde(default)]
    pub(super) only_schema: Option<String>,
    /// Entities instead of the shipped ones.
    #[serde(default)]
    pub(super) entities: Option<Value>,
    /// Trusted accesses before the story begins: none by default.
    #[serde(default)]
    pub(super) history: u32,
    /// Whose story it is.
    #[serde(default = "alice")]
    pub(super) subject: Named,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GivenSettings {
    pub(super) model_weight: Option<f64>,
    pub(super) rule_weight: Option<f64>,
    #[serde(default)]
    pub(super) rules: BTreeMap<String, i64>,
    /// Every rule that is not named gives no points.
    #[serde(default)]
    pub(super) no_other_rules: bool,
    /// The snapshot is older than it may be.
    #[serde(default)]
    pub(super) stale: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) id: String,
}

pub(super) fn alice() -> Named {
    Named {
        kind: "User".to_owned(),
        id: "alice".to_owned(),
    }
}

/// One request of a story, and what must come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// Seconds since the step before; the first is an hour after the history.
    #[serde(default)]
    pub(super) after: i64,
    /// Members of the question, over the ordinary one; `null` takes one out.
    #[serde(default)]
    pub(super) request: Value,
    #[serde(default)]
    pub(super) signals: GivenSignals,
    /// How often in a row, a second apart; all but the last are not looked at.
    #[serde(default = "once")]
    pub(super) times: u32,
    /// A step-up to this level is passed after the answer.
    #[serde(default)]
    pub(super) passes: Option<i64>,
    pub(super) want: Want,
}

pub(super) const fn once() -> u32 {
    1
}

/// Signals, over those of alice at her desk in Paris.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GivenSignals {
    /// `paris`, `osaka`, …, `absent` or `unavailable`.
    pub(super) place: Option<String>,
    /// An AS number, `absent` or `unavailable`.
    pub(super) network: Option<Value>,
    /// Flags, or `absent` or `unavailable`.
    pub(super) anonymity: Option<Value>,
    /// `unavailable`; otherwise what the story has taught.
    pub(super) profile: Option<String>,
    /// A record, `absent` or `unavailable`.
    pub(super) device: Option<Value>,
    /// How it began: `{ago, place, network, ip, agent, agent_version, device, os, os_version,
    /// fingerprint, ended, of, level, level_ago}`.
    pub(super) session: Option<Value>,
    /// What the session's last minutes look like: `{patterns: [names], anomaly}`.
    pub(super) behaviour: Option<Behaviour>,
    /// How many other subjects have just failed from the address.
    pub(super) failed_here: u64,
    /// 0 to 3, `absent` or `unavailable`.
    pub(super) sensitivity: Option<Value>,
    /// Bytes, `absent` or `unavailable`.
    pub(super) size: Option<Value>,
    /// What others said: `{disabled, credential_hours_ago, risk, risk_hours_ago}`.
    pub(super) heard: Option<Value>,
    /// The store has been failing for too long.
    pub(super) given_up: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Behaviour {
    #[serde(default)]
    pub(super) patterns: Vec<String>,
    pub(super) anomaly: Option<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Want {
    pub(super) outcome: Option<String>,
    pub(super) cause: Option<String>,
    pub(super) score: Option<i64>,
    pub(super) score_at_least: Option<i64>,
    pub(super) score_at_most: Option<i64>,
    pub(super) level: Option<String>,
    /// Exactly these policies.
    pub(super) policies: Option<Vec<String>>,
    /// These rules among others.
    pub(super) rules: Vec<String>,
    /// None of these.
    pub(super) no_rules: Vec<String>,
    /// Facts by name, as `signals.new_country`; `null` when unknown.
    pub(super) facts: BTreeMap<String, Value>,
    pub(super) unavailable: Option<Vec<String>>,
    /// `baselines`, `wait` or `counters`.
    pub(super) lesson: Option<String>,
    /// Features among the factors.
    pub(super) factors: Vec<String>,
    /// Text within the reasons.
    pub(super) reason_user: Option<String>,
    pub(super) reason_admin: Option<String>,
    /// Accesses that the profile has learnt from, afterwards.
    pub(super) learnt: Option<u32>,
    /// Members of the record, by JSON pointer.
    pub(super) record: BTreeMap<String, Value>,
}
