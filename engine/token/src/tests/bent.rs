//! Rightly signed tokens with something wrong in them, ours and foreign ones alike: each row is
//! a way that libraries are known to let through (J1, J3, J4, J6, T7, T12, T30, X24).

use super::*;
use crate::{ForeignExpected, Refusal, verify, verify_foreign};

/// A change of one member: another value, or none.
pub(super) type Change = (&'static str, Option<Value>);

/// What is wrong, in the header or in the claims, and what that is called.
pub(super) fn rows() -> Vec<(&'static str, Vec<Change>, Vec<Change>, &'static str)> {
    let set = |name, value| vec![(name, Some(value))];
    let gone = |name| vec![(name, None)];
    let header = |name, change, code| (name, change, vec![], code);
    let claim = |name, change, code| (name, vec![], change, code);
    vec![
        header("crit", set("crit", json!(["foo"])), "header"),
        header("crit, empty", set("crit", json!([])), "header"),
        header(
            "crit b64",
            vec![("b64", Some(json!(false))), ("crit", Some(json!(["b64"])))],
            "header",
        ),
        header("b64", set("b64", json!(false)), "header"),
        header(
            "jku",
            set("jku", json!("https://evil.example/jwks")),
            "header",
        ),
        header(
            "x5u",
            set("x5u", json!("https://evil.example/x5")),
            "header",
        ),
        header("x5c", set("x5c", json!(["MIIB"])), "header"),
        header("jwk", set("jwk", json!({"kty": "OKP"})), "header"),
        header("zip", set("zip", json!("DEF")), "header"),
        header("cty", set("cty", json!("JWT")), "header"),
        header("enc", set("enc", json!("A256GCM")), "encrypted"),
        header("no typ", gone("typ"), "header"),
        header("typ of a proof", set("typ", json!("dpop+jwt")), "typ"),
        header("typ of an event", set("typ", json!("secevent+jwt")), "typ"),
        header("typ of a logout", set("typ", json!("logout+jwt")), "typ"),
        header("typ with a blank", set("typ", json!("at+jwt ")), "typ"),
        header(
            "typ of another media",
            set("typ", json!("text/at+jwt")),
            "typ",
        ),
        header("typ as a list", set("typ", json!(["at+jwt"])), "header"),
        header("alg none", set("alg", json!("none")), "alg"),
        header("alg nOnE", set("alg", json!("nOnE")), "alg"),
        header("alg of a secret", set("alg", json!("HS256")), "alg"),
        header("alg with a blank", set("alg", json!("ES256 ")), "alg"),
        header("alg in small letters", set("alg", json!("es256")), "alg"),
        header("alg of another key", set("alg", json!("RS256")), "alg"),
        header("alg not taken", set("alg", json!("ES384")), "alg"),
        header("no alg", gone("alg"), "header"),
        header("alg null", set("alg", json!(null)), "header"),
        header("no kid", gone("kid"), "header"),
        header("kid of nobody", set("kid", json!("nobody")), "kid"),
        header("kid, empty", set("kid", json!("")), "kid"),
        header(
            "kid of a file",
            set("kid", json!("../../../../dev/null")),
            "kid",
        ),
        header("kid of SQL", set("kid", json!("' UNION SELECT 'x")), "kid"),
        header("kid, long", set("kid", json!("k".repeat(300))), "kid"),
        header("kid a number", set("kid", json!(1)), "header"),
        claim("no iss", gone("iss"), "missing_claim"),
        claim("iss a number", set("iss", json!(1)), "malformed_claim"),
        claim(
            "iss a list with ours",
            set("iss", json!([ISSUER])),
            "malformed_claim",
        ),
        claim(
            "iss of another",
            set("iss", json!("https://evil.example")),
            "iss",
        ),
        claim(
            "iss with a slash",
            set("iss", json!("https://pdp.example/")),
            "iss",
        ),
        claim("no aud", gone("aud"), "missing_claim"),
        claim("aud a number", set("aud", json!(1)), "malformed_claim"),
        claim("aud null", set("aud", json!(null)), "malformed_claim"),
        claim("aud of another", set("aud", json!("orders")), "aud"),
        claim("aud in capitals", set("aud", json!("LEDGER")), "aud"),
        claim("expired 59 s ago", set("exp", json!(NOW - 59)), "expired"),
        claim("expires now", set("exp", json!(NOW)), "expired"),
        claim("no exp", gone("exp"), "missing_claim"),
        claim(
            "exp as text",
            set("exp", json!((NOW + 60).to_string())),
            "malformed_claim",
        ),
        claim("exp null", set("exp", json!(null)), "malformed_claim"),
        claim("exp negative", set("exp", json!(-1)), "malformed_claim"),
        claim("exp 1e18", set("exp", json!(1e18)), "malformed_claim"),
        claim(
            "exp of 64 bits",
            set("exp", json!(u64::MAX)),
            "malformed_claim",
        ),
        claim("nbf in an hour", set("nbf", json!(NOW + 3600)), "not_yet"),
        claim("nbf as text", set("nbf", json!("0")), "malformed_claim"),
        claim(
            "iat in an hour",
            vec![
                ("iat", Some(json!(NOW + 3600))),
                ("exp", Some(json!(NOW + 3700))),
            ],
            "not_yet",
        ),
        claim("no iat", gone("iat"), "missing_claim"),
        claim("iat as text", set("iat", json!("0")), "malformed_claim"),
        claim("lives for a day", set("exp", json!(NOW + 86_400)), "life"),
        claim("jti a number", set("jti", json!(1)), "malformed_claim"),
        claim(
            "scope a list",
            set("scope", json!(["read"])),
            "malformed_claim",
        ),
        claim(
            "scope with two blanks",
            set("scope", json!("read  write")),
            "malformed_claim",
        ),
        claim(
            "scope with a quote",
            set("scope", json!("read \"")),
            "malformed_claim",
        ),
        claim("cnf, empty", set("cnf", json!({})), "malformed_claim"),
        claim("cnf null", set("cnf", json!(null)), "malformed_claim"),
        claim(
            "cnf of another way",
            set("cnf", json!({"jwk": {}})),
            "malformed_claim",
        ),
        claim(
            "cnf, short",
            set("cnf", json!({"jkt": "AAAA"})),
            "malformed_claim",
        ),
        claim(
            "cnf in hex",
            set("cnf", json!({"x5t#S256": "a".repeat(64)})),
            "malformed_claim",
        ),
        claim(
            "auth_time as text",
            set("auth_time", json!("1")),
            "malformed_claim",
        ),
        claim("acr a number", set("acr", json!(3)), "malformed_claim"),
    ]
}

/// Only of ours: others may leave these out, or say them otherwise.
fn own_rows() -> Vec<(&'static str, Vec<Change>, &'static str)> {
    let set = |name, value| vec![(name, Some(value))];
    let actors = |depth| {
        (0..depth).fold(
            json!({"sub": "Service/x"}),
            |act, _| json!({"sub": "Service/x", "act": act}),
        )
    };
    vec![
        ("no jti", vec![("jti", None)], "missing_claim"),
        ("jti, empty", set("jti", json!("")), "malformed_claim"),
        (
            "jti with a blank",
            set("jti", json!("a b")),
            "malformed_claim",
        ),
        ("no client_id", vec![("client_id", None)], "missing_claim"),
        (
            "client_id a number",
            set("client_id", json!(1)),
            "malformed_claim",
        ),
        ("no sub", vec![("sub", None)], "missing_claim"),
        (
            "sub without a type",
            set("sub", json!("alice")),
            "malformed_claim",
        ),
        (
            "sub as nobody writes it",
            set("sub", json!("User/a%41")),
            "malformed_claim",
        ),
        ("no nbf", vec![("nbf", None)], "missing_claim"),
        ("no scope", vec![("scope", None)], "missing_claim"),
        ("scope, empty", set("scope", json!("")), "malformed_claim"),
        ("no acr", vec![("acr", None)], "missing_claim"),
        (
            "aud a list",
            set("aud", json!(["ledger"])),
            "malformed_claim",
        ),
        (
            "exp with a fraction",
            set("exp", json!(NOW as f64 + 60.5)),
            "malformed_claim",
        ),
        ("sid null", set("sid", json!(null)), "malformed_claim"),
        ("sid a number", set("sid", json!(1)), "malformed_claim"),
        (
            "act as text",
            set("act", json!("Service/x")),
            "malformed_claim",
        ),
        (
            "act without sub",
            set("act", json!({"client_id": "x"})),
            "malformed_claim",
        ),
        (
            "act of a word",
            set("act", json!({"sub": "x"})),
            "malformed_claim",
        ),
        (
            "act null within",
            set("act", json!({"sub": "Service/x", "act": null})),
            "malformed_claim",
        ),
        ("five actors", set("act", actors(4)), "delegated"),
        ("twenty actors", set("act", actors(19)), "json"),
        (
            "lineage of five",
            set("lineage", json!(["1", "2", "3", "4", "5"])),
            "delegated",
        ),
        (
            "issued to six",
            set(
                "issued_to",
                json!(vec![json!({"client_id": "x", "at": 1}); 6]),
            ),
            "delegated",
        ),
        (
            "issued to nobody",
            set("issued_to", json!([{"client_id": "", "at": 1}])),
            "malformed_claim",
        ),
        (
            "issued to somebody before 1970",
            set("issued_to", json!([{"client_id": "x", "at": -1}])),
            "malformed_claim",
        ),
        (
            "lineage as text",
            set("lineage", json!("1")),
            "malformed_claim",
        ),
        (
            "risk as a score",
            set("risk", json!("67")),
            "malformed_claim",
        ),
        (
            "context with more",
            set("context", json!({"role": "admin"})),
            "malformed_claim",
        ),
    ]
}

pub(super) fn bend(of: &Value, changes: Vec<Change>) -> String {
    let mut bent = of.clone();
    let members = bent.as_object_mut().unwrap();
    for (name, value) in changes {
        match value {
            Some(value) => members.insert(name.to_owned(), value),
            None => members.remove(name),
        };
    }
    bent.to_string()
}

fn foreign() -> ForeignExpected<'static> {
    ForeignExpected {
        issuer: ISSUER,
        audience: "ledger",
        parties: &["spa"],
        kinds: &["at+jwt", "JWT"],
        subject_claim: "sub",
        leeway_seconds: 0,
        life_max_seconds: 3600,
    }
}

