//! From what was found of a session to what is done with it. Pure.

use domain::{Level, RiskScore, Rung, SessionRecord, SessionTerms, Tier, Timestamp, Wanted};

use super::rules::{Verdict, level_of, tier_of};
use crate::sessions::{Change, tier};

/// A score that moved by fewer points than this, within its level, is not noted.
const NOTED: u8 = 5;

/// What was found of a live session.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// What it stands on is gone.
    pub(super) fault: Option<&'static str>,
    /// Its score; none when it is not defined.
    pub(super) score: Option<RiskScore>,
    /// What the score comes to.
    pub(super) verdict: Verdict,
    /// What the policies say of it, where they have a word for it and could be asked.
    pub(super) rung: Option<Rung>,
    /// It was let go on by all that there is to know: a source that does not answer makes no
    /// session better than it was.
    pub(super) is_well: bool,
}

/// Why something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// What the session stands on is gone (M9, M10).
    Fault(&'static str),
    /// The score (M7, M10).
    Threshold,
    /// The score (M8).
    Unusual,
    /// The policies.
    Policy,
    /// The score is up, and asks for a stricter tier.
    Tier,
}

impl Why {
    /// In words, for records, events and people (M8, M10).
    pub(super) fn reason(self) -> String {
        match self {
            Self::Fault(fault) => format!("Health check failed: {fault}"),
            Self::Threshold => "Risk threshold exceeded".to_owned(),
            Self::Unusual => "Unusual activity detected".to_owned(),
            Self::Policy => "Policy".to_owned(),
            Self::Tier => "Risk level changed".to_owned(),
        }
    }

    /// In a word, for alerts. None: nobody need be alerted.
    pub(super) const fn alert(self) -> Option<&'static str> {
        match self {
            Self::Fault(_) => Some("health-check"),
            Self::Threshold => Some("risk-threshold"),
            Self::Unusual => Some("unusual-activity"),
            Self::Policy => Some("policy"),
            Self::Tier => None,
        }
    }
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// It ends.
    End(Why),
    /// It goes on, tighter.
    Tighten(Change, Why),
    /// It goes on in a tier that is less strict, at this score: what had it tightened is over, and
    /// a step-up was passed since.
    Relax(Tier, u8),
    /// It goes on; its score is noted.
    Note(Change),
    /// It goes on, and nothing is new.
    Nothing,
}

/// Plans. `levels` are `risk.levels`.
pub(super) fn plan(
    session: &SessionRecord,
    terms: &SessionTerms,
    found: &Found,
    levels: [u8; 3],
    now: Timestamp,
) -> Plan {
    if let Some(fault) = found.fault {
        return Plan::End(Why::Fault(fault));
    }
    if found.verdict == Verdict::Ends {
        return Plan::End(Why::Threshold);
    }
    if found.rung == Some(Rung::Deny) {
        return Plan::End(Why::Policy);
    }
    let (level, why) = match (found.verdict, found.rung) {
        (Verdict::Reauthenticates, _) => (Level::Mfa, Why::Unusual),
        (_, Some(Rung::Mfa)) => (Level::Mfa, Why::Policy),
        (_, Some(Rung::Challenge)) => (Level::Challenge, Why::Policy),
        _ => (Level::None, Why::Tier),
    };
    let wanted = (level > waits_for(terms)).then_some(Wanted { level, since: now });
    let tier = found
        .score
        .map(|score| tier_of(score, levels))
        .filter(|tier| *tier > terms.tier);
    let is_fine = found.is_well && (found.verdict, level) == (Verdict::GoesOn, Level::None);
    let relaxed = found
        .score
        .filter(|_| is_fine && tier::may_relax(terms, &session.assurance, session.birth.at))
        .map(|score| (tier_of(score, levels), score.points()))
        .filter(|(to, _)| *to < terms.tier);
    let change = Change {
        score: found.score.map(RiskScore::points),
        tier,
        wanted,
    };
    if let Some((to, score)) = relaxed {
        return Plan::Relax(to, score);
    }
    match (wanted, tier) {
        (Some(_), _) => Plan::Tighten(change, why),
        (None, Some(_)) => Plan::Tighten(change, Why::Tier),
        (None, None) if is_worth_noting(terms.score, found.score, levels) => Plan::Note(change),
        (None, None) => Plan::Nothing,
    }
}

