//! Which policy set is live and which is in the shadow: what follows from all acts, in order.
//!
//! The newest act wins: a set that was published stays live until the folder changes, somebody
//! publishes another, or goes back.

use domain::Timestamp;
use store::sqlite::{PolicyAct, PolicyActKind};

/// How a set came to be live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// The set.
    pub revision: String,
    /// `folder`, `published` or `promoted`: what made it live.
    pub by_act: PolicyActKind,
}

/// What the folder holds that could not be taken up, as long as nothing newer is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its revision.
    pub revision: String,
    /// When it was refused first.
    pub at: Timestamp,
    /// The first fault.
    pub why: String,
}

/// What all acts together come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Sets that were live and were not gone back from, the live one last.
    live: Vec<Since>,
    /// What the folder held when it was last taken up.
    folder: Option<String>,
    refusal: Option<Refusal>,
    shadow: Option<String>,
    last: u64,
}

impl Standing {
    /// Works it out.
    #[must_use]
    pub fn of(acts: &[PolicyAct]) -> Self {
        let mut standing = Self::default();
        for act in acts {
            standing.add(act);
        }
        standing
    }

    fn add(&mut self, act: &PolicyAct) {
        self.last = act.number;
        match (act.kind, act.revision.clone()) {
            (PolicyActKind::Folder, Some(revision)) => {
                self.refusal = None;
                // A folder that is again as it was when it was last taken up has nothing new to
                // say: what was published since goes on.
                if self.folder.as_ref() != Some(&revision) {
                    self.folder = Some(revision.clone());
                    self.go_live(revision, PolicyActKind::Folder);
                }
            }
            (PolicyActKind::Refused, Some(revision)) => {
                let since = self.refusal.as_ref().map_or(act.at, |refusal| refusal.at);
                self.refusal = Some(Refusal {
                    revision,
                    at: since,
                    why: act.why.clone().unwrap_or_default(),
                });
            }
            (PolicyActKind::Published, Some(revision)) => {
                self.refusal = None;
                self.go_live(revision, PolicyActKind::Published);
            }
            (PolicyActKind::Promoted, Some(revision)) => {
                self.refusal = None;
                self.shadow = None;
                self.go_live(revision, PolicyActKind::Promoted);
            }
            (PolicyActKind::Shadowed, revision) => self.shadow = revision,
            (PolicyActKind::Dropped, _) => self.shadow = None,
            (PolicyActKind::RolledBack, _) => {
                self.refusal = None;
                if self.live.len() > 1 {
                    self.live.pop();
                }
            }
            // Refused by whoever writes acts.
            (
                PolicyActKind::Folder
                | PolicyActKind::Refused
                | PolicyActKind::Published
                | PolicyActKind::Promoted,
                None,
            ) => {}
        }
    }

    fn go_live(&mut self, revision: String, by_act: PolicyActKind) {
        if self.live().is_none_or(|live| live.revision != revision) {
            self.live.push(Since { revision, by_act });
        }
    }

    /// The set that decides. None before an engine has ever started here.
    #[must_use]
    pub fn live(&self) -> Option<&Since> {
        self.live.last()
    }

    /// The set that would be live after going back.
    #[must_use]
    pub fn before(&self) -> Option<&Since> {
        self.live.iter().rev().nth(1)
    }

    /// The sets that are live, could be gone back to soon, or are in the shadow: their texts are
    /// needed.
    #[must_use]
    pub fn needed(&self, back: usize) -> Vec<&str> {
        let live = self.live.iter().rev().take(back.saturating_add(1));
        let live = live.map(|since| since.revision.as_str());
        live.chain(self.shadow()).collect()
    }

    /// What the folder held when it was last taken up.
    #[must_use]
    pub fn folder(&self) -> Option<&str> {
        self.folder.as_deref()
    }

    /// What the folder holds and cannot be taken up.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// The set that is evaluated beside the live one.
    #[must_use]
    pub fn shadow(&self) -> Option<&str> {
        self.shadow.as_deref()
    }

    /// Number of the last act.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PolicyActKind::{Dropped, Folder, Promoted, Published, Refused, RolledBack, Shadowed};

    #[test]
    fn the_newest_act_says_which_set_is_live() {
        // What is done; live, before, shadow and refused after it.
        let story = [
            (Folder, "f1", "f1", "", "", ""),
            (Published, "p1", "p1", "f1", "", ""),
            (Shadowed, "c1", "p1", "f1", "c1", ""),
            (Refused, "f2", "p1", "f1", "c1", "f2"),
            // The slip is put right, and what was published goes on.
            (Folder, "f1", "p1", "f1", "c1", ""),
            (Folder, "f3", "f3", "p1", "c1", ""),
            (Promoted, "c1", "c1", "f3", "", ""),
            (RolledBack, "f3", "f3", "p1", "", ""),
            (RolledBack, "p1", "p1", "f1", "", ""),
            (Refused, "f4", "p1", "f1", "", "f4"),
            (Published, "p2", "p2", "p1", "", ""),
            (Published, "p2", "p2", "p1", "", ""),
            (Shadowed, "c2", "p2", "p1", "c2", ""),
            (Dropped, "c2", "p2", "p1", "", ""),
            (RolledBack, "p1", "p1", "f1", "", ""),
            (RolledBack, "f1", "f1", "", "", ""),
            (RolledBack, "f1", "f1", "", "", ""),
            (Folder, "f4", "f4", "f1", "", ""),
        ];
        let mut acts = Vec::new();
        for (number, (kind, revision, live, before, shadow, refused)) in
            story.into_iter().enumerate()
        {
            acts.push(PolicyAct {
                number: number as u64 + 1,
                kind,
                revision: Some(revision.to_owned()),
                at: Timestamp::from_seconds(number as i64),
                by: "somebody".to_owned(),
                why: None,
                previous: None,
                journalled: false,
            });
            let standing = Standing::of(&acts);
            let name = |since: Option<&Since>| {
                since.map_or_else(String::new, |since| since.revision.clone())
            };
            assert_eq!(name(standing.live()), live, "{number}");
            assert_eq!(name(standing.before()), before, "{number}");
            assert_eq!(standing.shadow().unwrap_or_default(), shadow, "{number}");
            let held = standing.refusal().map(|refusal| refusal.revision.as_str());
            assert_eq!(held.unwrap_or_default(), refused, "{number}");
        }
    }
}
