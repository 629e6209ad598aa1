//! What a caller may be permitted to do, one by one and in sets.

macro_rules! permissions {
    ($($name:ident = $action:literal),+ $(,)?) => {
        /// Something that a caller may be permitted to do. The names are those of the Cedar
        /// actions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "as in callers.cedarschema")]
        pub enum Permission {
            $($name,)+
        }

        impl Permission {
            /// Every permission, in the order of `callers.cedarschema`.
            pub const ALL: [Self; [$($action),+].len()] = [$(Self::$name),+];

            /// The Cedar action.
            #[must_use]
            pub const fn action(self) -> &'static str {
                match self {
                    $(Self::$name => $action,)+
                }
            }
        }
    };
}

permissions! {
    Evaluate = "evaluate",
    Access = "access",
    MintTokens = "tokens.mint",
    RequestTokens = "tokens.request",
    ExchangeTokens = "tokens.exchange",
    IntrospectTokens = "tokens.introspect",
    IntrospectAnyTokens = "tokens.introspect_any",
    RevokeTokens = "tokens.revoke",
    RevokeAnyTokens = "tokens.revoke_any",
    CreateSessions = "sessions.create",
    ReadSessions = "sessions.read",
    ReadAnySessions = "sessions.read_any",
    EndSessions = "sessions.end",
    EndAnySessions = "sessions.end_any",
    AssertAssurance = "assert_assurance",
    Replay = "replay",
    SeeRisk = "see_risk",
    SeeAdminReason = "see_admin_reason",
    ConfirmDecisions = "decisions.confirm",
    ConfirmAnyDecisions = "decisions.confirm_any",
    ReadDecisions = "decisions.read",
    ReportEvents = "events.report",
    ReadDevices = "devices.read",
    WriteDevices = "devices.write",
    ReadEntities = "entities.read",
    WriteEntities = "entities.write",
    ReadPolicies = "policies.read",
    WritePolicies = "policies.write",
    ReplayPolicies = "policies.replay",
    ReadModels = "models.read",
    ChooseModels = "models.choose",
    ReadKeys = "keys.read",
    WriteKeys = "keys.write",
    ReadStreams = "ssf.read",
    ManageStreams = "ssf.manage",
    ClearHeard = "heard.clear",
}

impl Permission {
    /// Whether a token may carry it, as a scope. Not what would let a token live on after its end:
    /// making keys, and getting further tokens. That takes the key itself.
    #[must_use]
    pub const fn is_for_tokens(self) -> bool {
        !matches!(
            self,
            Self::WriteKeys | Self::RequestTokens | Self::ExchangeTokens
        )
    }

    /// The permission of this name.
    #[must_use]
    pub fn from_action(action: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|permission| permission.action() == action)
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PermissionSet(u64);

// One bit each.
const _: () = assert!(Permission::ALL.len() <= 64);

impl PermissionSet {
    /// Whether it holds this one.
    #[must_use]
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & Self::bit(permission) != 0
    }

    /// What both hold.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all that it holds is in the other too.
    #[must_use]
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The permissions of these names. A name that means nothing here, perhaps of a later
    /// version, permits nothing.
    #[must_use]
    pub fn of_actions<'a>(actions: impl IntoIterator<Item = &'a str>) -> Self {
        actions
            .into_iter()
            .filter_map(Permission::from_action)
            .collect()
    }

    /// Those of a token's scopes: see [`Permission::is_for_tokens`].
    #[must_use]
    pub fn of_scope(scope: &str) -> Self {
        let named = Self::of_actions(scope.split(' '));
        named.iter().filter(|one| one.is_for_tokens()).collect()
    }

    /// What it holds, in the order of [`Permission::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL
            .into_iter()
            .filter(move |permission| self.contains(*permission))
    }

    const fn bit(permission: Permission) -> u64 {
        1 << permission as u32
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(
            permissions
                .into_iter()
                .fold(0, |set, permission| set | Self::bit(permission)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_put_in() {
        let all: PermissionSet = Permission::ALL.into_iter().collect();
        assert_eq!(all.iter().count(), Permission::ALL.len());
        for permission in Permission::ALL {
            assert_eq!(
                Permission::from_action(permission.action()),
                Some(permission)
            );
            let one = PermissionSet::of_actions([permission.action(), "nonsense", ""]);
            assert_eq!(one.iter().collect::<Vec<_>>(), [permission]);
            assert!(one.is_within(all) && one.is_within(one));
            assert!(!all.is_within(one));
            assert_eq!(one.and(all), one);
            assert_eq!(one.and(PermissionSet::default()), PermissionSet::default());
            let scope = PermissionSet::of_scope(permission.action());
            let wanted = if permission.is_for_tokens() {
                one
            } else {
                PermissionSet::default()
            };
            assert_eq!(scope, wanted);
        }
    }
}