/// Both verifiers, by the word of the refusal.
pub(super) fn verdicts(text: &str, keys: &KeySet) -> [&'static str; 2] {
    let own = verify(text, keys, &expected(), now());
    let foreign = verify_foreign(text, keys, &foreign(), now());
    [
        own.as_ref().map_or_else(Refusal::code, |_| "ok"),
        foreign.as_ref().map_or_else(Refusal::code, |_| "ok"),
    ]
}

#[test]
fn each_bend_is_refused_by_its_name() {
    let keys = key_set(Algorithm::Es256);
    let header = header_of(keys.signer());
    let sign = |header: &str, claims: &str| signed(keys.signer(), header, claims.as_bytes());
    let straight = sign(&header.to_string(), &good().to_string());
    assert_eq!(verdicts(&straight, &keys), ["ok", "ok"]);
    for (name, in_header, in_claims, code) in rows() {
        let text = sign(&bend(&header, in_header), &bend(&good(), in_claims));
        assert_eq!(verdicts(&text, &keys), [code, code], "{name}");
    }
    for (name, in_claims, code) in own_rows() {
        let text = sign(&header.to_string(), &bend(&good(), in_claims));
        assert_eq!(verdicts(&text, &keys)[0], code, "{name}");
    }
}

/// What has two meanings, or none, is refused before it means anything.
#[test]
fn each_malformed_text_is_refused() {
    let keys = key_set(Algorithm::Es256);
    let (header, claims) = (header_of(keys.signer()).to_string(), good().to_string());
    let sign = |header: &str, claims: &str| signed(keys.signer(), header, claims.as_bytes());
    let twice = |of: &str, member: &str| format!("{{{member},{}", &of[1..]);
    for member in [
        r#""scope":"admin""#,
        r#""exp":1"#,
        r#""sub":"User/root""#,
        r#""iss":"https://pdp.example""#,
        r#""aud":"orders""#,
        r#""\u0073cope":"admin""#,
    ] {
        let text = sign(&header, &twice(&claims, member));
        assert_eq!(verdicts(&text, &keys), ["json", "json"], "{member} twice");
    }
    for member in [r#""kid":"x""#, r#""alg":"none""#, r#""typ":"JWT""#] {
        let text = sign(&twice(&header, member), &claims);
        assert_eq!(verdicts(&text, &keys), ["json", "json"], "{member} twice");
    }
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let within = r#""cnf":{"jkt":"a","jkt":"b"}"#;
    for payload in [
        format!("\u{FEFF}{claims}"),
        format!("{claims}x"),
        format!("{claims}{claims}"),
        twice(&claims, &format!("\"x\":{deep}")),
        twice(&claims, within),
        claims.replace(&(NOW + 300).to_string(), "NaN"),
        claims.replace(&(NOW + 300).to_string(), "1e999"),
        format!("[{claims}]"),
        "null".to_owned(),
    ] {
        let text = sign(&header, &payload);
        assert_eq!(verdicts(&text, &keys), ["json", "json"], "{payload}");
    }

    let good = sign(&header, &claims);
    let parts: Vec<&str> = good.split('.').collect();
    let (h, p, s) = (parts[0], parts[1], parts[2]);
    let cases = [
        (String::new(), "not_compact"),
        ("..".to_owned(), "not_compact"),
        (format!("{h}.{p}"), "not_compact"),
        (format!("{h}.{p}."), "not_compact"),
        (format!(".{p}.{s}"), "not_compact"),
        (format!("{h}..{s}"), "not_compact"),
        (format!("{good}.{s}"), "not_compact"),
        (format!("{good}.{s}.{s}"), "encrypted"),
        (format!("{good}="), "not_compact"),
        (format!("{good} "), "not_compact"),
        (format!("\u{FEFF}{good}"), "not_compact"),
        (format!("{h}.{p}\n.{s}"), "not_compact"),
        (
            format!("{h}.{p}.{}", s.replace(['-', '_'], "+") + "+"),
            "not_compact",
        ),
        (format!("{h}.{p}.{}", &s[..s.len() - 2]), "signature"),
        (format!("{h}.{p}.{}", &s[..s.len() - 1]), "encoding"),
        (format!("{h}.{p}.{s}AAAA"), "signature"),
        (format!("{h}.{p}.{}", "A".repeat(86)), "signature"),
        (format!("{h}.{}.{s}", "A".repeat(20_000)), "too_long"),
        (
            serde_json::json!({"payload": p, "protected": h, "signature": s}).to_string(),
            "not_compact",
        ),
    ];
    for (text, code) in cases {
        assert_eq!(verdicts(&text, &keys), [code, code], "{text}");
    }
}

