use domain::{EntityRef, Rung};
use proptest::prelude::*;

use super::*;

fn told(sees_risk: bool) -> Told {
    Told {
        outcome: Rung::Mfa,
        decision_id: "dec_1".to_owned(),
        score: sees_risk.then_some(67),
        level: sees_risk.then_some("HIGH"),
        policies: vec!["step-up-above-60".to_owned()],
        subject: EntityRef::new("User", "alice").unwrap(),
        session: None,
    }
}

fn reply(status: StatusCode, headers: &[(&'static str, &'static str)]) -> Reply {
    let headers = headers.iter().map(|(name, value)| {
        let name = HeaderName::from_static(name);
        (name, HeaderValue::from_static(value))
    });
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.append(name, value);
    }
    Reply {
        status,
        headers: all,
        body: (status != StatusCode::OK).then(|| "{}".to_owned()),
    }
}

/// Name, value, and whether it is added to what is there.
fn written(options: &[HeaderValueOption]) -> Vec<(String, String, bool)> {
    let mut all: Vec<_> = options
        .iter()
        .map(|option| {
            let header = option.header.clone().unwrap();
            #[expect(deprecated, reason = "as in what is tested")]
            let append = option.append.unwrap().value;
            (header.key, header.value, append)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn an_allow_sets_overwrites_and_removes() {
    let reply = reply(
        StatusCode::OK,
        &[
            ("x-portreeve-subject", "alice"),
            ("x-portreeve-session", ""),
            ("cache-control", "no-store"),
            ("set-cookie", "__Host-portreeve=x"),
        ],
    );
    let strip = [HeaderName::from_static("x_user_id")];
    let response = response(reply, None, &strip);
    assert_eq!(response.status.unwrap().code, i32::from(Code::Ok));
    let Some(HttpResponse::OkResponse(ok)) = response.http_response else {
        panic!("not let through");
    };
    let text = |name: &str, value: &str, append| (name.to_owned(), value.to_owned(), append);
    assert_eq!(
        written(&ok.headers),
        [
            text("x-portreeve-session", "", false),
            text("x-portreeve-subject", "alice", false),
        ],
        "B23: all set, also what is empty"
    );
    assert!(ok.headers.iter().all(|header| header.keep_empty_value));
    assert_eq!(ok.headers_to_remove, ["x_user_id"]);
    assert_eq!(
        written(&ok.response_headers_to_add),
        [
            text("cache-control", "private", true),
            text("set-cookie", "__Host-portreeve=x", true),
        ],
        "F17: beside the app's own cookies, and in no shared cache"
    );
}

/// The client's own bytes would stay, and in them the session.
#[test]
fn what_cannot_be_written_is_taken_off() {
    let mut reply = reply(StatusCode::OK, &[("x-portreeve-subject", "alice")]);
    let strip = [HeaderName::from_static("x_user_id")];
    for (cookie, written_so) in [
        ("theme=\u{e9}".as_bytes(), true),
        (&b"theme=\xe9"[..], false),
    ] {
        let cookie = HeaderValue::from_bytes(cookie).unwrap();
        reply.headers.insert("cookie", cookie);
        let response = response(reply.clone(), None, &strip);
        let Some(HttpResponse::OkResponse(ok)) = response.http_response else {
            panic!("not let through");
        };
        let written = written(&ok.headers);
        let is_there = written.iter().any(|(name, _, _)| name == "cookie");
        assert_eq!(is_there, written_so);
        let is_removed = ok.headers_to_remove.iter().any(|name| name == "cookie");
        assert_eq!(is_removed, !written_so);
        assert!(ok.headers_to_remove.contains(&"x_user_id".to_owned()));
    }
}

#[test]
fn a_denial_carries_status_headers_and_body() {
    let headers = [
        ("cache-control", "no-store"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("www-authenticate", "Bearer"),
    ];
    let response = response(reply(StatusCode::UNAUTHORIZED, &headers), None, &[]);
    assert_eq!(
        response.status.unwrap().code,
        i32::from(Code::Unauthenticated)
    );
    let Some(HttpResponse::DeniedResponse(denied)) = response.http_response else {
        panic!("let through");
    };
    assert_eq!(denied.status.unwrap().code, 401);
    assert_eq!(denied.body, "{}");
    let texts = written(&denied.headers);
    let texts: Vec<_> = texts
        .iter()
        .map(|(name, value, append)| (name.as_str(), value.as_str(), *append))
        .collect();
    assert_eq!(
        texts,
        [
            ("cache-control", "no-store", false),
            ("set-cookie", "a=1", false),
            ("set-cookie", "b=2", true),
            ("www-authenticate", "Bearer", false),
        ]
    );
}

#[test]
fn the_gateways_log_is_told_what_was_decided() {
    let fields = metadata(&told(true)).fields;
    let text = |name: &str| match fields[name].kind.clone() {
        Some(Kind::StringValue(text)) => text,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(text("outcome"), "mfa");
    assert_eq!(text("decision_id"), "dec_1");
    assert_eq!(text("subject"), "User::alice");
    assert!(!fields.contains_key("session"));
    let Some(Kind::StructValue(risk)) = fields["risk"].kind.clone() else {
        panic!("no risk");
    };
    assert_eq!(risk.fields["score"].kind, Some(Kind::NumberValue(67.0)));
    assert!(fields.contains_key("policies"));
    assert!(!metadata(&told(false)).fields.contains_key("risk"));
}

proptest! {
    /// Nothing but 200 is let through, whatever else comes back.
    #[test]
    fn only_200_is_ok(status in 100_u16..=999) {
        let status = StatusCode::from_u16(status).unwrap();
        let response = response(reply(status, &[]), None, &[]);
        let is_ok = response.status.unwrap().code == i32::from(Code::Ok);
        prop_assert_eq!(is_ok, status == StatusCode::OK);
        let passes = matches!(response.http_response, Some(HttpResponse::OkResponse(_)));
        prop_assert_eq!(passes, is_ok);
    }
}
