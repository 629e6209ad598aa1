//! What happened, in the words of CAEP 1.0 and RISC 1.0. Pure.

use std::collections::BTreeMap;

use domain::{EntityRef, SecurityEventKind};
use ssf::Event;
use ssf::event::{Common, Initiator};
use ssf::subject::{Complex, Subject};
use store::sqlite::{self, NewSecurityEvent};

use super::body::{AccountStatus, Body};

/// What streams can be told of, by the URIs of the standards.
pub(crate) const SUPPORTED: [&str; 10] = [
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked",
    "https://schemas.openid.net/secevent/caep/event-type/session-established",
    "https://schemas.openid.net/secevent/caep/event-type/risk-level-change",
    "https://schemas.openid.net/secevent/caep/event-type/assurance-level-change",
    "https://schemas.openid.net/secevent/caep/event-type/token-claims-change",
    "https://schemas.openid.net/secevent/caep/event-type/credential-change",
    "https://schemas.openid.net/secevent/caep/event-type/device-compliance-change",
    "https://schemas.openid.net/secevent/risc/event-type/account-disabled",
    "https://schemas.openid.net/secevent/risc/event-type/account-enabled",
    "https://schemas.openid.net/secevent/risc/event-type/account-purged",
];

/// In whose words assurance is told: the engine's own, 0 to 3 (`acr_levels`).
pub(crate) const ASSURANCE: &str = "urn:portreeve:assurance";

/// Bytes of a reason that are told.
const REASON_BYTES_MAX: usize = 500;
/// Bytes of claims at most: signed and written as a token they stay within what receivers take, our
/// own among them ([`token::jws::TOKEN_BYTES_MAX`]).
pub(crate) const CLAIMS_BYTES_MAX: usize = (token::jws::TOKEN_BYTES_MAX - 1200) / 4 * 3;

/// The reason, or its beginning.
fn reason(why: &str) -> String {
    if why.len() <= REASON_BYTES_MAX {
        return why.to_owned();
    }
    let end = why.floor_char_boundary(REASON_BYTES_MAX);
    format!("{}…", why.get(..end).unwrap_or_default())
}

/// The URI of an event, under which receivers ask for it.
pub(crate) fn uri(event: &Event) -> String {
    // An object with one member: see `Event`.
    match serde_json::to_value(event) {
        Ok(serde_json::Value::Object(one)) => one.into_iter().next().map(|(uri, _)| uri),
        _ => None,
    }
    .unwrap_or_default()
}

/// Something that happened, as streams are told of it. None for what is for people alone.
pub(crate) fn event(happened: &NewSecurityEvent, body: Body) -> Option<Event> {
    let common = common(happened);
    Some(match body {
        Body::SessionRevoked => Event::SessionRevoked(common),
        Body::SessionEstablished(body) => Event::SessionEstablished {
            acr: body.acr,
            amr: body.amr,
            common,
        },
        Body::RiskLevelChange(body) => Event::RiskLevelChange {
            principal: principal(happened).to_owned(),
            current_level: body.current_level,
            previous_level: body.previous_level,
            risk_reason: Some(reason(&happened.why)),
            common,
        },
        Body::AssuranceLevelChange(body) => Event::AssuranceLevelChange {
            namespace: ASSURANCE.to_owned(),
            current_level: body.current_level.to_string(),
            previous_level: Some(body.previous_level.to_string()),
            change_direction: direction(body.previous_level, body.current_level),
            common,
        },
        Body::TokenClaimsChange(body) => Event::TokenClaimsChange {
            claims: body.claims,
            common,
        },
        Body::CredentialChange(body) => Event::CredentialChange {
            credential_type: body.credential_type,
            change_type: body.change_type,
            friendly_name: None,
            common,
        },
        Body::DeviceComplianceChange(body) => Event::DeviceComplianceChange {
            previous_status: body.previous_status,
            current_status: body.current_status,
            common,
        },
        Body::AccountStatusChange(body) => match body.status {
            AccountStatus::Disabled => Event::AccountDisabled {
                reason: body.reason,
                common,
            },
            AccountStatus::Enabled => Event::AccountEnabled(common),
            AccountStatus::Purged => Event::AccountPurged(common),
        },
        Body::Alert(_) => return None,
    })
}

