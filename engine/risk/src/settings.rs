//! The settings of the score, checked once.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rules::RULES;

/// How the parts of the score are put together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Weight of the model, 0 to 1; with `rule_weight` it makes 1.
    pub model_weight: f64,
    /// Weight of the rules.
    pub rule_weight: f64,
    /// Where MEDIUM, HIGH and critical begin (R12 to R15).
    pub levels: [u8; 3],
    /// Subject types that can be asked for a step-up.
    pub interactive_types: Vec<String>,
    /// The attribute of stored subjects that holds their time zone.
    pub time_zone_attribute: String,
    /// The time zone of subjects that have none stored, an IANA name. None: it is not known.
    pub time_zone: Option<String>,
    /// How long what is recorded of a device's posture is believed, seconds.
    pub posture_max_age_seconds: u32,
    /// Points of each rule, in the order of [`RULES`].
    #[serde(
        rename = "rules",
        serialize_with = "write_points",
        deserialize_with = "read_points"
    )]
    pub rule_points: [u8; RULES.len()],
}

/// Points by the rule's name, so that what was kept says itself which rules there were.
fn write_points<S: Serializer>(points: &[u8; RULES.len()], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(RULES.iter().map(|rule| rule.id).zip(points))
}

fn read_points<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; RULES.len()], D::Error> {
    let named = BTreeMap::<String, u8>::deserialize(from)?;
    let mut points = [0; RULES.len()];
    for (rule, slot) in RULES.iter().zip(&mut points) {
        *slot = *named
            .get(rule.id)
            .ok_or_else(|| D::Error::custom(format!("there was no rule `{}`", rule.id)))?;
    }
    if named.len() > RULES.len() {
        return Err(D::Error::custom("there were other rules"));
    }
    Ok(points)
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model_weight: 0.7,
            rule_weight: 0.3,
            levels: [30, 60, 80],
            interactive_types: vec!["User".to_owned(), "user".to_owned()],
            time_zone_attribute: "time_zone".to_owned(),
            time_zone: None,
            posture_max_age_seconds: 7 * 86_400,
            rule_points: RULES.map(|rule| rule.points),
        }
    }
}

impl Settings {
    /// Sets the points of rules by name.
    ///
    /// # Errors
    /// The names that no rule has, and the points over 100.
    pub fn set_rules(&mut self, points: &BTreeMap<String, i64>) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        for (id, points) in points {
            let slot = RULES
                .iter()
                .zip(&mut self.rule_points)
                .find(|(rule, _)| rule.id == id)
                .map(|(_, slot)| slot);
            match (slot, u8::try_from(*points)) {
                (Some(slot), Ok(points)) if points <= 100 => *slot = points,
                (Some(_), _) => wrong.push(format!("`risk.rules.{id}` is {points}: 0 to 100")),
                (None, _) => wrong.push(format!(
                    "`risk.rules.{id}` is no rule: there are {}",
                    RULES.map(|rule| rule.id).join(", ")
                )),
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// How many of the three levels a score reaches (R15: half open): 0 below all of them, 3 from
    /// the highest on.
    #[must_use]
    pub fn levels_reached(&self, score: u8) -> usize {
        self.levels.iter().filter(|least| score >= **least).count()
    }

    /// Whether subjects of this type can be asked for a step-up.
    #[must_use]
    pub fn is_interactive(&self, subject_type: &str) -> bool {
        self.interactive_types
            .iter()
            .any(|kind| kind == subject_type)
    }

    /// Content hash, as recorded with every decision.
    #[must_use]
    pub fn revision(&self) -> String {
        let text = format!("{self:?}");
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        hex::encode(digest.as_ref().get(..8).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_the_same_after_they_were_kept() {
        let mut settings = Settings {
            model_weight: 0.65,
            rule_weight: 0.35,
            levels: [20, 50, 90],
            interactive_types: vec!["Person".to_owned()],
            ..Settings::default()
        };
        let points = BTreeMap::from([("tor".to_owned(), 77)]);
        settings.set_rules(&points).unwrap();
        let text = serde_json::to_string(&settings).unwrap();
        let read: Settings = serde_json::from_str(&text).unwrap();
        assert_eq!(read, settings);
        assert_eq!(read.revision(), settings.revision());
        let less = text.replace("\"tor\":77,", "");
        assert!(serde_json::from_str::<Settings>(&less).is_err());
    }
}
