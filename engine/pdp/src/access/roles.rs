//! What a role may do. Decided by the Cedar policies beside this file, once for each role.

use std::collections::BTreeMap;

use domain::{
    AccessRequest, Action, Assurance, EntityRef, Facts, Name, NameError, Party, RequestContext,
    Rung, Timestamp, Value,
};
use policy::{Directory, Policies, Problems, Question, SourceFile};

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
    /// Everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::Gateway,
        Self::Author,
        Self::Keeper,
        Self::Operator,
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
            Self::Admin => "admin",
        }
    }

    /// The role of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// Something that a caller may be permitted to do. The names are those of the Cedar actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in callers.cedarschema")]
pub enum Permission {
    Evaluate,
    Access,
    MintTokens,
    AssertAssurance,
    Replay,
    SeeRisk,
    SeeAdminReason,
    ConfirmDecisions,
    ConfirmAnyDecisions,
    ReadDecisions,
    ReportEvents,
    ReadDevices,
    WriteDevices,
    ReadEntities,
    WriteEntities,
    ReadPolicies,
    WritePolicies,
    ReadModels,
    ChooseModels,
    ReplayPolicies,
}

impl Permission {
    const ALL: [Self; 20] = [
        Self::Evaluate,
        Self::Access,
        Self::MintTokens,
        Self::AssertAssurance,
        Self::Replay,
        Self::SeeRisk,
        Self::SeeAdminReason,
        Self::ConfirmDecisions,
        Self::ConfirmAnyDecisions,
        Self::ReadDecisions,
        Self::ReportEvents,
        Self::ReadDevices,
        Self::WriteDevices,
        Self::ReadEntities,
        Self::WriteEntities,
        Self::ReadPolicies,
        Self::WritePolicies,
        Self::ReadModels,
        Self::ChooseModels,
        Self::ReplayPolicies,
    ];

    /// The Cedar action.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::Evaluate => "evaluate",
            Self::Access => "access",
            Self::MintTokens => "tokens.mint",
            Self::AssertAssurance => "assert_assurance",
            Self::Replay => "replay",
            Self::SeeRisk => "see_risk",
            Self::SeeAdminReason => "see_admin_reason",
            Self::ConfirmDecisions => "decisions.confirm",
            Self::ConfirmAnyDecisions => "decisions.confirm_any",
            Self::ReadDecisions => "decisions.read",
            Self::ReportEvents => "events.report",
            Self::ReadDevices => "devices.read",
            Self::WriteDevices => "devices.write",
            Self::ReadEntities => "entities.read",
            Self::WriteEntities => "entities.write",
            Self::ReadPolicies => "policies.read",
            Self::WritePolicies => "policies.write",
            Self::ReadModels => "models.read",
            Self::ChooseModels => "models.choose",
            Self::ReplayPolicies => "policies.replay",
        }
    }
}

/// What each role may do.
#[derive(Clone, Debug)]
pub struct Permissions(BTreeMap<Role, [bool; Permission::ALL.len()]>);

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
            (
                role,
                Permission::ALL.map(|permission| ask(role, permission)),
            )
        });
        Ok(Self(table.collect()))
    }

    /// Whether a role may do this.
    #[must_use]
    pub fn allow(&self, role: Role, permission: Permission) -> bool {
        self.0
            .get(&role)
            .and_then(|granted| granted.get(permission as usize))
            .copied()
            .unwrap_or(false)
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
                "assert_assurance",
                "see_risk",
                "see_admin_reason",
                "decisions.confirm",
                "events.report"
            ]
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
        assert!(!granted(Role::Operator).contains(&"evaluate"));
        assert_eq!(granted(Role::Admin).len(), Permission::ALL.len());
    }
}
