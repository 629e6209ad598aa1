//! Okta's System Log: the `LogEvent` objects of `GET /api/v1/logs`, as an array or one a line,
//! and the same in the `detail` of Amazon EventBridge.
//!
//! Members and event types as Okta's reference has them (System Log API, event types). A sign-in
//! is told by `user.session.start`; what other systems did in the course of one is passed over,
//! or it would count twice. A refused push is `user.mfa.okta_verify.deny_push` in the classic
//! engine and a failed `user.authentication.auth_via_mfa` in Identity Engine, never both.

use serde_json::{Value as Json, json};

use super::Read;
use super::json::{address, flag, number, one, text};

/// Families of event types that change the organisation.
const ADMINISTRATION: [&str; 13] = [
    "application.",
    "device.",
    "group.",
    "iam.",
    "network_zone.",
    "org.",
    "policy.lifecycle.",
    "policy.rule.",
    "security.",
    "system.api_token.",
    "user.account.privilege.",
    "user.lifecycle.",
    "zone.",
];
/// Families with which people change what is their own.
const OWN: [&str; 2] = ["user.account.", "user.mfa.factor."];

pub(super) fn read(record: &Json) -> Read {
    let record = record
        .get("detail")
        .filter(|detail| detail.get("eventType").is_some())
        .unwrap_or(record);
    let Some(kind) = text(record, "/eventType") else {
        return Read::Reject("`eventType` is missing: no event of Okta's System Log".to_owned());
    };
    let Some(action) = action(kind, record) else {
        return Read::PassOver(format!("`{kind}`, which is no access").into());
    };
    let actor = text(record, "/actor/type").unwrap_or_default();
    if actor == "SystemPrincipal" {
        return Read::PassOver("what Okta did by itself".into());
    }
    let outcome = text(record, "/outcome/result").unwrap_or_default();
    let result = match outcome.to_ascii_uppercase().as_str() {
        _ if kind.starts_with("user.mfa.okta_verify.deny_push") => "failure",
        "SUCCESS" | "ALLOW" => "success",
        "FAILURE" | "DENY" | "UNANSWERED" | "ABANDONED" | "RATE_LIMIT" => "failure",
        _ => {
            return Read::PassOver(format!("`{kind}`, which has not ended: `{outcome}`").into());
        }
    };
    // Who tries a name that does not exist has only that name.
    let id = text(record, "/actor/id").filter(|id| *id != "unknown");
    let name = text(record, "/actor/alternateId").filter(|name| *name != "unknown");
    let subject = match (actor, name, id) {
        // Sign-in names are the same in any case, and people type them as they please.
        ("User", Some(name), _) => json!({ "type": "User", "id": name.to_lowercase() }),
        ("User", None, Some(id)) => json!({ "type": "User", "id": id }),
        (_, _, Some(id)) => json!({ "type": "Service", "id": id }),
        (_, Some(name), _) => json!({ "type": "Service", "id": name }),
        _ => return Read::Reject("`actor` has neither `alternateId` nor `id`".to_owned()),
    };
    let at = |pointer: &str| text(record, pointer);
    let session = at("/authenticationContext/externalSessionId").filter(|id| *id != "unknown");
    let os = at("/device/os_platform").or_else(|| at("/client/userAgent/os"));
    // Without a registered device, the cookie that Okta knows a browser by.
    let device = at("/device/id").or_else(|| at("/debugContext/debugData/dtHash"));
    one(json!({
        "time": at("/published").unwrap_or_default(),
        "subject": subject,
        "action": { "name": action, "properties": { "operation": kind } },
        "resource": { "type": "Application", "id": door(action, record) },
        "context": {
            "ip": at("/client/ipAddress").map(address),
            "user_agent": at("/client/userAgent/rawUserAgent"),
            "session_id": session,
            "device": {
                "id": device,
                "os": os.filter(|os| !os.eq_ignore_ascii_case("unknown")),
                "os_version": at("/device/os_version"),
                "fingerprint": at("/debugContext/debugData/deviceFingerprint"),
                "managed": flag(record, "/device/managed"),
            },
            "method": at("/debugContext/debugData/factor")
                .or_else(|| at("/authenticationContext/credentialType")),
            "unknown_user": (actor == "User" && id.is_none()).then_some(true),
            "source": {
                "event_id": at("/uuid"),
                "reason": at("/outcome/reason"),
                "country": at("/client/geographicalContext/country"),
                "region": at("/client/geographicalContext/state"),
                "city": at("/client/geographicalContext/city"),
                "asn": number(record, "/securityContext/asNumber"),
                "proxy": flag(record, "/securityContext/isProxy"),
                "threat_suspected": flag(record, "/debugContext/debugData/threatSuspected"),
            },
        },
        "result": result,
    }))
}

/// What was done; none when nothing was that the engine would be asked about.
fn action(kind: &str, record: &Json) -> Option<&'static str> {
    let debug = |name: &str| text(record, &format!("/debugContext/debugData/{name}"));
    let starts = |families: &[&str]| families.iter().any(|family| kind.starts_with(family));
    Some(match kind {
        "user.session.start"
        | "user.authentication.auth_via_radius"
        | "user.authentication.auth_via_richclient"
        | "app.oauth2.invalid_client_credentials" => "login",
        // A program got itself a token. Tokens of people come with their sign-ins.
        "app.oauth2.token.grant.access_token" | "app.oauth2.as.token.grant.access_token"
            if debug("grantType") == Some("client_credentials") =>
        {
            "login"
        }
        // In Identity Engine the password is one factor among others.
        "user.authentication.auth_via_mfa" if debug("factor") == Some("PASSWORD_AS_FACTOR") => {
            "challenge"
        }
        "user.authentication.auth_via_mfa"
        | "user.mfa.okta_verify.deny_push"
        | "user.mfa.okta_verify.deny_push_upgrade_needed" => "mfa",
        "user.authentication.sso" | "app.oauth2.signon" => "read",
        "user.session.access_admin_app" => "administer",
        _ if starts(&ADMINISTRATION) => "administer",
        _ if starts(&OWN) => "write",
        _ => return None,
    })
}

/// Which application it was about: the one signed in to, otherwise Okta itself.
fn door(action: &str, record: &Json) -> String {
    let targets = record.get("target").and_then(Json::as_array);
    let application = targets
        .into_iter()
        .flatten()
        .filter(|_| matches!(action, "read" | "login"))
        .find(|target| text(target, "/type") == Some("AppInstance"))
        .and_then(|target| text(target, "/displayName").or_else(|| text(target, "/alternateId")));
    application.unwrap_or("okta").to_owned()
}
