//! Sign-ins of Microsoft Entra ID: the `signIn` resource of Microsoft Graph (v1.0 and beta), as
//! its pages, an array or one a line, and the records that Azure Monitor exports, which hold it
//! in `properties`.
//!
//! Members as Microsoft's references have them (Graph `signIn`, Azure Monitor sign-in log
//! schema). A record is one attempt. What it tells of second factors becomes `mfa` events of
//! their own, so that a refused prompt is seen as such.

use std::borrow::Cow;

use serde_json::{Value as Json, json};

use super::Read;
use super::json::{address, event, flag, number, text};

/// Error codes of attempts that are only interrupted: something more is asked for, and another
/// record tells how it went on (Entra authentication error codes).
const INTERRUPTED: [i64; 22] = [
    16000, 16001, 16003, 50055, 50058, 50072, 50074, 50076, 50079, 50097, 50125, 50127, 50129,
    50140, 50143, 50144, 50158, 50199, 50206, 51006, 65001, 65004,
];
/// Error codes of tokens that have run out or were taken back: no attempt to get in.
const RUN_OUT: [i64; 9] = [
    50078, 50089, 50132, 50133, 50173, 70043, 70044, 700_082, 700_084,
];
/// The second factor was refused, wrong, or not answered.
const MFA_FAILED: i64 = 500_121;
/// There is no such user.
const UNKNOWN_USER: i64 = 50034;

/// A sign-in, and what the record around it knows better.
struct SignIn<'a> {
    own: &'a Json,
    around: &'a Json,
}

impl<'a> SignIn<'a> {
    fn text(&self, pointer: &str) -> Option<&'a str> {
        text(self.own, pointer)
    }

    /// An object or list, which some exports hold as text.
    fn part(&self, name: &str) -> Cow<'a, Json> {
        match self.own.get(name) {
            Some(Json::String(text)) => {
                Cow::Owned(serde_json::from_str(text).unwrap_or(Json::Null))
            }
            Some(part) => Cow::Borrowed(part),
            None => Cow::Owned(Json::Null),
        }
    }

    fn is_of(&self, kind: &str) -> bool {
        let kinds = self.part("signInEventTypes");
        let told = kinds.as_array().into_iter().flatten();
        let category = text(self.around, "/category").unwrap_or_default();
        told.filter_map(Json::as_str).any(|told| told == kind)
            || category
                .to_ascii_lowercase()
                .starts_with(&kind.to_ascii_lowercase())
    }
}

pub(super) fn read(record: &Json) -> Read {
    let own = record.get("properties").filter(|own| own.is_object());
    if let Some(category) = text(record, "/category").filter(|_| own.is_some())
        && !category.to_ascii_lowercase().ends_with("signinlogs")
    {
        return Read::PassOver(format!("`{category}`, which are no sign-ins").into());
    }
    let sign_in = SignIn {
        own: own.unwrap_or(record),
        around: record,
    };
    let code =
        number(&sign_in.part("status"), "/errorCode").or_else(|| number(record, "/resultType"));
    let Some(code) = code else {
        return Read::Reject("neither `status.errorCode` nor `resultType`: no sign-in".to_owned());
    };
    let events: Result<Vec<_>, String> = happened(&sign_in, code).into_iter().map(event).collect();
    match events {
        Err(why) => Read::Reject(why),
        Ok(events) if !events.is_empty() => Read::Several(events),
        Ok(_) if RUN_OUT.contains(&code) => Read::PassOver("a token that had run out".into()),
        Ok(_) => Read::PassOver(format!("interrupted, to be told again ({code})").into()),
    }
}