#[test]
fn foreign_tokens_may_say_what_their_standards_leave_open() {
    let keys = key_set(Algorithm::Es256);
    let header = header_of(keys.signer());
    let in_claims = |changes: Vec<Change>| {
        let text = bend(&good(), changes);
        signed(keys.signer(), &header.to_string(), text.as_bytes())
    };
    let several = ("aud", Some(json!(["x", "ledger"])));
    for (name, changes) in [
        ("aud as a list", vec![("aud", Some(json!(["ledger"])))]),
        (
            "several, and issued to us",
            vec![
                several.clone(),
                ("azp", Some(json!("ledger"))),
                ("client_id", None),
            ],
        ),
        (
            "several, and issued to one that is taken",
            vec![several.clone(), ("client_id", Some(json!("spa")))],
        ),
        (
            "one, and issued to anybody",
            vec![("azp", Some(json!("x")))],
        ),
        ("scp", vec![("scope", None), ("scp", Some(json!(["read"])))]),
        (
            "may_act",
            vec![("may_act", Some(json!({"sub": "x", "iss": ISSUER})))],
        ),
        ("no nbf, no jti", vec![("nbf", None), ("jti", None)]),
        ("fractions", vec![("exp", Some(json!(NOW as f64 + 60.5)))]),
        (
            "claims of their own",
            vec![("roles", Some(json!([null, {"a": 1}])))],
        ),
        ("an empty scope", vec![("scope", Some(json!("")))]),
        ("an hour", vec![("exp", Some(json!(NOW + 3600)))]),
    ] {
        assert_eq!(verdicts(&in_claims(changes), &keys)[1], "ok", "{name}");
    }
    for (name, changes, code) in [
        (
            "aud as an empty list",
            vec![("aud", Some(json!([])))],
            "aud",
        ),
        (
            "aud as a list of others",
            vec![("aud", Some(json!(["x"])))],
            "aud",
        ),
        (
            "aud as a mixed list",
            vec![("aud", Some(json!(["ledger", 1])))],
            "malformed_claim",
        ),
        (
            "several, and issued to nobody",
            vec![several.clone(), ("client_id", None)],
            "azp",
        ),
        (
            "several, and issued to another",
            vec![several.clone(), ("azp", Some(json!("ledger")))],
            "azp",
        ),
        (
            "a logout token",
            vec![(
                "events",
                Some(json!({"http://schemas.openid.net/event/backchannel-logout": {}})),
            )],
            "purpose",
        ),
        (
            "somebody acts",
            vec![("act", Some(json!({"sub": "x"})))],
            "delegated",
        ),
        ("act null", vec![("act", Some(json!(null)))], "delegated"),
        (
            "may_act as text",
            vec![("may_act", Some(json!("x")))],
            "malformed_claim",
        ),
        (
            "may_act null",
            vec![("may_act", Some(json!({"sub": null})))],
            "malformed_claim",
        ),
        (
            "may_act with more",
            vec![("may_act", Some(json!({"sub": "x", "from": "10.0.0.0/8"})))],
            "malformed_claim",
        ),
        (
            "scopes twice",
            vec![("scp", Some(json!("read")))],
            "malformed_claim",
        ),
        (
            "scp of blanks",
            vec![("scope", None), ("scp", Some(json!(["a b"])))],
            "malformed_claim",
        ),
        ("no subject", vec![("sub", None)], "missing_claim"),
        (
            "a subject that is a number",
            vec![("sub", Some(json!(7)))],
            "malformed_claim",
        ),
        (
            "an empty subject",
            vec![("sub", Some(json!("")))],
            "malformed_claim",
        ),
        (
            "amr as text",
            vec![("amr", Some(json!("mfa")))],
            "malformed_claim",
        ),
        (
            "a second more than an hour",
            vec![("exp", Some(json!(NOW + 3601)))],
            "life",
        ),
    ] {
        assert_eq!(verdicts(&in_claims(changes), &keys)[1], code, "{name}");
    }
    for typ in ["JWT", "jwt", "application/at+jwt", "APPLICATION/AT+JWT"] {
        let header = bend(&header, vec![("typ", Some(json!(typ)))]);
        let text = signed(keys.signer(), &header, good().to_string().as_bytes());
        assert_eq!(verdicts(&text, &keys)[1], "ok", "{typ}");
    }
}

/// RFC 7515 §4.1.9: the same type, however it is written. RFC 9864: the same algorithm.
#[test]
fn t7_one_type_has_several_spellings() {
    let keys = key_set(Algorithm::EdDsa);
    for (typ, alg, ok) in [
        ("at+jwt", "EdDSA", true),
        ("AT+JWT", "Ed25519", true),
        ("application/at+jwt", "EdDSA", true),
        ("Application/At+Jwt", "EdDSA", true),
        ("JWT", "EdDSA", false),
        ("application/JWT", "EdDSA", false),
        ("at+jwt", "eddsa", false),
        ("application/", "EdDSA", false),
        ("", "EdDSA", false),
    ] {
        let header = json!({"typ": typ, "alg": alg, "kid": keys.signer().id()}).to_string();
        let text = signed(keys.signer(), &header, good().to_string().as_bytes());
        let verified = verify(&text, &keys, &expected(), now());
        assert_eq!(verified.is_ok(), ok, "{typ} {alg}");
    }
}
