use std::fs;
use std::path::PathBuf;

use domain::EntityRef;
use domain::value::Attributes;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde::Deserialize;
use wire::json::Object;

use super::*;
use crate::door::Gateway;
use crate::explain::{explain, parse};
use crate::original::{Original, Reading};
use crate::routes::raw::RawGateway;
use crate::template::Credential;

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
    request: String,
    #[serde(default)]
    headers: Vec<String>,
    credential: Option<Shown>,
    wants: Wants,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    #[serde(default)]
    claims: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wants {
    route: Option<String>,
    evaluation: Option<serde_json::Value>,
    status: Option<u16>,
    why: Option<String>,
    passed_over: Option<Vec<String>>,
}

fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/gateway");
    fs::read_to_string(path.join(name)).unwrap()
}

fn settings(text: &str) -> Result<Gateway, Vec<String>> {
    let raw: RawGateway = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
    raw.check().map_err(|faults| faults.0)
}

fn headers(lines: &[String]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
    }
    headers
}

fn check(gateway: &Gateway, case: &Case) {
    let what = &case.what;
    let door = gateway.door(case.caller.as_deref());
    let headers = headers(&case.headers);
    let original = parse(&case.request, &headers, door.reading).unwrap();
    let shown = case.credential.as_ref().map(|shown| {
        let claims = match &shown.claims {
            serde_json::Value::Null => Attributes::new(),
            claims => serde_json::from_value::<Object>(claims.clone()).unwrap().0,
        };
        (
            EntityRef::new(shown.kind.as_str(), shown.id.as_str()).unwrap(),
            claims,
        )
    });
    let credential = shown
        .as_ref()
        .map(|(subject, claims)| Credential { subject, claims });
    let question = Question {
        original: &original,
        headers: &headers,
        credential,
    };
    let report = explain(door, &question);
    let text = report.text();
    let route = report.route.as_ref().map(|route| &route.name);
    assert_eq!(route, case.wants.route.as_ref(), "{what}\n{text}");
    assert_eq!(report.evaluation, case.wants.evaluation, "{what}\n{text}");
    let refusal = report.refusal.as_ref();
    assert_eq!(
        refusal.map(|refusal| refusal.status),
        case.wants.status,
        "{what}\n{text}"
    );
    let why = refusal.map_or("", |refusal| &refusal.why);
    assert!(
        why.contains(case.wants.why.as_deref().unwrap_or_default()),
        "{what}: {why}"
    );
    if let Some(wanted) = &case.wants.passed_over {
        let found: Vec<&String> = report
            .passed_over
            .iter()
            .map(|passed| &passed.route)
            .collect();
        assert_eq!(found, wanted.iter().collect::<Vec<_>>(), "{what}");
    }
    for name in report
        .passed_over
        .iter()
        .map(|passed| &passed.route)
        .chain(route)
    {
        assert!(
            text.contains(name.as_str()),
            "{what}: {name} is not in\n{text}"
        );
    }
}

#[test]
fn requests_become_questions() {
    let story: Story = serde_yaml_ng::from_str(&fixture("shop.yaml")).unwrap();
    let gateway = settings(&story.settings).unwrap();
    for case in &story.cases {
        check(&gateway, case);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrong {
    what: String,
    settings: String,
    wants: Vec<String>,
    /// What is said though it is allowed.
    #[serde(default)]
    warns: Vec<String>,
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let stories: Vec<Wrong> = serde_yaml_ng::from_str(&fixture("faults.yaml")).unwrap();
    for Wrong {
        what,
        settings: text,
        wants,
        warns,
    } in stories
    {
        let (faults, warnings) = match settings(&text) {
            Ok(gateway) => (Vec::new(), gateway.warnings().to_vec()),
            Err(faults) => (faults, Vec::new()),
        };
        for (mut found, wanted) in [(faults, wants), (warnings, warns)] {
            for wanted in &wanted {
                let at = found.iter().position(|found| found.contains(wanted));
                let at = at.unwrap_or_else(|| panic!("{what}: no {wanted:?} in {found:#?}"));
                found.remove(at);
            }
            assert!(found.is_empty(), "{what}: not asked for: {found:#?}");
        }
    }
}

/// A small world, so that routes and requests meet often.
fn host() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a.example",
        "b.example",
        "x.a.example",
        "a.x.a.example",
    ])
}

fn request() -> impl Strategy<Value = (String, bool, Option<bool>)> {
    let path = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..4);
    let method = prop::sample::select(vec!["GET", "PUT", "PATCH"]);
    (method, host(), path, any::<bool>(), any::<Option<bool>>()).prop_map(
        |(method, host, path, tenant, clerk)| {
            (
                format!("{method} https://{host}/{}", path.join("/")),
                tenant,
                clerk,
            )
        },
    )
}

