//! The score: the model's part, the rules' part, and what each feature had to do with it.

use domain::facts::RiskFacts;
use domain::signal::Source;
use domain::{AccessRequest, Factor, RiskAssessment, RiskLevel, RiskScore};

use crate::extract::Evidence;
use crate::features::{CATALOGUE, FEATURES, Feature, Features};
use crate::model::Model;
use crate::rules::{Circumstances, RULES};
use crate::settings::Settings;
use crate::words;

/// Scores a request (R9 to R11, R16). None when a part is not a number, which is a deny.
#[must_use]
pub fn assess(
    request: &AccessRequest,
    evidence: &Evidence,
    model: &Model,
    settings: &Settings,
) -> Option<RiskAssessment> {
    let circumstances = Circumstances {
        request,
        facts: &evidence.facts,
        interactive: settings.is_interactive(request.subject.entity.kind.as_str()),
    };
    let reading = model.read(&evidence.features)?;
    let rules = fire(&circumstances, settings);

    let model_part = settings.model_weight * f64::from(reading.points);
    let rule_part = settings.rule_weight * f64::from(rules.points);
    let score = blend(settings, reading.points, rules.points)?;

    let ordinary = settings.model_weight * f64::from(model.ordinary());
    let mut points = share_out(model_part - ordinary, &reading.pushes);
    for (total, share) in points.iter_mut().zip(share_out(rule_part, &rules.shares)) {
        *total += share;
    }
    let baseline = whole(ordinary);
    let factors = factors(&points, evidence, &circumstances);
    let told: i32 = factors.iter().map(|factor| factor.contribution).sum();
    Some(RiskAssessment {
        score,
        level: RiskLevel::of(score, settings.levels),
        model_score: RiskScore::from_points(f64::from(reading.points))?,
        rule_score: RiskScore::from_points(f64::from(rules.points))?,
        baseline,
        other: i32::from(score.points()) - baseline - told,
        factors,
        rules: rules.fired,
        model: model.name().clone(),
    })
}

/// The score with its parts, where the model's points are known: for those who look at many
/// requests, and explain few of them. None when it is not a number.
#[must_use]
pub fn score_of(
    request: &AccessRequest,
    evidence: &Evidence,
    model_points: u8,
    settings: &Settings,
) -> Option<(RiskScore, RiskFacts)> {
    let circumstances = Circumstances {
        request,
        facts: &evidence.facts,
        interactive: settings.is_interactive(request.subject.entity.kind.as_str()),
    };
    let rule_points = fire(&circumstances, settings).points;
    let score = blend(settings, model_points, rule_points)?;
    let facts = RiskFacts {
        score: Some(score.into()),
        model_score: Some(i64::from(model_points)),
        rule_score: Some(i64::from(rule_points)),
        level: Some(RiskLevel::of(score, settings.levels).as_str().to_owned()),
    };
    Some((score, facts))
}

/// What another model would have made the score: its points for the same features, blended with
/// the same rules' part. None when its part is not a number.
#[must_use]
pub fn rescore(
    model: &Model,
    features: &Features,
    rule_score: RiskScore,
    settings: &Settings,
) -> Option<RiskScore> {
    blend(settings, model.points(features)?, rule_score.points())
}

/// Round half up of the weighted sum (R11), worked out in millionths: 0.7 · 45 in binary fractions
/// is a little under 31.5, and would be rounded down.
fn blend(settings: &Settings, model: u8, rules: u8) -> Option<RiskScore> {
    let millionths = |weight: f64, points: u8| (weight * 1e6).round() * f64::from(points);
    let sum = millionths(settings.model_weight, model) + millionths(settings.rule_weight, rules);
    RiskScore::from_points(((sum + 5e5) / 1e6).floor())
}

/// The words of `context.risk`.
#[must_use]
pub fn risk_facts(risk: &RiskAssessment) -> RiskFacts {
    RiskFacts {
        score: Some(risk.score.into()),
        model_score: Some(risk.model_score.into()),
        rule_score: Some(risk.rule_score.into()),
        level: Some(risk.level.as_str().to_owned()),
    }
}

struct Fired {
    /// Capped at 100.
    points: u8,
    /// Points by feature, before the cap.
    shares: [f64; FEATURES],
    fired: Vec<&'static str>,
}

fn fire(circumstances: &Circumstances<'_>, settings: &Settings) -> Fired {
    let mut fired = Fired {
        points: 0,
        shares: [0.0; FEATURES],
        fired: Vec::new(),
    };
    for (rule, points) in RULES.iter().zip(settings.rule_points) {
        if points > 0 && (rule.fires)(circumstances) {
            fired.points = fired.points.saturating_add(points).min(100);
            if let Some(share) = fired.shares.get_mut(rule.feature as usize) {
                *share += f64::from(points);
            }
            fired.fired.push(rule.id);
        }
    }
    fired
}

/// Shares `total` points out in proportion to the pushes that point the same way.
fn share_out(total: f64, pushes: &[f64; FEATURES]) -> [f64; FEATURES] {
    let towards = |push: f64| {
        if total > 0.0 {
            push.max(0.0)
        } else {
            push.min(0.0)
        }
    };
    let sum: f64 = pushes.iter().copied().map(towards).sum();
    if total == 0.0 || sum == 0.0 {
        return [0.0; FEATURES];
    }
    pushes.map(|push| total * towards(push) / sum)
}

/// What moved the score by a point or more, and every source that failed, the weightiest first.
fn factors(
    points: &[f64; FEATURES],
    evidence: &Evidence,
    circumstances: &Circumstances<'_>,
) -> Vec<Factor> {
    let mut factors: Vec<Factor> = CATALOGUE
        .iter()
        .zip(points)
        .filter(|(_, points)| whole(**points) != 0)
        .map(|(description, points)| Factor {
            feature: description.name,
            value: evidence.features.get(description.feature),
            contribution: whole(*points),
            reason: words::sentence(description.feature, evidence, circumstances),
        })
        .collect();
    factors.sort_by_key(|factor| std::cmp::Reverse(factor.contribution.abs()));
    factors.extend(evidence.facts.unavailable.iter().map(|source| Factor {
        feature: feature_of(*source).map_or(source.name(), |feature| {
            CATALOGUE
                .get(feature as usize)
                .map_or(source.name(), |description| description.name)
        }),
        value: None,
        contribution: 0,
        reason: format!("The source `{}` did not answer.", source.name()),
    }));
    factors
}

/// The feature that suffers most when a source fails.
const fn feature_of(source: Source) -> Option<Feature> {
    match source {
        Source::GeoCity => Some(Feature::CountrySurprise),
        Source::GeoAsn => Some(Feature::AsnSurprise),
        Source::GeoAnonymous => Some(Feature::Anonymiser),
        Source::Device => Some(Feature::DeviceDistrust),
        Source::Session => Some(Feature::SessionDrift),
        Source::Entities => Some(Feature::ResourceSensitivity),
        Source::Profile => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "points lie within ±100")]
fn whole(points: f64) -> i32 {
    points.round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r11_the_blend_is_exact_for_all_parts() {
        let settings = Settings::default();
        for model in 0..=100_u8 {
            for rules in 0..=100_u8 {
                let wanted = (7 * u32::from(model) + 3 * u32::from(rules) + 5) / 10;
                let score = blend(&settings, model, rules).unwrap();
                assert_eq!(u32::from(score.points()), wanted, "{model} and {rules}");
            }
        }
    }
}
