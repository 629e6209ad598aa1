use http::HeaderValue;

use super::*;

fn headers(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (name, value) = line.trim().split_once(':').unwrap();
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
    }
    headers
}

fn told(text: &str, from: OriginalFrom) -> Result<String, String> {
    let trust = Trust {
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        original_from: from,
        ..Trust::default()
    };
    let peer = "10.0.0.1".parse().unwrap();
    match Original::told(peer, &headers(text), &trust, Reading::default()) {
        Ok(asked) => Ok(format!(
            "{} {}://{}{}",
            asked.method,
            asked.scheme.as_str(),
            asked.authority,
            asked.target.written()
        )),
        Err(fault) => Err(fault.to_string()),
    }
}

/// Each story: what is sent, and what it says, or a word of why not.
#[test]
fn gateways_tell_what_was_asked() {
    const CADDY: &str = "x-forwarded-method: GET\nx-forwarded-uri: /orders/7?a=1,2\nx-forwarded-host: Shop.example:8443\nx-forwarded-proto: https";
    const NGINX: &str = "x-original-method: POST\nx-original-uri: /orders/7\nx-original-host: shop.example\nx-forwarded-proto: http";
    for (what, text, wanted) in [
        (
            "Caddy",
            CADDY.to_owned(),
            Ok("GET https://shop.example:8443/orders/7?a=1,2"),
        ),
        (
            "nginx",
            NGINX.to_owned(),
            Ok("POST http://shop.example/orders/7"),
        ),
        (
            "ingress-nginx",
            "x-original-method: GET\nx-original-url: https://shop.example/orders/7?x".to_owned(),
            Ok("GET https://shop.example/orders/7?x"),
        ),
        (
            "both families, in agreement",
            format!(
                "{CADDY}\nx-original-method: GET\nx-original-uri: /orders/7?a=1,2\nx-original-host: shop.example:8443"
            ),
            Ok("GET https://shop.example:8443/orders/7?a=1,2"),
        ),
        (
            "another method",
            format!(
                "{CADDY}\nx-original-method: PUT\nx-original-uri: /orders/7?a=1,2\nx-original-host: shop.example:8443"
            ),
            Err("do not agree"),
        ),
        (
            "another path",
            format!(
                "{NGINX}\nx-forwarded-method: POST\nx-forwarded-uri: /public\nx-forwarded-host: shop.example"
            ),
            Err("do not agree"),
        ),
        (
            "another host",
            format!(
                "{NGINX}\nx-forwarded-method: POST\nx-forwarded-uri: /orders/7\nx-forwarded-host: evil.example"
            ),
            Err("do not agree"),
        ),
        (
            "half of a family beside a whole one",
            format!("{NGINX}\nx-forwarded-method: POST\nx-forwarded-host: shop.example"),
            Err("does not send `x-forwarded-uri`"),
        ),
        (
            "nothing",
            String::new(),
            Err("does not send `x-forwarded-uri`"),
        ),
        (
            "no method",
            CADDY.replace("x-forwarded-method: GET", ""),
            Err("does not send `x-forwarded-method`"),
        ),
        (
            "no host",
            NGINX.replace("x-original-host: shop.example", ""),
            Err("does not send `x-original-host`"),
        ),
        (
            "two methods",
            format!("{CADDY}\nx-forwarded-method: GET"),
            Err("more than once"),
        ),
        (
            "two hosts in a list",
            CADDY.replace("Shop.example:8443", "a.example, b.example"),
            Err("more than once"),
        ),
        (
            "two targets",
            format!("{NGINX}\nx-original-uri: /orders/7"),
            Err("more than once"),
        ),
        (
            "uri and url",
            format!("{NGINX}\nx-original-url: http://shop.example/orders/8"),
            Err("do not agree"),
        ),
        (
            "host and url",
            format!("{NGINX}\nx-original-url: http://evil.example/orders/7"),
            Err("do not agree"),
        ),
        (
            "scheme and url",
            format!("{NGINX}\nx-original-url: https://shop.example/orders/7"),
            Err("do not agree"),
        ),
        (
            "a bad target",
            NGINX.replace("/orders/7", "/orders/%2e%2e/admin"),
            Err("dot segment"),
        ),
        (
            "a whole URL as target",
            NGINX.replace("/orders/7", "http://shop.example/orders/7"),
            Err("not a path"),
        ),
        (
            "a name before the host",
            NGINX.replace("shop.example", "me@shop.example"),
            Err("the host"),
        ),
        ("no scheme", CADDY.replace("https", "ftp"), Err("neither")),
        (
            "a method in lower case",
            CADDY.replace("GET", "get"),
            Err("in upper case"),
        ),
        (
            "no method of HTTP",
            CADDY.replace("GET", "G T"),
            Err("the method"),
        ),
        (
            "another method for the app",
            format!("{CADDY}\nx-http-method-override: DELETE"),
            Err("another method"),
        ),
        (
            "the same method for the app",
            format!("{CADDY}\nx-http-method-override: get"),
            Ok("GET https://shop.example:8443/orders/7?a=1,2"),
        ),
        (
            "the same method in the query",
            CADDY.replace("?a=1,2", "?_method=get"),
            Ok("GET https://shop.example:8443/orders/7?_method=get"),
        ),
        (
            "another method in the query",
            CADDY.replace("?a=1,2", "?a=1&_method=DELETE"),
            Err("`_method` names another method"),
        ),
        (
            "another method in the query, as PHP reads it",
            CADDY.replace("?a=1,2", "?a=1;.METHOD[x]=DELETE"),
            Err("`_method` names another method"),
        ),
        (
            "a query that is none of ours to read",
            CADDY.replace("?a=1,2", "?a;%zz=%FF&method=PUT"),
            Ok("GET https://shop.example:8443/orders/7?a;%zz=%FF&method=PUT"),
        ),
        (
            "another path for the app",
            format!("{CADDY}\nx-rewrite-url: /admin"),
            Err("another path"),
        ),
        (
            "another URL for the app",
            format!("{CADDY}\nx-rewrite-url: https://shop.example/admin"),
            Err("another path"),
        ),
        (
            "no path for the app",
            format!("{CADDY}\nx-rewrite-url: "),
            Err("another path"),
        ),
        (
            "the same path for the app",
            format!("{CADDY}\nx-rewrite-url: /%6Frders/7?a=1,2"),
            Ok("GET https://shop.example:8443/orders/7?a=1,2"),
        ),
        (
            "Forwarded agrees",
            format!(
                "{CADDY}\nforwarded: host=evil;for=1.1.1.1, host=\"shop.example:8443\";proto=https"
            ),
            Ok("GET https://shop.example:8443/orders/7?a=1,2"),
        ),
        (
            "Forwarded has another host",
            format!("{CADDY}\nforwarded: host=evil.example"),
            Err("do not agree"),
        ),
        (
            "Forwarded has another scheme",
            format!("{CADDY}\nforwarded: proto=http"),
            Err("do not agree"),
        ),
    ] {
        let wanted_word = match &wanted {
            Ok(text) | Err(text) => *text,
        };
        match (told(&text, OriginalFrom::Any), wanted) {
            (Ok(found), Ok(wanted)) => assert_eq!(found, wanted, "{what}"),
            (Err(fault), Err(_)) => assert!(fault.contains(wanted_word), "{what}: {fault}"),
            (found, _) => panic!("{what}: {found:?}"),
        }
    }
}

