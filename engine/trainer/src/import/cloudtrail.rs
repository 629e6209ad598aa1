//! AWS CloudTrail: calls of people and of programs to AWS's services, as its own JSON (files of
//! `{"Records": […]}`, or a record a line) or flattened to columns.
//!
//! Members as AWS's reference has them (CloudTrail record contents).

use std::collections::BTreeMap;

use domain::{AccessRequest, Action, ActionResult, EntityRef, Name, Party, RequestContext, Value};
use wire::{AssuranceClaim, Event};

use serde_json::Value as Json;

use super::json::{flag, number, text};
use super::{Read, Row};

/// The columns that must be there.
pub(super) const COLUMNS: [&str; 5] = [
    "event_time",
    "event_name",
    "event_source",
    "identity_type",
    "arn",
];

/// Reads a record of CloudTrail's own form.
pub(super) fn read_json(record: &Json) -> Read {
    let at = |pointer: &str| text(record, pointer).unwrap_or_default();
    if at("/eventCategory") == "Insight" {
        return Read::PassOver("an insight, which is no call".into());
    }
    let mfa = flag(
        record,
        "/userIdentity/sessionContext/attributes/mfaAuthenticated",
    ) == Some(true)
        || at("/additionalEventData/MFAUsed") == "Yes";
    let error = match at("/responseElements/ConsoleLogin") {
        "Failure" => "Failure",
        _ => at("/errorCode"),
    };
    // Keys that begin so are temporary: who uses them is in a session.
    let key = at("/userIdentity/accessKeyId");
    let session = if key.starts_with("ASIA") { key } else { "" };
    let read_only = match flag(record, "/readOnly") {
        Some(true) => "true",
        Some(false) => "false",
        None => "",
    };
    let object = match (
        at("/requestParameters/bucketName"),
        at("/requestParameters/key"),
    ) {
        (bucket, key) if !bucket.is_empty() && !key.is_empty() => format!("s3://{bucket}/{key}"),
        _ => String::new(),
    };
    let bytes = number(record, "/additionalEventData/bytesTransferredOut");
    let bytes = bytes.map_or_else(String::new, |bytes| bytes.to_string());
    let row: Row<'_> = [
        ("event_time", at("/eventTime")),
        ("event_name", at("/eventName")),
        ("event_source", at("/eventSource")),
        ("identity_type", at("/userIdentity/type")),
        ("arn", at("/userIdentity/arn")),
        ("user_name", at("/userIdentity/userName")),
        ("source_ip", at("/sourceIPAddress")),
        ("user_agent", at("/userAgent")),
        ("error_code", error),
        ("read_only", read_only),
        ("mfa", if mfa { "true" } else { "" }),
        ("session", session),
        ("object", &object),
        ("bytes_out", &bytes),
    ]
    .into();
    read(&row)
}

/// Reads a row of columns. Those that not every file has read as empty.
pub(super) fn read(row: &Row<'_>) -> Read {
    let get = |column: &str| row.get(column).copied().unwrap_or_default();
    if row.is_empty() {
        return Read::Reject("the line has another number of columns than the header".to_owned());
    }
    let Some(time) = wire::time::parse(get("event_time")) else {
        return Read::Reject("`event_time` is no time".to_owned());
    };
    let Some(subject) = subject(get("identity_type"), get("arn"), get("user_name")) else {
        return Read::Reject("neither `identity_type` nor `arn` says who it was".to_owned());
    };
    let operation = get("event_name");
    let (Ok(action), Ok(resource)) = (
        Name::new(action(operation, get("read_only"))),
        match get("object") {
            "" => EntityRef::new("Application", get("event_source")),
            object => EntityRef::new("Document", object)
                .or_else(|_| EntityRef::new("Application", get("event_source"))),
        },
    ) else {
        return Read::Reject("`event_source` is empty or not printable".to_owned());
    };
    // AWS's own services call from a name, not from an address.
    let ip = get("source_ip")
        .parse::<std::net::IpAddr>()
        .ok()
        .map(|ip| ip.to_canonical());
    let agent = get("user_agent").trim_matches(['[', ']', '"']).to_owned();
    let failed = !get("error_code").is_empty();
    let operation = Value::Text(operation.to_owned());
    // What really left counts; a part of an object is less than all of it.
    let size = get("bytes_out").parse().ok().map(Value::Long);
    let size = size.map(|bytes| ("size_bytes".to_owned(), bytes));
    Read::Events(
        Box::new(Event {
            request: AccessRequest {
                subject: Party {
                    entity: subject,
                    properties: BTreeMap::new(),
                },
                action: Action {
                    name: action,
                    properties: [("operation".to_owned(), operation)].into(),
                },
                resource: Party {
                    entity: resource,
                    properties: size.into_iter().collect(),
                },
                context: RequestContext {
                    ip,
                    user_agent: Some(agent).filter(|agent| !agent.is_empty()),
                    session_id: Some(get("session").to_owned()).filter(|id| !id.is_empty()),
                    ..RequestContext::default()
                },
                result: failed.then_some(ActionResult::Failure),
            },
            time,
            assurance: (get("mfa") == "true").then(|| AssuranceClaim {
                level: Some(3),
                ..AssuranceClaim::default()
            }),
            label: None,
        }),
        1,
    )
}

/// People are `User`, everything else is `Service`.
fn subject(identity: &str, arn: &str, name: &str) -> Option<EntityRef> {
    // arn:aws:iam::123456789012:user/path/name
    // arn:aws:sts::123456789012:assumed-role/role/session
    let path = arn.rsplit(':').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    match (identity, parts.as_slice()) {
        ("Root", _) | (_, ["root"]) => EntityRef::new("User", "root").ok(),
        (_, ["user", .., name]) => EntityRef::new("User", *name).ok(),
        // People who came through the single sign-on of AWS: the session has their name.
        (_, ["assumed-role", role, .., person]) if role.starts_with("AWSReservedSSO_") => {
            EntityRef::new("User", *person).ok()
        }
        (_, ["assumed-role", role, ..]) => EntityRef::new("Service", *role).ok(),
        (_, ["role", .., role]) => EntityRef::new("Service", *role).ok(),
        ("AWSService" | "AWSAccount", _) => EntityRef::new("Service", "aws").ok(),
        // A failed sign-in to the console has a name and no ARN.
        ("IAMUser" | "SAMLUser" | "WebIdentityUser" | "IdentityCenterUser", _) => {
            EntityRef::new("User", if name.is_empty() { arn } else { name }).ok()
        }
        _ => None,
    }
}

fn action(operation: &str, read_only: &str) -> &'static str {
    let reads = ["Get", "List", "Describe", "Head", "Lookup", "Batch"];
    match (operation, read_only) {
        ("ConsoleLogin", _) => "login",
        (_, "true") => "read",
        (_, "false") => "write",
        (name, _) if reads.iter().any(|start| name.starts_with(start)) => "read",
        _ => "write",
    }
}
