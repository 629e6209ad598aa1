//! Which model scores and which is compared with it: what follows from all acts, in order.

use store::sqlite::{ModelAct, ModelActKind};

/// One model, pinned: another one that takes its place on the disk is not it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// `name@version`.
    pub model: String,
    /// SHA-256 of its manifest, in hex.
    pub digest: String,
}

/// Where a champion comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `models.champion` of the settings.
    Settings,
    /// A promotion, which goes over the settings until it is taken back.
    Promotion,
}

impl Source {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Promotion => "promotion",
        }
    }
}

/// What all acts together come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The settings' name, and what it was settled on.
    settled: Option<(String, Choice)>,
    /// Promotions that were not taken back, the last one last.
    promoted: Vec<Choice>,
    challenger: Option<Choice>,
    last: u64,
}

impl Standing {
    /// Works it out.
    #[must_use]
    pub fn of(acts: &[ModelAct]) -> Self {
        let mut standing = Self::default();
        for act in acts {
            let choice = act.model.clone().zip(act.digest.clone());
            let choice = choice.map(|(model, digest)| Choice { model, digest });
            match (act.kind, choice) {
                (ModelActKind::Settle, Some(choice)) => {
                    standing.settled = Some((act.reason.clone().unwrap_or_default(), choice));
                }
                (ModelActKind::Promote, Some(choice)) => standing.promoted.push(choice),
                (ModelActKind::Rollback, _) => drop(standing.promoted.pop()),
                (ModelActKind::Shadow, choice) => standing.challenger = choice,
                // Refused by whoever writes acts.
                (ModelActKind::Settle | ModelActKind::Promote, None) => {}
            }
            standing.last = act.number;
        }
        standing
    }

    /// The model that scores. None before the settings' name was ever settled.
    #[must_use]
    pub fn champion(&self) -> Option<&Choice> {
        self.promoted.last().or(self.settled())
    }

    /// Who chose it.
    #[must_use]
    pub const fn source(&self) -> Source {
        if self.promoted.is_empty() {
            Source::Settings
        } else {
            Source::Promotion
        }
    }

    /// What the settings' name was settled on.
    #[must_use]
    pub fn settled(&self) -> Option<&Choice> {
        self.settled.as_ref().map(|(_, choice)| choice)
    }

    /// The name in the settings that was settled.
    #[must_use]
    pub fn setting(&self) -> Option<&str> {
        self.settled.as_ref().map(|(setting, _)| setting.as_str())
    }

    /// The model that is compared with the champion. A challenger that has become the champion
    /// is compared no more; after a rollback it is again.
    #[must_use]
    pub fn challenger(&self) -> Option<&Choice> {
        self.challenger
            .as_ref()
            .filter(|challenger| Some(*challenger) != self.champion())
    }

    /// The champion after a rollback. None when nothing is promoted.
    #[must_use]
    pub fn before(&self) -> Option<&Choice> {
        let (_, earlier) = self.promoted.split_last()?;
        earlier.last().or(self.settled())
    }

    /// Whether anything is promoted.
    #[must_use]
    pub const fn is_promoted(&self) -> bool {
        !self.promoted.is_empty()
    }

    /// Number of the last act.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;

    use super::*;

    fn act(kind: ModelActKind, model: Option<&str>) -> ModelAct {
        ModelAct {
            number: 0,
            kind,
            model: model.map(str::to_owned),
            digest: model.map(|model| format!("digest of {model}")),
            at: Timestamp::MIN,
            by: "os:tester".to_owned(),
            reason: Some("behaviour".to_owned()),
            forced: false,
            previous: None,
            metrics: None,
            journalled: false,
        }
    }

    #[test]
    fn the_champion_follows_from_all_acts_in_order() {
        use ModelActKind::{Promote, Rollback, Settle, Shadow};
        // Each act, and what then holds: champion, source, what a rollback leads to, challenger.
        let story = [
            (Rollback, None, None, "settings", None, None),
            (Settle, Some("a@1"), Some("a@1"), "settings", None, None),
            (
                Shadow,
                Some("a@2"),
                Some("a@1"),
                "settings",
                None,
                Some("a@2"),
            ),
            (
                Promote,
                Some("a@2"),
                Some("a@2"),
                "promotion",
                Some("a@1"),
                None,
            ),
            (
                Promote,
                Some("a@3"),
                Some("a@3"),
                "promotion",
                Some("a@2"),
                Some("a@2"),
            ),
            // The settings change below a promotion: it wins until it is taken back.
            (
                Settle,
                Some("b@1"),
                Some("a@3"),
                "promotion",
                Some("a@2"),
                Some("a@2"),
            ),
            (Rollback, None, Some("a@2"), "promotion", Some("b@1"), None),
            (Rollback, None, Some("b@1"), "settings", None, Some("a@2")),
            (Rollback, None, Some("b@1"), "settings", None, Some("a@2")),
            (Shadow, None, Some("b@1"), "settings", None, None),
        ];
        let mut acts = Vec::new();
        for (number, (kind, model, champion, source, before, challenger)) in
            story.into_iter().enumerate()
        {
            acts.push(act(kind, model));
            let standing = Standing::of(&acts);
            let name = |choice: Option<&Choice>| choice.map(|choice| choice.model.clone());
            assert_eq!(name(standing.champion()).as_deref(), champion, "{number}");
            assert_eq!(standing.source().as_str(), source, "{number}");
            assert_eq!(name(standing.before()).as_deref(), before, "{number}");
            assert_eq!(
                name(standing.challenger()).as_deref(),
                challenger,
                "{number}"
            );
        }
    }
}