fn route() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec!["a", "b", "{}", "{}"]);
    let path = (prop::collection::vec(piece, 0..4), any::<bool>()).prop_map(|(pieces, rest)| {
        let mut path = String::new();
        for (number, piece) in pieces.iter().enumerate() {
            path.push('/');
            path.push_str(&piece.replace("{}", &format!("{{p{number}}}")));
        }
        path.push_str(if rest { "/{rest...}" } else { "/" });
        path
    });
    let methods = prop::sample::subsequence(vec!["\"GET\"", "\"PUT\""], 0..3);
    let hosts = prop::sample::subsequence(
        vec!["\"a.example\"", "\"*.a.example\"", "\"b.example\""],
        0..3,
    );
    let conditions = prop::sample::select(vec![
        "",
        "headers = { x-tenant = \"acme\" }",
        "headers = { x-tenant = { present = true } }",
        "claims = { role = \"clerk\" }",
        "claims = { role = [\"clerk\", \"boss\"] }",
        "headers = { x-tenant = \"acme\" }\nclaims = { role = \"boss\" }",
    ]);
    (path, methods, hosts, conditions).prop_map(|(path, methods, hosts, conditions)| {
        format!(
            "path = \"{path}\"\nmethods = [{}]\nhosts = [{}]\n{conditions}\naction = \"x\"\n\
             resource = {{ type = \"T\", id = \"x\" }}\nsubject = {{ type = \"A\", id = \"a\" }}\n",
            methods.join(","),
            hosts.join(",")
        )
    })
}

/// Routes without those that nothing reaches, and how many these were.
fn routes(texts: &[String]) -> (Routes, Routes) {
    let text: String = texts
        .iter()
        .enumerate()
        .map(|(number, text)| format!("[[routes]]\nname = \"{number}\"\n{text}"))
        .collect();
    let raw: RawGateway = toml::from_str(&text).unwrap();
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    let mut said = check::Said {
        faults: &mut faults,
        warnings: &mut warnings,
    };
    let identity = crate::Identity::new(Vec::new(), &[], &["x-tenant".parse().unwrap()]);
    let all = check::routes(
        &raw.routes,
        "gateway.routes",
        &identity,
        path::Case::default(),
        &mut said,
    );
    let unreached = all.iter().filter(|route| {
        let place = format!("`{}`:", route.place);
        faults.iter().any(|fault| fault.starts_with(&place))
    });
    (
        Routes::new(all.clone(), path::Case::default()),
        Routes::new(unreached.cloned().collect(), path::Case::default()),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The index finds what going through all routes in order finds; and what is said to be
    /// unreachable is never reached.
    #[test]
    fn the_index_keeps_the_order(
        texts in prop::collection::vec(route(), 1..12),
        requests in prop::collection::vec(request(), 1..24),
    ) {
        let (all, unreached) = routes(&texts);
        for (line, tenant, clerk) in &requests {
            let lines = if *tenant { vec!["x-tenant: acme".to_owned()] } else { vec![] };
            let headers = headers(&lines);
            let original: Original = parse(line, &headers, Reading::default()).unwrap();
            let subject = EntityRef::new("User", "alice").unwrap();
            let claims: Option<Attributes> = clerk.map(|clerk| {
                let role = if clerk { "clerk" } else { "boss" };
                [("role".to_owned(), domain::Value::Text(role.to_owned()))].into()
            });
            let credential = claims.as_ref().map(|claims| Credential { subject: &subject, claims });
            let question = Question { original: &original, headers: &headers, credential };
            let mut walk = all.walk();
            let slow = all.iter().find(|route| matches!(walk.against(route, &question), Ok(Ok(_))));
            let fast = all.find(&question);
            prop_assert_eq!(slow.map(|route| &route.name), fast.as_ref().ok().map(|m| &m.route.name), "{}", line);
            if let Err(NoRoute::NoMatch { needs_credential }) = fast {
                let mut walk = all.walk();
                let any = all.iter().any(|route| matches!(walk.against(route, &question), Ok(Err(WhyNot::NoCredential))));
                prop_assert_eq!(needs_credential, any);
            }
            if let Some(taken) = slow {
                // A route for everything takes no method that is left over by one for this path.
                let segments = original.target.segments();
                let mut before = all.iter().take_while(|route| route.name != taken.name);
                let is_guarded = before.any(|route| {
                    let is_here = route.hosts.is_empty()
                        || route.hosts.iter().any(|host| host.matches(&original.authority.host));
                    let fits = route.path.fit(segments, path::Case::default()).is_some();
                    is_here && fits && !route.takes(&original.method) && !route.covers(taken, path::Case::default())
                });
                prop_assert!(!taken.methods.is_empty() || !is_guarded, "{} takes {}", taken.name, line);
                prop_assert!(unreached.iter().all(|route| route.name != taken.name), "{} takes {}", taken.name, line);
            }
        }
    }
}

/// The cost of a look-up is that of the path, not that of the list: candidates are counted, since
/// tests have no clock.
#[test]
fn ten_thousand_routes_are_not_tried() {
    let text: String = (0..check::ROUTES_MAX)
        .map(|number| {
            format!(
                "[[routes]]\npath = \"/service{}/item{number}/{{id}}\"\naction = \"x\"\n\
                 resource = {{ type = \"T\", id = \"{{id}}\" }}\n",
                number % 100
            )
        })
        .collect();
    let gateway = settings(&text).unwrap();
    let routes = &gateway.door(None).routes;
    let original = parse(
        "GET https://a.example/service99/item9999/7",
        &HeaderMap::new(),
        Reading::default(),
    );
    let original = original.unwrap();
    let segments = original.target.segments();
    let candidates = routes.index.candidates(&original.authority.host, segments);
    assert_eq!(candidates, [9_999]);
}