/// What a sign-in comes to: second factors that were tried, and how it ended.
fn happened(sign_in: &SignIn<'_>, code: i64) -> Vec<Json> {
    let person = !sign_in.is_of("servicePrincipal")
        && !sign_in.is_of("managedIdentity")
        && (sign_in.text("/userPrincipalName").is_some() || sign_in.text("/userId").is_some());
    let unasked = person
        && (flag(sign_in.own, "/isInteractive") == Some(false)
            || sign_in.is_of("nonInteractiveUser"));
    let mut events = Vec::new();
    let mut refused = false;
    let steps = sign_in.part("authenticationDetails");
    for step in steps.as_array().into_iter().flatten() {
        let Some(passed) = second_factor(step) else {
            continue;
        };
        refused |= !passed;
        let at = text(step, "/authenticationStepDateTime");
        let mut told = told(sign_in, person, "mfa", passed, at);
        put(&mut told, "method", text(step, "/authenticationMethod"));
        put(
            &mut told,
            "detail",
            text(step, "/authenticationStepResultDetail"),
        );
        events.push(told);
    }
    if code == MFA_FAILED {
        if !refused {
            let detail = sign_in.part("mfaDetail");
            let mut told = told(sign_in, person, "mfa", false, None);
            put(&mut told, "method", text(&detail, "/authMethod"));
            events.push(told);
        }
    } else if !INTERRUPTED.contains(&code) && !RUN_OUT.contains(&code) {
        // An application got a token for somebody who is signed in: that is use, no sign-in.
        let action = if unasked { "read" } else { "login" };
        let mut told = told(sign_in, person, action, code == 0, None);
        let strong = sign_in.text("/authenticationRequirement");
        if code == 0 && !unasked && strong == Some("multiFactorAuthentication") {
            put(&mut told, "assurance", json!({ "level": 3 }));
        }
        if code == UNKNOWN_USER {
            put(&mut told, "unknown_user", true);
        }
        events.push(told);
    }
    events
}

/// Whether a second factor was passed; none when the step is no second factor, or was not done
/// again.
fn second_factor(step: &Json) -> Option<bool> {
    let requirement = text(step, "/authenticationStepRequirement")?.to_ascii_lowercase();
    let method = text(step, "/authenticationMethod").unwrap_or_default();
    let done = !requirement.starts_with("primary") && method != "Previously satisfied";
    flag(step, "/succeeded").filter(|_| done)
}

fn told(sign_in: &SignIn<'_>, person: bool, action: &str, passed: bool, at: Option<&str>) -> Json {
    let get = |pointer: &str| sign_in.text(pointer);
    let around = |pointer: &str| text(sign_in.around, pointer);
    let (device, place) = (sign_in.part("deviceDetail"), sign_in.part("location"));
    let status = sign_in.part("status");
    let subject = if person {
        // The sign-in name is the same in any case.
        let name = get("/userPrincipalName").map(str::to_lowercase);
        let id = name.or_else(|| get("/userId").map(str::to_owned));
        json!({ "type": "User", "id": id.unwrap_or_default() })
    } else {
        let id = get("/servicePrincipalId").or_else(|| get("/appId"));
        json!({ "type": "Service", "id": id.unwrap_or_default() })
    };
    let (application, resource) = (
        get("/appDisplayName").or_else(|| get("/appId")),
        get("/resourceDisplayName").or_else(|| get("/resourceId")),
    );
    let door = if person && action != "read" {
        application.or(resource)
    } else {
        resource.or(application)
    };
    let label = match get("/riskState") {
        // What an administrator has said of it, not what a machine thought.
        Some("confirmedCompromised") => Some(json!({ "attack": "confirmed-compromised" })),
        Some("confirmedSafe") => Some(json!({ "benign": "confirmed-safe" })),
        _ => None,
    };
    json!({
        "time": at.or_else(|| get("/createdDateTime")).or_else(|| around("/time")).unwrap_or_default(),
        "subject": subject,
        "action": { "name": action },
        "resource": { "type": "Application", "id": door.unwrap_or("entra") },
        "context": {
            "ip": get("/ipAddress").or_else(|| around("/callerIpAddress")).map(address),
            "user_agent": get("/userAgent"),
            "session_id": get("/sessionId")
                .or_else(|| get("/correlationId"))
                .or_else(|| around("/correlationId")),
            "device": {
                "id": text(&device, "/deviceId"),
                "os": text(&device, "/operatingSystem"),
                "managed": flag(&device, "/isManaged"),
                "compliant": flag(&device, "/isCompliant"),
            },
            "source": {
                "event_id": get("/id"),
                "name": get("/servicePrincipalName"),
                "client": get("/clientAppUsed"),
                "browser": text(&device, "/browser"),
                "code": number(&status, "/errorCode"),
                "reason": text(&status, "/failureReason").filter(|_| !passed),
                "conditional_access": get("/conditionalAccessStatus"),
                "risk": get("/riskLevelDuringSignIn"),
                "country": text(&place, "/countryOrRegion").or_else(|| around("/location")),
                "region": text(&place, "/state"),
                "city": text(&place, "/city"),
                "asn": number(sign_in.own, "/autonomousSystemNumber"),
            },
        },
        "result": if passed { "success" } else { "failure" },
        "label": label,
    })
}

/// Adds a member to the context.
fn put(event: &mut Json, name: &str, value: impl Into<Json>) {
    if let Some(context) = event.get_mut("context").and_then(Json::as_object_mut) {
        context.insert(name.to_owned(), value.into());
    }
}
