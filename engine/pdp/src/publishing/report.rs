//! What there is to say about the policy sets, for the command line and HTTP alike.

use domain::Rung;
use serde::Serialize;
use store::sqlite::PolicyAct;

use super::shadow::{Shadow, Tally};
use super::standing::Standing;

/// The live set and the one in the shadow.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The set that decides. None before an engine has ever started here.
    pub live: Option<Live>,
    /// The set that would be live after going back.
    pub before: Option<String>,
    /// The set that is evaluated beside the live one.
    pub shadow: Option<InShadow>,
    /// What the folder holds and cannot be taken up.
    pub refused: Option<Refused>,
}

/// The set that decides.
#[derive(Clone, Debug, Serialize)]
pub struct Live {
    /// Its revision.
    pub revision: String,
    /// `folder`, `published` or `promoted`.
    pub source: &'static str,
    /// How many policies there are; only the engine knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policies: Option<usize>,
}

/// The set in the shadow.
#[derive(Clone, Debug, Serialize)]
pub struct InShadow {
    /// Its revision.
    pub revision: String,
    /// What has come of it since the engine began; only the engine knows.
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    pub seen: Option<Seen>,
    /// Why it is not evaluated, although it was put there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// What has come of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// Since when.
    pub since: String,
    /// Accesses that both were asked about.
    pub compared: u64,
    /// Of these, with another outcome.
    pub differing: u64,
    /// Accesses by both outcomes; those that never came are left out.
    pub outcomes: Vec<Outcomes>,
    /// The last that differ, the newest first.
    pub examples: Vec<Example>,
}

/// How often both outcomes came together.
#[derive(Clone, Debug, Serialize)]
pub struct Outcomes {
    /// The live set's.
    pub live: &'static str,
    /// The candidate's.
    pub shadow: &'static str,
    /// How often.
    pub count: u64,
}

/// One access that differs.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    /// Look at it with `GET /v1/decisions/ID`.
    pub decision_id: String,
    /// What was answered.
    pub live: &'static str,
    /// What the candidate makes of it.
    pub shadow: &'static str,
}

/// What is refused.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// Its revision.
    pub revision: String,
    /// Since when.
    pub since: String,
    /// The first fault.
    pub why: String,
}

/// One act.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "as in the store, by the same names")]
pub struct Act {
    pub number: u64,
    pub act: &'static str,
    pub revision: Option<String>,
    pub previous: Option<String>,
    pub at: String,
    pub by: String,
    pub why: Option<String>,
}

impl Report {
    /// Of what holds.
    #[must_use]
    pub fn of(standing: &Standing) -> Self {
        Self {
            live: standing.live().map(|live| Live {
                revision: live.revision.clone(),
                source: live.by_act.as_str(),
                policies: None,
            }),
            before: standing.before().map(|before| before.revision.clone()),
            shadow: standing.shadow().map(|revision| InShadow {
                revision: revision.to_owned(),
                seen: None,
                fault: None,
            }),
            refused: standing.refusal().map(|refusal| Refused {
                revision: refusal.revision.clone(),
                since: wire::time::format(refusal.at),
                why: refusal.why.clone(),
            }),
        }
    }
}

impl Seen {
    /// Of a candidate at work.
    #[must_use]
    pub fn of(shadow: &Shadow) -> Self {
        let tally: &Tally = &shadow.tally;
        let mut outcomes = Vec::new();
        for live in Rung::ALL {
            for candidate in Rung::ALL {
                let count = tally.count(live, candidate);
                if count > 0 {
                    outcomes.push(Outcomes {
                        live: live.as_str(),
                        shadow: candidate.as_str(),
                        count,
                    });
                }
            }
        }
        let sum = |wanted: fn(&&Outcomes) -> bool| {
            let counted = outcomes.iter().filter(wanted);
            counted.map(|outcomes| outcomes.count).sum()
        };
        Self {
            since: wire::time::format(tally.since),
            compared: sum(|_| true),
            differing: sum(|outcomes| outcomes.live != outcomes.shadow),
            examples: tally
                .examples()
                .into_iter()
                .map(|example| Example {
                    decision_id: example.decision_id,
                    live: example.live.as_str(),
                    shadow: example.shadow.as_str(),
                })
                .collect(),
            outcomes,
        }
    }
}

impl From<PolicyAct> for Act {
    fn from(act: PolicyAct) -> Self {
        Self {
            number: act.number,
            act: act.kind.as_str(),
            revision: act.revision,
            previous: act.previous,
            at: wire::time::format(act.at),
            by: act.by,
            why: act.why,
        }
    }
}