/// What is left to do of what was planned before: what was done or proven meanwhile is not done
/// again.
pub(super) fn still(session: &SessionRecord, terms: &SessionTerms, plan: &Plan) -> Plan {
    let (change, why) = match plan {
        Plan::Tighten(change, why) => (change, why),
        // The score that it was found at may be over.
        Plan::Relax(..) => return Plan::Nothing,
        plan => return plan.clone(),
    };
    let waits_for = waits_for(terms);
    let wanted = change
        .wanted
        .filter(|wanted| !wanted.is_met_by(&session.assurance) && wanted.level > waits_for);
    let tier = change.tier.filter(|tier| *tier > terms.tier);
    match (wanted, tier) {
        (None, None) => Plan::Nothing,
        _ => Plan::Tighten(
            Change {
                wanted,
                tier,
                ..change.clone()
            },
            if wanted.is_some() { *why } else { Why::Tier },
        ),
    }
}

/// Until a step-up in the session has taken it away, whatever was proven elsewhere.
fn waits_for(terms: &SessionTerms) -> Level {
    terms.wanted.map_or(Level::None, |wanted| wanted.level)
}

impl Plan {
    /// Whether something is done that others are told of.
    pub(super) const fn is_act(&self) -> bool {
        matches!(self, Self::End(_) | Self::Tighten(..) | Self::Relax(..))
    }

    /// Whether it comes to more than another one for the same session.
    pub(super) fn exceeds(&self, other: &Self) -> bool {
        self.weight() > other.weight()
    }

    fn weight(&self) -> (u8, Level, Option<Tier>) {
        match self {
            Self::Nothing => (0, Level::None, None),
            Self::Note(_) | Self::Relax(..) => (1, Level::None, None),
            Self::Tighten(change, _) => {
                let level = change.wanted.map_or(Level::None, |wanted| wanted.level);
                (2, level, change.tier)
            }
            Self::End(_) => (3, Level::None, None),
        }
    }
}

fn is_worth_noting(before: Option<u8>, now: Option<RiskScore>, levels: [u8; 3]) -> bool {
    let Some(now) = now else { return false };
    let Some(before) = before.and_then(|before| RiskScore::from_points(f64::from(before))) else {
        return true;
    };
    now.points().abs_diff(before.points()) >= NOTED
        || level_of(now, levels) != level_of(before, levels)
}

/// The level at which a session of a tier is told to be (CAEP 1.0 risk-level-change).
pub(super) const fn told_level(tier: Tier) -> ssf::event::RiskLevel {
    match tier {
        Tier::Standard => ssf::event::RiskLevel::Low,
        Tier::Restricted => ssf::event::RiskLevel::Medium,
        Tier::Strict => ssf::event::RiskLevel::High,
    }
}

#[cfg(test)]
mod tests {
    use domain::{Assurance, EntityRef, SessionBirth};

    use super::*;

    const LEVELS: [u8; 3] = [30, 60, 80];
    const NOW: Timestamp = Timestamp::from_seconds(1_803_888_000);

    #[expect(clippy::needless_pass_by_value, reason = "it is made for the call")]
    fn planned(terms: SessionTerms, found: &Found) -> Plan {
        let session = SessionRecord {
            id: "ses_1".to_owned(),
            subject: EntityRef::new("User", "alice").unwrap(),
            birth: SessionBirth::default(),
            last_seen: NOW,
            sight: None,
            assurance: Assurance::default(),
            ended: false,
            terms: Some(terms.clone()),
        };
        plan(&session, &terms, found, LEVELS, NOW)
    }

    fn found(score: u8, verdict: Verdict, rung: Option<Rung>) -> Found {
        Found {
            fault: None,
            score: RiskScore::from_points(f64::from(score)),
            verdict,
            rung,
            is_well: matches!(rung, None | Some(Rung::Allow)),
        }
    }

    fn terms(score: u8) -> SessionTerms {
        SessionTerms {
            granted_score: Some(score),
            score: Some(score),
            ..SessionTerms::default()
        }
    }

