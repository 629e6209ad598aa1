use domain::EntityRef;
use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::door::Gateway;
use crate::original::Reading;
use crate::routes::raw::RawGateway;

const SETTINGS: &str = r#"
[identity]
X-User-Id = "subject.id"
X-User-Roles = "claim.roles"

[login]
url = "https://login.example/step-up"
return_hosts = ["shop.example"]

[[routes]]
name = "page"
hosts = ["shop.example", "other.example"]
path = "/page/{path...}"
action = "page.read"
resource = { type = "Page", id = "x" }
step_up = "redirect"

[[routes]]
name = "api"
path = "/api/{path...}"
action = "api.call"
resource = { type = "Api", id = "x" }
token = { audience = "https://api.internal" }

[callers.nginx]
statuses = "auth_request"
"#;

fn gateway() -> Gateway {
    let raw: RawGateway = toml::from_str(SETTINGS).unwrap();
    raw.check().unwrap()
}

const DECIDED: Decided<'static> = Decided {
    decision_id: "dec-1",
    reason_user: "please confirm “it is you”",
};

fn step_up<'a>() -> Verdict<'a> {
    Verdict::StepUp {
        decided: DECIDED,
        rung: Rung::Mfa,
        acr_values: "urn:portreeve:acr:mfa",
        scheme: Scheme::Bearer,
    }
}

fn unauthenticated<'a>(invalid: bool) -> Verdict<'a> {
    Verdict::Unauthenticated {
        invalid,
        scheme: Scheme::Bearer,
    }
}

/// One story: who asks for what with which headers, what came of it, and the reply.
struct Story<'a> {
    what: &'a str,
    caller: &'a str,
    request: &'a str,
    headers: &'a [(&'static str, &'static str)],
    verdict: Verdict<'a>,
    status: u16,
    /// Header, and how it begins; `-` says that it is not there.
    wanted: &'a [(&'a str, &'a str)],
}