fn common(happened: &NewSecurityEvent) -> Common {
    Common {
        event_timestamp: Some(happened.at.seconds()),
        initiating_entity: Some(match happened.initiator {
            sqlite::Initiator::Admin => Initiator::Admin,
            sqlite::Initiator::User => Initiator::User,
            sqlite::Initiator::Policy => Initiator::Policy,
            sqlite::Initiator::System => Initiator::System,
        }),
        // The interoperability profile wants one; who wrote none has the kind.
        reason_admin: BTreeMap::from([(
            "en".to_owned(),
            if happened.why.is_empty() {
                happened.kind.as_str().to_owned()
            } else {
                reason(&happened.why)
            },
        )]),
        reason_user: BTreeMap::new(),
    }
}

fn principal(happened: &NewSecurityEvent) -> &'static str {
    if happened.session_id.is_some() {
        "SESSION"
    } else if happened.subject.is_some() || happened.device_id.is_none() {
        "USER"
    } else {
        "DEVICE"
    }
}

fn direction(before: u8, now: u8) -> Option<String> {
    match before.cmp(&now) {
        std::cmp::Ordering::Less => Some("increase".to_owned()),
        std::cmp::Ordering::Greater => Some("decrease".to_owned()),
        std::cmp::Ordering::Equal => None,
    }
}

/// What a subject is called outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    /// The transmitter.
    pub(crate) iss: &'a str,
    /// The subject's mail address, where one is stored and may be told.
    pub(crate) email: Option<&'a str>,
}

impl Names<'_> {
    fn iss_sub(&self, subject: &EntityRef) -> Subject {
        Subject::IssSub {
            iss: self.iss.to_owned(),
            // As tokens say it, so that a receiver finds whom it knows from them.
            sub: token::claims::subject(subject.kind.as_str(), subject.id.as_str()),
        }
    }

    fn user(&self, subject: &EntityRef) -> Subject {
        match self.email {
            Some(email) => Subject::Email {
                email: email.to_owned(),
            },
            None => self.iss_sub(subject),
        }
    }

    /// By every name that a receiver may have asked for.
    fn every_name(&self, subject: &EntityRef) -> Subject {
        let mut identifiers = vec![self.iss_sub(subject)];
        if let Some(email) = self.email {
            identifiers.push(Subject::Email {
                email: email.to_owned(),
            });
        }
        Subject::Aliases { identifiers }
    }
}

/// Whom it is about, as streams are told: a user alone by the plain name, anything else as a
/// complex subject. None where nobody could know who is meant.
pub(crate) fn subject(happened: &NewSecurityEvent, names: Names<'_>) -> Option<Subject> {
    let user = happened.subject.as_ref().map(|user| names.user(user));
    let complex = facets(happened, user);
    match complex {
        Complex {
            user: None,
            session: None,
            device: None,
            ..
        } => None,
        Complex {
            user: Some(user),
            session: None,
            device: None,
            ..
        } => Some(user),
        complex => Some(Subject::Complex(Box::new(complex))),
    }
}

/// The same by every name, to hold against the subjects that a receiver named.
pub(crate) fn every_name(happened: &NewSecurityEvent, names: Names<'_>) -> Complex {
    let user = happened.subject.as_ref().map(|user| names.every_name(user));
    facets(happened, user)
}