    fn wanted(plan: &Plan) -> Option<Level> {
        match plan {
            Plan::Tighten(change, _) => change.wanted.map(|wanted| wanted.level),
            _ => None,
        }
    }

    #[test]
    fn m9_what_could_not_be_found_out_ends_nothing() {
        let unknown = Found {
            fault: None,
            score: None,
            verdict: Verdict::GoesOn,
            rung: None,
            is_well: false,
        };
        assert_eq!(planned(terms(10), &unknown), Plan::Nothing);
        let gone = Found {
            fault: Some("it is gone"),
            ..unknown
        };
        let Plan::End(why) = planned(terms(10), &gone) else {
            panic!("it goes on");
        };
        assert_eq!(why.reason(), "Health check failed: it is gone", "M10");
    }

    #[test]
    fn m8_a_proof_is_wanted_once() {
        let up = found(65, Verdict::Reauthenticates, None);
        let first = planned(terms(10), &up);
        assert_eq!(wanted(&first), Some(Level::Mfa));
        let waits = |level| SessionTerms {
            tier: Tier::Strict,
            score: Some(65),
            wanted: Some(Wanted { level, since: NOW }),
            ..terms(10)
        };
        assert_eq!(planned(waits(Level::Mfa), &up), Plan::Nothing);
        let more = planned(waits(Level::Challenge), &up);
        assert_eq!(wanted(&more), Some(Level::Mfa));
        let asks = |rung| found(10, Verdict::GoesOn, Some(rung));
        let challenged = planned(terms(10), &asks(Rung::Challenge));
        assert_eq!(wanted(&challenged), Some(Level::Challenge));
        assert_eq!(
            planned(terms(10), &asks(Rung::Deny)),
            Plan::End(Why::Policy)
        );
        assert_eq!(planned(terms(10), &asks(Rung::Allow)), Plan::Nothing);
    }

    #[test]
    fn only_what_has_changed_is_noted() {
        for (before, now, is_noted) in [(10, 14, false), (10, 15, true), (14, 10, false)] {
            let plan = planned(
                terms(before),
                &found(now, Verdict::GoesOn, Some(Rung::Allow)),
            );
            assert_eq!(matches!(plan, Plan::Note(_)), is_noted, "{before} to {now}");
        }
        let up = planned(terms(29), &found(31, Verdict::Tightens, Some(Rung::Allow)));
        let Plan::Tighten(change, Why::Tier) = up else {
            panic!("{up:?}");
        };
        assert_eq!((change.tier, change.wanted), (Some(Tier::Restricted), None));
    }

    #[test]
    fn a1_a2_a3_a_lower_score_relaxes_after_a_step_up_and_not_before() {
        let lower = found(10, Verdict::GoesOn, Some(Rung::Allow));
        let tight = SessionTerms {
            tier: Tier::Restricted,
            tightened_at: Some(NOW),
            score: Some(12),
            ..terms(35)
        };
        let stepped_up = |seconds: i64| SessionTerms {
            stepped_up_at: Some(NOW.plus_seconds(seconds)),
            ..tight.clone()
        };
        assert_eq!(planned(tight.clone(), &lower), Plan::Nothing);
        assert_eq!(planned(stepped_up(-1), &lower), Plan::Nothing);
        let relaxes = Plan::Relax(Tier::Standard, 10);
        assert_eq!(planned(stepped_up(1), &lower), relaxes);
        // Not while a source does not answer, a policy asks for more, or the score is as high.
        let unwell = Found {
            is_well: false,
            ..lower.clone()
        };
        assert_eq!(planned(stepped_up(1), &unwell), Plan::Nothing);
        let asks = found(10, Verdict::GoesOn, Some(Rung::Challenge));
        assert!(matches!(planned(stepped_up(1), &asks), Plan::Tighten(..)));
        let as_high = found(31, Verdict::GoesOn, Some(Rung::Allow));
        assert!(matches!(planned(stepped_up(1), &as_high), Plan::Note(_)));
        // What was strict takes MFA.
        let strict = SessionTerms {
            tier: Tier::Strict,
            ..stepped_up(1)
        };
        assert_eq!(planned(strict, &lower), Plan::Nothing);
    }
}