#[test]
fn one_family_can_be_the_only_one() {
    let both = "x-forwarded-method: GET\nx-forwarded-uri: /public\nx-forwarded-host: shop.example
        x-original-method: GET\nx-original-uri: /admin\nx-original-host: shop.example";
    let forwarded = told(both, OriginalFrom::XForwarded);
    assert_eq!(forwarded.as_deref(), Ok("GET https://shop.example/public"));
    let original = told(both, OriginalFrom::XOriginal);
    assert_eq!(original.as_deref(), Ok("GET https://shop.example/admin"));
}

/// The family that is not read is not passed over where an app may read it.
#[test]
fn what_an_app_may_read_is_refused_or_ignored() {
    let text = "x-forwarded-method: GET\nx-forwarded-uri: /public?_method=PUT\n\
        x-forwarded-host: shop.example\nx-original-url: /admin\nx-http-method-override: DELETE";
    let trust = Trust {
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        original_from: OriginalFrom::XForwarded,
        ..Trust::default()
    };
    let peer = "10.0.0.1".parse().unwrap();
    for (ignore_method_override, ignore_path_override, wanted) in [
        (false, false, Err("another method")),
        (true, false, Err("another path")),
        (false, true, Err("another method")),
        (true, true, Ok("/public")),
    ] {
        let reading = Reading {
            ignore_method_override,
            ignore_path_override,
            ..Reading::default()
        };
        let read = Original::told(peer, &headers(text), &trust, reading);
        match (read, wanted) {
            (Ok(read), Ok(wanted)) => assert_eq!(read.target.path(), wanted),
            (Err(fault), Err(wanted)) => assert!(fault.to_string().contains(wanted), "{fault}"),
            (read, _) => panic!("{read:?}"),
        }
    }
}

#[test]
fn a_stranger_is_not_believed() {
    let peer = "::ffff:198.51.100.1".parse().unwrap();
    let fault = Original::told(
        peer,
        &HeaderMap::new(),
        &Trust::default(),
        Reading::default(),
    );
    let v4 = "198.51.100.1".parse().unwrap();
    assert_eq!(fault, Err(OriginalFault::NotTrusted(v4)));
}

/// RFC 9449 §4.3: whatever need not be escaped, or need be, in whichever way it is written.
#[test]
fn a_url_is_that_of_the_request_however_it_is_written() {
    let read = |target: &str| {
        let (none, reading) = (HeaderMap::new(), Reading::default());
        let (method, host) = ("GET", "shop.example");
        Original::direct(
            method,
            Scheme::Https,
            host,
            target.as_bytes(),
            &none,
            reading,
        )
        .unwrap()
    };
    for (target, url, is_same) in [
        (
            "/orders/a@b:c$d",
            "https://shop.example/orders/a@b:c$d",
            true,
        ),
        (
            "/orders/a@b:c$d",
            "https://shop.example/orders/a%40b%3Ac%24d",
            true,
        ),
        (
            "/orders/a%40b?x=1",
            "HTTPS://Shop.Example:443/orders/a@b?y=2#z",
            true,
        ),
        ("/a|b", "https://shop.example/a%7cb", true),
        ("/%c3%a4", "https://shop.example/%C3%A4", true),
        ("/", "https://shop.example", true),
        ("/orders/7", "http://shop.example/orders/7", false),
        ("/orders/7", "https://shop.example:8443/orders/7", false),
        ("/orders/7", "https://x@shop.example/orders/7", false),
        ("/orders/7", "https://shop.example/orders/7/", false),
        ("/orders/7", "https://shop.example/orders%2f7", false),
        ("/orders/7", "https://shop.example/x/../orders/7", false),
        ("/orders/7", "/orders/7", false),
        ("/orders/7", "", false),
        ("/a%40", "https://shop.example/a%2540", false),
    ] {
        let original = read(target);
        assert_eq!(
            original.is_at(url, Reading::default()),
            is_same,
            "{target} {url}"
        );
        assert!(
            original.is_at(&original.url(), Reading::default()),
            "{target}"
        );
    }
}
