use domain::EntityRef;
use proptest::prelude::*;

use super::*;

fn identity() -> Identity {
    let name = HeaderName::from_static;
    Identity::new(
        vec![
            (name("x-user-id"), Says::SubjectId),
            (name("x-user-roles"), Says::Claim("realm.roles".into())),
            (name("x-tenant"), Says::Claim("tenant".into())),
        ],
        &[name("x-department")],
        &[name("x-device"), name("x-ssl-client-dn")],
    )
}

#[test]
fn what_clients_may_not_send() {
    for (name, wanted) in [
        ("X-Portreeve-Subject", true),
        ("x-portreeve-anything", true),
        ("X-User-Id", true),
        ("X_User_Id", true),
        ("x-user", false),
        ("x_user_", true),
        ("X-Forwarded-User", true),
        ("X-Forwarded-For", false),
        ("X-Original-URL", true),
        ("X-HTTP-Method-Override", true),
        ("X-Tenant", true),
        ("x_department", true),
        ("Accept", false),
        ("X-Usergroup", false),
        ("X-User-Agent", false),
        ("X-Forwarded-Email", true),
        ("X-Forwarded-Groups", true),
        ("Remote-Groups", true),
        ("X-WebAuth-User", true),
        ("X-WEBAUTH-ROLE", true),
        ("X-SSL-Client-Verify", true),
        ("X-SSL-Client-DN", false),
        ("x_ssl_client_dn", true),
        ("X-Device", false),
        ("X_Device", true),
        ("Portreeve-Key", true),
        ("X-Rewrite-URL", true),
        ("X-Forwarded-Proto", false),
    ] {
        assert_eq!(identity().is_reserved(name), wanted, "{name}");
    }
    let mut headers = HeaderMap::new();
    let own = ["x-user-id", "x-portreeve-risk-level"];
    for name in ["x_user_id", "accept", "x-portreeve-else"]
        .into_iter()
        .chain(own)
    {
        headers.insert(name, HeaderValue::from_static("x"));
    }
    let mut strip = identity().to_strip(&headers);
    strip.sort_by_key(ToString::to_string);
    assert_eq!(strip, ["x-portreeve-else", "x_user_id"]);
}

/// B23: what a gateway that overwrites `X-User-Id` lets through, and CGI takes for it.
#[test]
fn other_spellings_are_refused() {
    for (name, wanted) in [
        ("x_portreeve_subject", false),
        ("x-user_id", false),
        ("x.user.id", false),
        ("x_forwarded_for", false),
        ("x_real_ip", false),
        ("x_original_url", false),
        ("x_http_method_override", false),
        ("portreeve_key", false),
        ("client_cert", false),
        ("x_tenant", false),
        ("x_device", false),
        ("x-device", true),
        ("x-user-id", true),
        ("x-forwarded-for", true),
        ("my_header", true),
        ("user_agent_hint", true),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static("*/*"));
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static("admin"),
        );
        assert_eq!(identity().spelled(&headers).is_ok(), wanted, "{name}");
    }
}

/// Envoy's HTTP mode shows few headers, so that what is known by name is always among it.
#[test]
fn envoy_is_told_what_to_remove() {
    let mut headers = HeaderMap::new();
    for name in ["x-user-roles", "x-user-boss", "accept", "x-device"] {
        headers.insert(name, HeaderValue::from_static("x"));
    }
    let more = [HeaderName::from_static("cookie")];
    let list = identity().to_remove(&headers, &more).unwrap();
    let list: Vec<&str> = list.to_str().unwrap().split(',').collect();
    for (name, wanted) in [
        ("cookie", true),
        ("x-user-boss", true),
        ("x-department", true),
        ("remote-user", true),
        ("x-forwarded-email", true),
        ("x-user-roles", false),
        ("x-user-id", false),
        ("x-tenant", false),
        ("x-portreeve-subject", false),
        ("x-ssl-client-dn", false),
        ("x-device", false),
        ("accept", false),
    ] {
        assert_eq!(list.contains(&name), wanted, "{name}");
    }
}

/// A long name, or many of them, once ended the list before what came behind them.
#[test]
fn what_does_not_fit_is_left_out_of_no_list() {
    let long = format!("ssl-client-{}", "a".repeat(SENT_MAX));
    let many = (0..40).map(|number| format!("ssl-client-{number}{}", "a".repeat(200)));
    for (names, fits) in [
        (vec![long], false),
        (many.clone().collect(), false),
        (many.take(30).collect::<Vec<_>>(), true),
    ] {
        let mut headers = HeaderMap::new();
        for name in names {
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, HeaderValue::from_static("x"));
        }
        headers.insert("x-webauth-user", HeaderValue::from_static("root"));
        let more = [HeaderName::from_static("cookie")];
        let list = identity().to_remove(&headers, &more);
        assert_eq!(list.is_some(), fits, "{} names", headers.len());
        let Some(list) = list else { continue };
        let list: BTreeSet<&str> = list.to_str().unwrap().split(',').collect();
        let sent = headers.keys().map(HeaderName::as_str);
        for name in sent.chain([
            "x-webauth-user",
            "x-department",
            "x-ms-client-principal",
            "cookie",
        ]) {
            assert!(list.contains(name), "{name}");
        }
    }
}

#[test]
fn every_header_is_set_though_nothing_is_known() {
    let set = identity().set(&Known::default(), "allow");
    let names: Vec<_> = set.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, identity().names().collect::<Vec<_>>());
    let said: Vec<_> = set.iter().filter(|(_, value)| !value.is_empty()).collect();
    assert_eq!(said, [&(OUTCOME, HeaderValue::from_static("allow"))]);
}

#[test]
fn claims_become_text() {
    let roles = ["clerk", "a,b", "ü"].map(|role| Value::Text(role.to_owned()));
    let realm = [("roles".to_owned(), Value::List(roles.to_vec()))].into();
    let claims = [("realm".to_owned(), Value::Record(realm))].into();
    let subject = EntityRef::new("User", "Zoë %").unwrap();
    let known = Known {
        subject: Some(&subject),
        claims: Some(&claims),
        ..Known::default()
    };
    let set: HeaderMap = identity().set(&known, "allow").into_iter().collect();
    assert_eq!(set["x-user-id"], "Zo%C3%AB%20%25");
    assert_eq!(set["x-user-roles"], "clerk,a%2Cb,%C3%BC");
    assert_eq!(set["x-tenant"], "");

    // A text with a comma is not a list.
    let tenant = [("tenant".to_owned(), Value::Text("a,admin".to_owned()))].into();
    let known = Known {
        claims: Some(&tenant),
        ..Known::default()
    };
    let set: HeaderMap = identity().set(&known, "allow").into_iter().collect();
    assert_eq!(set["x-tenant"], "a%2Cadmin");
}

proptest! {
    /// Any two texts stay two, and come back.
    #[test]
    fn encoding_loses_nothing(text in "\\PC{0,20}|[\\x00-\\x7f]{0,20}") {
        let safe = encoded(&text, true);
        prop_assert!(safe.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
        prop_assert!(HeaderValue::from_str(&safe).is_ok());
        let back = percent_encoding::percent_decode_str(&safe).decode_utf8().unwrap();
        prop_assert_eq!(back, text);
    }
}
