//! What gateways send, from their headers to the route (B23, X11).

use std::net::IpAddr;

use crate::{
    Door, Gateway, Identity, Original, Peer, Question, RawGateway, Reply, Scheme, Verdict,
    forwarded,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    settings: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    caller: Option<String>,
    /// Who asks the engine, and tells of the request in headers.
    gateway: Option<IpAddr>,
    /// Who asked Envoy; method, host and target stand in `direct`.
    source: Option<IpAddr>,
    direct: Option<[String; 3]>,
    headers: Vec<String>,
    wants: Wants,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wants {
    asked: Option<String>,
    client: Option<IpAddr>,
    route: Option<String>,
    #[serde(default)]
    strip: Vec<String>,
    status: Option<u16>,
    why: Option<String>,
}

/// What is answered, and why.
type Refusal = (Reply, String);

/// A request as the engine reads it, or what is answered instead.
fn read(
    door: &Door,
    case: &Case,
    headers: &HeaderMap,
) -> Result<(Original, Option<IpAddr>), Box<Refusal>> {
    let refuse =
        |verdict: Verdict<'_>, why: String| Box::new((door.reply(None, None, &verdict), why));
    let (original, peer) = match (&case.direct, case.gateway, case.source) {
        (Some([method, host, target]), _, Some(source)) => {
            let target = target.as_bytes();
            let read = Original::direct(method, Scheme::Https, host, target, headers, door.reading);
            (read, Peer::Client(source))
        }
        (None, Some(gateway), _) => {
            let told = Original::told(gateway, headers, &door.trust, door.reading);
            (told, Peer::Gateway(gateway))
        }
        _ => panic!("{}: who asks?", case.what),
    };
    let original = original.map_err(|fault| {
        let detail = fault.to_string();
        refuse(fault.verdict(&detail), detail.clone())
    })?;
    let client = forwarded::client(peer, headers, &door.trust).map_err(|fault| {
        let detail = fault.to_string();
        refuse(Verdict::Malformed(&detail), detail.clone())
    })?;
    Ok((original, client))
}

fn stripped(identity: &Identity, headers: &HeaderMap) -> Vec<String> {
    let names = identity.to_strip(headers);
    let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.sort();
    names
}

fn check(gateway: &Gateway, case: &Case) {
    let what = &case.what;
    let door = gateway.door(case.caller.as_deref());
    let mut headers = HeaderMap::new();
    for line in &case.headers {
        let (name, value) = line.split_once(':').unwrap();
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
    }
    let (original, client) = match read(door, case, &headers) {
        Ok(read) => read,
        Err(refused) => {
            let (reply, why) = *refused;
            assert_eq!(
                Some(reply.status.as_u16()),
                case.wants.status,
                "{what}: {why}"
            );
            let wanted = case.wants.why.as_deref().unwrap_or_default();
            assert!(why.contains(wanted), "{what}: {why}");
            return;
        }
    };
    assert_eq!(case.wants.status, None, "{what}");
    let asked = format!(
        "{} {}://{}{}",
        original.method,
        original.scheme.as_str(),
        original.authority,
        original.target.written()
    );
    assert_eq!(Some(asked), case.wants.asked, "{what}");
    assert_eq!(client, case.wants.client, "{what}");
    let question = Question {
        original: &original,
        headers: &headers,
        credential: None,
    };
    let route = door
        .routes
        .find(&question)
        .ok()
        .map(|matched| matched.route.name.clone());
    assert_eq!(route, case.wants.route, "{what}");
    if !case.wants.strip.is_empty() {
        assert_eq!(
            stripped(&door.identity, &headers),
            case.wants.strip,
            "{what}"
        );
    }
}

#[test]
fn what_gateways_send() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/gateway/gateways.yaml"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let story: Story = serde_yaml_ng::from_str(&text).unwrap();
    let raw: RawGateway = toml::from_str(&story.settings).unwrap();
    let gateway = raw.check().unwrap();
    for case in &story.cases {
        check(&gateway, case);
    }
}
