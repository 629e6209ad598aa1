//! What a role may do. Decided by the Cedar policies beside this file, once for each role.

use std::collections::BTreeMap;

use domain::{
    AccessRequest, Action, Assurance, EntityRef, Facts, Name, NameError, Party, RequestContext,
    Rung, Timestamp, Value,
};
use policy::{Directory, Policies, Problems, Question, SourceFile};

use super::permission::{Permission, PermissionSet};

/// A role of callers (`keys create --role …`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Role {
    /// Puts questions for an application.
    Gateway,
    /// Writes policies.
    Author,
    /// Keeps the model: replays, trains.
    Keeper,
    /// Runs the engine.
    Operator,
    /// A program that gets tokens for itself and for those on whose behalf it works.
    Service,
    /// Another system that hears of what happens: streams of shared signals (SSF 1.0).
    Receiver,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 7] = [
        Self::Gateway,
        Self::Author,
        Self::Keeper,
        Self::Operator,
        Self::Service,
        Self::Receiver,
        Self::Admin,
    ];

    /// The word on the command line and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Author => "author",
            Self::Keeper => "keeper",
            Self::Operator => "operator",
            Self::Service => "service",
            Self::Receiver => "receiver",
            Self::Admin => "admin",
        }
    }

    /// The role of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// What each role may do.
#[derive(Clone, Debug)]
pub struct Permissions(BTreeMap<Role, PermissionSet>);

impl Permissions {
    /// Asks the policies about every role.
    ///
    /// # Errors
    /// When the engine's own policies do not load; a test sees that they do.
    pub fn load() -> Result<Self, Problems> {
        let policies = Policies::load(&[
            SourceFile::new("callers.cedarschema", include_str!("callers.cedarschema")),
            SourceFile::new("callers.cedar", include_str!("callers.cedar")),
        ])?;
        let nobody = Directory::empty(&policies)?;
        let ask = |role: Role, permission: Permission| {
            question(role, permission).is_ok_and(|request| {
                let question = Question {
                    request: &request,
                    facts: &Facts::default(),
                    assurance: Assurance::default(),
                    now: Timestamp::MIN,
                    interactive: false,
                };
                policies.climb(&nobody, &question).rung == Rung::Allow
            })
        };
        let table = Role::ALL.into_iter().map(|role| {
            let granted = Permission::ALL
                .into_iter()
                .filter(|permission| ask(role, *permission));
            (role, granted.collect())
        });
        Ok(Self(table.collect()))
    }

    /// What a role may do.
    #[must_use]
    pub fn of(&self, role: Role) -> PermissionSet {
        self.0.get(&role).copied().unwrap_or_default()
    }

    /// Whether a role may do this.
    #[must_use]
    pub fn allow(&self, role: Role, permission: Permission) -> bool {
        self.of(role).contains(permission)
    }
}

fn question(role: Role, permission: Permission) -> Result<AccessRequest, NameError> {
    let role = Value::Text(role.as_str().to_owned());
    let party = |kind: &str, id: &str| EntityRef::new(kind, id);
    Ok(AccessRequest {
        subject: Party {
            entity: party("Caller", "caller")?,
            properties: [("role".to_owned(), role)].into(),
        },
        action: Action {
            name: Name::new(permission.action())?,
            properties: BTreeMap::new(),
        },
        resource: Party {
            entity: party("Engine", "engine")?,
            properties: BTreeMap::new(),
        },
        context: RequestContext::default(),
        result: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_may_do_what_they_are_for_and_no_more() {
        let permissions = Permissions::load().unwrap();
        let granted = |role: Role| -> Vec<&str> {
            Permission::ALL
                .into_iter()
                .filter(|permission| permissions.allow(role, *permission))
                .map(Permission::action)
                .collect()
        };
        assert_eq!(
            granted(Role::Gateway),
            [
                "evaluate",
                "access",
                "tokens.mint",
                "tokens.request",
                "tokens.exchange",
                "tokens.introspect",
                "tokens.introspect_any",
                "tokens.revoke",
                "sessions.create",
                "sessions.read",
                "sessions.end",
                "assert_assurance",
                "see_risk",
                "see_admin_reason",
                "decisions.confirm",
                "events.report"
            ]
        );
        assert_eq!(
            granted(Role::Service),
            [
                "tokens.request",
                "tokens.exchange",
                "tokens.introspect",
                "tokens.revoke"
            ]
        );
        assert_eq!(
            granted(Role::Receiver),
            ["tokens.request", "ssf.read", "ssf.manage"]
        );
        assert!(!granted(Role::Author).contains(&"replay"));
        assert!(!granted(Role::Author).contains(&"access"));
        assert!(!granted(Role::Keeper).contains(&"tokens.mint"));
        assert!(granted(Role::Keeper).contains(&"replay"));
        for role in Role::ALL {
            let keeps = matches!(role, Role::Keeper | Role::Admin);
            assert_eq!(granted(role).contains(&"models.choose"), keeps, "{role:?}");
            let writes = matches!(role, Role::Author | Role::Admin);
            for action in ["entities.write", "policies.write"] {
                assert_eq!(granted(role).contains(&action), writes, "{role:?}");
            }
        }
        for role in Role::ALL {
            let writes = matches!(role, Role::Author | Role::Admin);
            let replays = granted(role).contains(&"policies.replay");
            assert_eq!(replays, writes, "{role:?}");
            let reads = granted(role).contains(&"policies.read");
            assert_eq!(reads, writes || role == Role::Operator, "{role:?}");
        }
        for (action, who) in [
            ("keys.write", &[Role::Admin][..]),
            ("keys.read", &[Role::Operator, Role::Admin]),
            ("tokens.revoke_any", &[Role::Operator, Role::Admin]),
            ("sessions.read_any", &[Role::Operator, Role::Admin]),
            ("sessions.end_any", &[Role::Operator, Role::Admin]),
            ("heard.clear", &[Role::Operator, Role::Admin]),
            ("sessions.create", &[Role::Gateway, Role::Admin]),
        ] {
            let may: Vec<Role> = Role::ALL
                .into_iter()
                .filter(|role| granted(*role).contains(&action))
                .collect();
            assert_eq!(may, who, "{action}");
        }
        // Who may do a thing to anybody's may do it to their own.
        for role in Role::ALL {
            let granted = granted(role);
            let own = granted
                .iter()
                .filter_map(|action| action.strip_suffix("_any"));
            for own in own {
                assert!(granted.contains(&own), "{role:?}: {own}");
            }
        }
        assert!(!granted(Role::Operator).contains(&"evaluate"));
        assert_eq!(granted(Role::Admin).len(), Permission::ALL.len());
    }
}