fn reply(story: &Story<'_>) -> Reply {
    let gateway = gateway();
    let door = gateway.door(Some(story.caller));
    let mut headers = HeaderMap::new();
    for (name, value) in story.headers {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    let original = crate::explain::parse(story.request, &headers, Reading::default()).unwrap();
    let question = Question {
        original: &original,
        headers: &headers,
        credential: None,
    };
    let route = door.routes.find(&question).unwrap().route;
    door.reply(Some(route), Some(&question), &story.verdict)
}

#[test]
fn outcomes_on_the_wire() {
    const BROWSER: &[(&str, &str)] = &[("sec-fetch-mode", "navigate")];
    const RFC_9470: &str = "Bearer error=\"insufficient_user_authentication\", \
        error_description=\"please confirm 'it is you'\", \
        acr_values=\"urn:portreeve:acr:mfa\", max_age=\"0\"";
    const PAGE: &str = "GET https://shop.example/page/1?a=b";
    const THERE: &str = "https://login.example/step-up?return_to=https%3A%2F%2Fshop%2Eexample%2Fpage%2F1%3Fa%3Db&acr_values=urn%3Aportreeve%3Aacr%3Amfa&max_age=0";
    const API: &str = "GET https://shop.example/api/x";
    let alice = EntityRef::new("User", "alice").unwrap();
    let known = Known {
        subject: Some(&alice),
        decision_id: "dec-1",
        risk_level: Some("LOW"),
        ..Known::default()
    };
    let story = |what, request, headers, verdict, status, wanted| Story {
        what,
        caller: "caddy",
        request,
        headers,
        verdict,
        status,
        wanted,
    };
    let allow = |authorization| Verdict::Allow {
        known,
        authorization,
    };
    for mut story in [
        story(
            "an allow without a token",
            PAGE,
            BROWSER,
            allow(None),
            200,
            &[
                ("x-portreeve-subject", "alice"),
                ("x-portreeve-subject-type", "User"),
                ("x-portreeve-decision-id", "dec-1"),
                ("x-portreeve-risk-level", "LOW"),
                ("x-portreeve-session", ""),
                ("x-portreeve-outcome", "allow"),
                ("x-user-id", "alice"),
                ("x-user-roles", ""),
                ("authorization", "-"),
                ("www-authenticate", "-"),
                ("location", "-"),
            ],
        ),
        story(
            "a token for the app",
            API,
            &[],
            allow(Some("Bearer abc")),
            200,
            &[("authorization", "Bearer abc")],
        ),
        story(
            "no token was minted: not the client's either",
            API,
            &[],
            allow(None),
            200,
            &[("authorization", "")],
        ),
        story(
            "a token that ends the header",
            API,
            &[],
            allow(Some("Bearer a\r\nx: y")),
            200,
            &[("authorization", ""), ("x", "-")],
        ),
        story(
            "a step-up of an API",
            API,
            BROWSER,
            step_up(),
            401,
            &[
                ("www-authenticate", RFC_9470),
                ("x-portreeve-outcome", "mfa"),
                ("x-portreeve-decision-id", "dec-1"),
                ("x-portreeve-subject", "-"),
                ("location", "-"),
            ],
        ),
        story(
            "a step-up of a browser",
            PAGE,
            BROWSER,
            step_up(),
            302,
            &[("location", THERE), ("www-authenticate", RFC_9470)],
        ),
        story(
            "an old browser",
            PAGE,
            &[("accept", "text/html,*/*")],
            step_up(),
            302,
            &[("location", THERE)],
        ),
        story(
            "a script of an old browser",
            PAGE,
            &[
                ("accept", "text/html,*/*"),
                ("x-requested-with", "XMLHttpRequest"),
            ],
            step_up(),
            401,
            &[("location", "-")],
        ),
        story(
            "a script",
            PAGE,
            &[("sec-fetch-mode", "cors"), ("accept", "text/html")],
            step_up(),
            401,
            &[("location", "-")],
        ),
        story(
            "curl",
            PAGE,
            &[("accept", "*/*")],
            step_up(),
            401,
            &[("location", "-")],
        ),
        story(
            "a form",
            "POST https://shop.example/page/1?a=b",
            BROWSER,
            step_up(),
            303,
            &[(
                "location",
                "https://login.example/step-up?return_to=https%3A%2F%2Fshop%2Eexample%2F&acr",
            )],
        ),
        story(
            "a host that one cannot come back to",
            "GET https://other.example/page/1",
            BROWSER,
            step_up(),
            401,
            &[("location", "-"), ("www-authenticate", RFC_9470)],
        ),
        story(
            "nobody, in a browser",
            PAGE,
            BROWSER,
            unauthenticated(false),
            302,
            &[(
                "location",
                "https://login.example/step-up?return_to=https%3A%2F%2Fshop%2Eexample%2Fpage%2F1%3Fa%3Db",
            )],
        ),
        story(
            "nobody",
            API,
            &[],
            unauthenticated(false),
            401,
            &[("www-authenticate", "Bearer realm=\"portreeve\"")],
        ),
        story(
            "a bad token",
            API,
            &[],
            unauthenticated(true),
            401,
            &[(
                "www-authenticate",
                "Bearer error=\"invalid_token\", error_description=\"",
            )],
        ),
        story(
            "a proof is wanted",
            API,
            &[],
            Verdict::Unauthenticated {
                invalid: true,
                scheme: Scheme::Dpop,
            },
            401,
            &[("www-authenticate", "DPoP error=\"invalid_token\"")],
        ),
        story(
            "a deny",
            PAGE,
            BROWSER,
            Verdict::Deny(DECIDED),
            403,
            &[
                ("x-portreeve-outcome", "deny"),
                ("location", "-"),
                ("www-authenticate", "-"),
            ],
        ),
        story(
            "no route",
            PAGE,
            BROWSER,
            Verdict::Refused("x"),
            403,
            &[("x-portreeve-outcome", "-")],
        ),
        story(
            "two readings",
            PAGE,
            BROWSER,
            Verdict::Malformed("x"),
            400,
            &[],
        ),
        story(
            "G4: a header that is too long",
            PAGE,
            BROWSER,
            Verdict::HeaderTooLong,
            431,
            &[],
        ),
        story(
            "too many",
            PAGE,
            BROWSER,
            Verdict::TooMany {
                retry_after_seconds: 0,
            },
            429,
            &[("retry-after", "1")],
        ),
        story(
            "trouble",
            PAGE,
            BROWSER,
            Verdict::Unavailable("x"),
            503,
            &[("retry-after", "1"), ("location", "-")],
        ),
    ] {
        for caller in ["caddy", "nginx"] {
            story.caller = caller;
            let found = reply(&story);
            let wanted = match (caller, story.status) {
                ("nginx", 302 | 303) => 401,
                ("nginx", 400 | 431) => 403,
                (_, status) => status,
            };
            assert_eq!(found.status.as_u16(), wanted, "{} ({caller})", story.what);
            assert_eq!(found.headers["cache-control"], "no-store", "{}", story.what);
            assert_eq!(
                found.body.is_none(),
                found.status == StatusCode::OK,
                "{}",
                story.what
            );
            if let Some(body) = &found.body {
                let body: serde_json::Value = serde_json::from_str(body).unwrap();
                assert!(
                    body["detail"].is_string() && body["title"].is_string(),
                    "{body}"
                );
                assert_eq!(found.headers["content-type"], "application/problem+json");
            }
            for (name, start) in story.wanted {
                match (found.headers.get(*name), *start) {
                    (None, "-") => {}
                    (Some(value), "") => assert_eq!(value, "", "{}: {name}", story.what),
                    (Some(value), start) => {
                        let text = value.to_str().unwrap();
                        assert!(
                            text.starts_with(start) && start != "-",
                            "{}: {name}: {text}",
                            story.what
                        );
                    }
                    (None, _) => panic!("{}: no {name}", story.what),
                }
            }
        }
    }
}

#[test]
fn a_step_up_says_in_its_body_what_it_takes() {
    let story = Story {
        what: "",
        caller: "caddy",
        request: "GET https://shop.example/api/x",
        headers: &[],
        verdict: step_up(),
        status: 401,
        wanted: &[],
    };
    let body: serde_json::Value = serde_json::from_str(&reply(&story).body.unwrap()).unwrap();
    let wanted = serde_json::json!({
        "type": "about:blank", "title": "Unauthorized", "status": 401,
        "detail": "please confirm “it is you”", "outcome": "mfa", "decision_id": "dec-1",
        "acr_values": "urn:portreeve:acr:mfa", "max_age": 0,
    });
    assert_eq!(body, wanted);
}

/// Reads a challenge as RFC 9110 §11.2 has it: `Scheme name="value", …`.
fn read(challenge: &str) -> Option<Vec<(String, String)>> {
    let mut rest = challenge.split_once(' ')?.1;
    let mut pairs = Vec::new();
    loop {
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = after.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => value.push(characters.next()?),
                character => value.push(character),
            }
        }
        pairs.push((name.to_owned(), value));
        match characters.as_str() {
            "" => return Some(pairs),
            more => rest = more.strip_prefix(", ")?,
        }
    }
}

proptest! {
    /// Whatever a reason says, the challenge has its four members, and the client gets no 2xx.
    #[test]
    fn no_text_breaks_a_challenge(reason in "\\PC{0,30}|[\\x00-\\x7f]{0,30}", acr in "[ -~\\r\\n\"\\\\]{0,20}") {
        let decided = Decided { decision_id: "dec-1", reason_user: &reason };
        let story = Story {
            what: "",
            caller: "caddy",
            request: "GET https://shop.example/api/x",
            headers: &[],
            verdict: Verdict::StepUp { decided, rung: Rung::Challenge, acr_values: &acr, scheme: Scheme::Bearer },
            status: 401,
            wanted: &[],
        };
        let reply = reply(&story);
        let pairs = read(reply.headers["www-authenticate"].to_str().unwrap()).unwrap();
        let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        prop_assert_eq!(names, ["error", "error_description", "acr_values", "max_age"]);
        prop_assert_eq!(&pairs[0].1, "insufficient_user_authentication");
        prop_assert_eq!(&pairs[3].1, "0");
        prop_assert_eq!(reply.status.as_u16(), 401);
    }
}
