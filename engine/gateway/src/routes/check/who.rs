//! Who a route is about, and the token that it hands on.

use domain::{EntityRef, Name};

use super::super::raw::{RawRoute, RawSubject, RawToken};
use super::super::{SubjectRule, TokenRule};
use super::Checking;

impl Checking<'_> {
    pub(super) fn subject(&mut self, raw: &RawSubject) -> Option<SubjectRule> {
        let kind = raw
            .kind
            .as_ref()
            .map(|kind| self.name("subject.type", kind));
        let from: Vec<Option<Name>> = raw
            .from
            .iter()
            .map(|kind| self.name("subject.from", kind))
            .collect();
        let from: Vec<Name> = from.into_iter().collect::<Option<_>>()?;
        match (kind, &raw.id, &raw.claim) {
            (kind, None, None) => Some(SubjectRule::Credential {
                kind: match kind {
                    Some(kind) => Some(kind?),
                    None => None,
                },
                from,
            }),
            (Some(kind), Some(id), None) => {
                if !from.is_empty() {
                    self.fault(
                        "subject.from",
                        "is for credentials, and `id` needs none; take one of them out",
                    );
                }
                let id = self.name("subject.id", id);
                Some(SubjectRule::Fixed(EntityRef {
                    kind: kind?,
                    id: id?,
                }))
            }
            (Some(kind), None, Some(claim)) => Some(SubjectRule::Claim {
                kind: kind?,
                from,
                claim: claim.clone(),
            }),
            (_, Some(_), Some(_)) => {
                self.fault("subject", "has both `id` and `claim`; take one of them out");
                None
            }
            (None, _, _) => {
                self.fault("subject.type", "is missing, for example `type = \"User\"`");
                None
            }
        }
    }

    pub(super) fn token(&mut self, raw: &RawToken) -> Option<TokenRule> {
        if raw.audience.is_empty() {
            self.fault(
                "token.audience",
                "is empty; name the service that the token is for",
            );
        }
        let scope: Vec<Option<Name>> = raw
            .scope
            .iter()
            .map(|scope| {
                if scope.contains([' ', '"', '\\']) {
                    self.fault(
                        "token.scope",
                        format!("`{scope}` is not one scope; make it a list"),
                    );
                }
                self.name("token.scope", scope)
            })
            .collect();
        Some(TokenRule {
            audience: raw.audience.clone(),
            scope: scope.into_iter().collect::<Option<_>>()?,
        })
    }

    /// An address or a name is unique to whoever gave it out.
    pub(super) fn issuer(&mut self, raw: &RawRoute) {
        if let Some(claim) = raw.subject.claim.as_deref()
            && !raw.claims.contains_key("iss")
        {
            self.warn(
                "subject.claim",
                format!(
                    "every issuer may say what it likes in `{claim}`; name the one that is meant \
                     with `claims = {{ iss = \"https://…\" }}`"
                ),
            );
        }
    }
}
