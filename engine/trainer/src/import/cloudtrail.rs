//! AWS CloudTrail, flattened to columns: calls of people and of programs to AWS's services.

use std::collections::BTreeMap;

use domain::{AccessRequest, Action, ActionResult, EntityRef, Name, Party, RequestContext, Value};
use wire::{AssuranceClaim, Event};

use super::{Read, Row};

/// The columns that must be there.
pub(super) const COLUMNS: [&str; 5] = [
    "event_time",
    "event_name",
    "event_source",
    "identity_type",
    "arn",
];

pub(super) fn read(row: &Row<'_>) -> Read {
    let get = |column: &str| row.get(column).copied().unwrap_or_default();
    if row.is_empty() {
        return Read::Reject("the line has another number of columns than the header".to_owned());
    }
    let Some(time) = wire::time::parse(get("event_time")) else {
        return Read::Reject("`event_time` is no time".to_owned());
    };
    let Some(subject) = subject(get("identity_type"), get("arn")) else {
        return Read::Reject("neither `identity_type` nor `arn` says who it was".to_owned());
    };
    let operation = get("event_name");
    let (Ok(action), Ok(resource)) = (
        Name::new(action(operation, get("read_only"))),
        EntityRef::new("Application", get("event_source")),
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
                    properties: BTreeMap::new(),
                },
                context: RequestContext {
                    ip,
                    user_agent: Some(agent).filter(|agent| !agent.is_empty()),
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
fn subject(identity: &str, arn: &str) -> Option<EntityRef> {
    // arn:aws:iam::123456789012:user/path/name
    // arn:aws:sts::123456789012:assumed-role/role/session
    let path = arn.rsplit(':').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    match (identity, parts.as_slice()) {
        ("Root", _) | (_, ["root"]) => EntityRef::new("User", "root").ok(),
        (_, ["user", .., name]) => EntityRef::new("User", *name).ok(),
        (_, ["assumed-role", role, ..]) => EntityRef::new("Service", *role).ok(),
        (_, ["role", .., role]) => EntityRef::new("Service", *role).ok(),
        ("AWSService" | "AWSAccount", _) => EntityRef::new("Service", "aws").ok(),
        ("IAMUser", [.., name]) => EntityRef::new("User", *name).ok(),
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