fn facets(happened: &NewSecurityEvent, user: Option<Subject>) -> Complex {
    let opaque = |id: &String| Subject::Opaque { id: id.clone() };
    // A credential and an account are somebody's, whatever session or device it was seen in.
    let is_of_account = matches!(
        happened.kind,
        SecurityEventKind::CredentialChange | SecurityEventKind::AccountStatusChange
    );
    Complex {
        user,
        session: happened
            .session_id
            .as_ref()
            .filter(|_| !is_of_account)
            .map(opaque),
        device: happened
            .device_id
            .as_ref()
            .filter(|_| !is_of_account)
            .map(opaque),
        ..Complex::default()
    }
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn happened(kind: SecurityEventKind, body: Value) -> NewSecurityEvent {
        NewSecurityEvent {
            at: Timestamp::from_seconds(1_795_215_660),
            kind,
            subject: Some(EntityRef::new("User", "alice").unwrap()),
            session_id: Some("ses_1".to_owned()),
            device_id: None,
            initiator: sqlite::Initiator::Policy,
            by: "engine".to_owned(),
            why: "Risk threshold exceeded".to_owned(),
            body: Some(body.to_string()),
            record: None,
        }
    }

    fn told(happened: &NewSecurityEvent) -> Option<Value> {
        let body = Body::read(happened.kind, happened.body.as_deref()).unwrap();
        assert_eq!(body.kind(), happened.kind);
        let again = body.to_text();
        assert_eq!(Body::read(happened.kind, again.as_deref()).unwrap(), body);
        event(happened, body).map(|event| {
            assert!(SUPPORTED.contains(&uri(&event).as_str()), "{event:?}");
            serde_json::to_value(event).unwrap()
        })
    }

    #[test]
    fn g12_every_kind_is_told_in_the_words_of_the_standards() {
        use SecurityEventKind as Kind;
        for (kind, body, name, wanted) in [
            (
                Kind::SessionRevoked,
                json!({}),
                "session-revoked",
                json!({}),
            ),
            (
                Kind::SessionEstablished,
                json!({"ip": "192.0.2.7", "amr": ["pwd"], "acr": "urn:x"}),
                "session-established",
                json!({"amr": ["pwd"], "acr": "urn:x"}),
            ),
            (
                Kind::RiskLevelChange,
                json!({"previous_level": "LOW", "current_level": "HIGH", "score": 82}),
                "risk-level-change",
                json!({"principal": "SESSION", "previous_level": "LOW", "current_level": "HIGH",
                    "risk_reason": "Risk threshold exceeded"}),
            ),
            (
                Kind::AssuranceLevelChange,
                json!({"previous_level": 1, "current_level": 3}),
                "assurance-level-change",
                json!({"namespace": ASSURANCE, "previous_level": "1", "current_level": "3",
                    "change_direction": "increase"}),
            ),
            (
                Kind::TokenClaimsChange,
                json!({"claims": {"role": "reader"}}),
                "token-claims-change",
                json!({"claims": {"role": "reader"}}),
            ),
            (
                Kind::CredentialChange,
                json!({"credential_type": "password", "change_type": "update"}),
                "credential-change",
                json!({"credential_type": "password", "change_type": "update"}),
            ),
            (
                Kind::DeviceComplianceChange,
                json!({"previous_status": "compliant", "current_status": "not-compliant"}),
                "device-compliance-change",
                json!({"previous_status": "compliant", "current_status": "not-compliant"}),
            ),
            (
                Kind::AccountStatusChange,
                json!({"status": "disabled", "reason": "hijacking"}),
                "account-disabled",
                json!({"reason": "hijacking"}),
            ),
            (
                Kind::AccountStatusChange,
                json!({"status": "purged"}),
                "account-purged",
                json!({}),
            ),
        ] {
            let told = told(&happened(kind, body)).unwrap();
            let (uri, mut told) = {
                let (uri, told) = told.as_object().unwrap().iter().next().unwrap();
                (uri.clone(), told.clone())
            };
            assert!(uri.ends_with(&format!("/{name}")), "{uri}");
            let told = told.as_object_mut().unwrap();
            assert_eq!(told.remove("event_timestamp"), Some(json!(1_795_215_660)));
            assert_eq!(told.remove("initiating_entity"), Some(json!("policy")));
            assert_eq!(
                told.remove("reason_admin"),
                Some(json!({"en": "Risk threshold exceeded"}))
            );
            assert_eq!(Value::Object(told.clone()), wanted, "{name}");
        }
        let alert = json!({"alert": "handle-reuse", "severity": "high", "done": "notified"});
        assert_eq!(told(&happened(Kind::Alert, alert)), None);
    }

    #[test]
    fn whom_it_is_about_is_named_as_tokens_do_and_by_mail_where_that_may_be_told() {
        let names = Names {
            iss: "https://pdp.example",
            email: None,
        };
        let shown = |happened: &NewSecurityEvent, names| {
            serde_json::to_value(subject(happened, names).unwrap()).unwrap()
        };
        let revoked = happened(SecurityEventKind::SessionRevoked, json!({}));
        let user = json!({"format": "iss_sub", "iss": "https://pdp.example", "sub": "User/alice"});
        let session = json!({"format": "opaque", "id": "ses_1"});
        let complex = json!({"format": "complex", "user": user, "session": session});
        assert_eq!(shown(&revoked, names), complex);
        let changed = happened(SecurityEventKind::CredentialChange, json!({}));
        assert_eq!(shown(&changed, names), user);
        let with_mail = Names {
            email: Some("alice@example.com"),
            ..names
        };
        let mail = json!({"format": "email", "email": "alice@example.com"});
        assert_eq!(shown(&changed, with_mail), mail);
        let by_all = every_name(&changed, with_mail);
        for name in [user, mail] {
            let name: Subject = serde_json::from_value(name).unwrap();
            assert!(by_all.user.as_ref().unwrap().matches(&name));
        }
        let mut nobody = revoked;
        (nobody.subject, nobody.session_id) = (None, None);
        assert_eq!(subject(&nobody, names), None);
    }
}
