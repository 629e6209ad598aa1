//! Stories of clients at gateways: who asks for what with which credential, and what each kind of
//! gateway gets back for it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::world::{Asked, Form, World, client_cert};
use crate::harness::{Response, root};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    what: String,
    ask: String,
    /// A session of alice, opened in this context, whose handle is the cookie.
    #[serde(default)]
    cookie: Option<Value>,
    /// A token of ours, with these claims changed.
    #[serde(default)]
    own: Option<Map<String, Value>>,
    /// One of the issuer.
    #[serde(default)]
    foreign: Option<Map<String, Value>>,
    /// The token is bound to the client's key, and sent with a proof, with these claims changed.
    #[serde(default)]
    proof: Option<Map<String, Value>>,
    /// The certificate that the client showed to the gateway.
    #[serde(default)]
    certificate: Option<String>,
    /// What the client sends besides; `Name: value`.
    #[serde(default)]
    headers: Vec<String>,
    /// The forms in which it is asked; all.
    #[serde(default)]
    forms: Vec<String>,
    wants: Wants,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wants {
    status: u16,
    /// Headers of the answer; `~` for one that must not be there, `*` for any text at all, `a…` for
    /// one that begins so.
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    /// Members of the problem.
    #[serde(default)]
    body: Map<String, Value>,
}

/// What nginx passes on of a status.
fn for_nginx(status: u16) -> u16 {
    match status {
        302 | 303 => 401,
        400 => 403,
        other => other,
    }
}

fn asked(world: &World, form: Form, story: &Story) -> Asked {
    let mut asked = Asked::read(&story.ask);
    if let Some(context) = &story.cookie {
        let (_, handle) = world.session(form, context);
        asked = asked.with("Cookie", &format!("theme=dark; __Host-portreeve={handle}"));
    }
    let mut changes = story.own.clone().or_else(|| story.foreign.clone());
    if story.proof.is_some()
        && let Some(changes) = &mut changes
        && !changes.contains_key("cnf")
    {
        changes.insert("cnf".to_owned(), json!({ "jkt": world.device.id() }));
    }
    if let Some(changes) = &changes {
        let token = match story.own {
            Some(_) => world.own(form, changes),
            None => world.foreign(changes),
        };
        match &story.proof {
            Some(changed) => {
                let proof = world.proof(&asked, &token, changed);
                asked = asked.with("Authorization", &format!("DPoP {token}"));
                asked = asked.with("DPoP", &proof);
            }
            None => asked = asked.with("Authorization", &format!("Bearer {token}")),
        }
    }
    if let Some(name) = &story.certificate {
        asked = asked.with("Client-Cert", &client_cert(name));
        asked = asked.with("Client-Cert-Chain", &client_cert("issuing.pem"));
    }
    for header in &story.headers {
        let (name, value) = header.split_once(':').unwrap();
        asked = asked.with(name, value.trim());
    }
    asked
}

/// Holds an answer against what is wanted of it.
fn check(form: Form, story: &Story, response: &Response) {
    let name = format!("{} ({form:?})", story.what);
    let body = String::from_utf8_lossy(&response.body);
    let wanted = match form {
        Form::Nginx => for_nginx(story.wants.status),
        _ => story.wants.status,
    };
    assert_eq!(
        response.status, wanted,
        "{name}: {:?} {body}",
        response.headers
    );
    always(&name, response);
    for (header, wanted) in &story.wants.headers {
        let found = response.header(header);
        match wanted.as_deref() {
            None => assert_eq!(found, None, "{name}: {header}"),
            Some("*") => assert!(
                found.is_some_and(|found| !found.is_empty()),
                "{name}: {header}"
            ),
            Some(wanted) => match wanted.strip_suffix('…') {
                Some(start) => {
                    let starts = found.is_some_and(|found| found.starts_with(start));
                    assert!(starts, "{name}: {header}: {found:?}");
                }
                None => assert_eq!(found, Some(wanted), "{name}: {header}"),
            },
        }
    }
    for (member, wanted) in &story.wants.body {
        assert_eq!(response.json()[member], *wanted, "{name}: {member}: {body}");
    }
}

/// What holds of every answer to a gateway.
pub(super) fn always(name: &str, response: &Response) {
    assert_eq!(response.header("cache-control"), Some("no-store"), "{name}");
    let sent = [
        "x-portreeve-subject",
        "x-portreeve-subject-type",
        "x-portreeve-decision-id",
        "x-portreeve-risk-level",
        "x-portreeve-session",
        "x-portreeve-outcome",
        "x-user-id",
        "x-user-roles",
    ];
    match response.status {
        200 => {
            for header in sent {
                assert!(response.header(header).is_some(), "{name}: {header}");
            }
            let outcome = response.header("x-portreeve-outcome");
            assert_eq!(outcome, Some("allow"), "{name}");
            assert!(response.body.is_empty(), "{name}");
        }
        302 | 303 | 400..=499 | 503 => {
            let kind = response.header("content-type");
            assert_eq!(kind, Some("application/problem+json"), "{name}");
            assert_eq!(
                response.json()["status"].as_u64().unwrap() / 100,
                4 + u64::from(response.status == 503),
                "{name}"
            );
        }
        other => panic!("{name}: {other}"),
    }
    if response.status == 401 {
        assert!(response.header("www-authenticate").is_some(), "{name}");
    }
}

#[test]
fn x11_b23_clients_at_every_kind_of_gateway() {
    let world = World::new();
    let stories: Vec<Story> = {
        let path = root().join("tests/it/gateway/stories.yaml");
        serde_yaml_ng::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let names: BTreeSet<&str> = stories.iter().map(|story| story.what.as_str()).collect();
    assert_eq!(names.len(), stories.len(), "each has a name of its own");
    assert!(names.len() > 90, "{}", names.len());
    for story in &stories {
        for form in Form::ALL {
            let named = format!("{form:?}").to_lowercase();
            if story.forms.is_empty() || story.forms.contains(&named) {
                let response = world.ask(form, &asked(&world, form, story));
                check(form, story, &response);
            }
        }
    }
}
