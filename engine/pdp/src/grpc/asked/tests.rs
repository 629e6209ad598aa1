use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::address::Address as Kind;
use envoy_types::pb::envoy::config::core::v3::{
    Address, HeaderMap as RawHeaders, HeaderValue as Header, Pipe, SocketAddress,
};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::Request;
use gateway::TargetFault;

use super::*;

fn socket(address: &str) -> Kind {
    Kind::SocketAddress(SocketAddress {
        address: address.to_owned(),
        ..SocketAddress::default()
    })
}

fn attributes(from: Kind, http: HttpRequest) -> Option<AttributeContext> {
    let source = Peer {
        address: Some(Address {
            address: Some(from),
        }),
        certificate: "-----BEGIN".to_owned(),
        ..Peer::default()
    };
    Some(AttributeContext {
        source: Some(source),
        request: Some(Request {
            http: Some(http),
            ..Request::default()
        }),
        ..AttributeContext::default()
    })
}

fn http() -> HttpRequest {
    HttpRequest {
        method: "GET".to_owned(),
        scheme: "https".to_owned(),
        host: "shop.example".to_owned(),
        path: "/orders/7?a=1".to_owned(),
        headers: HashMap::from([("x-request-id".to_owned(), "abc".to_owned())]),
        ..HttpRequest::default()
    }
}

fn raw(headers: &[(&str, &[u8])]) -> HttpRequest {
    let headers = headers.iter().map(|(name, value)| Header {
        key: (*name).to_owned(),
        raw_value: value.to_vec(),
        ..Header::default()
    });
    HttpRequest {
        headers: HashMap::new(),
        header_map: Some(RawHeaders {
            headers: headers.collect(),
        }),
        ..http()
    }
}

fn read(http: HttpRequest) -> Result<Told, NotTold> {
    told(
        attributes(socket("192.0.2.1"), http),
        Reading::default(),
        64,
    )
}

#[test]
fn a_check_is_a_request_with_its_client() {
    let told = read(http()).unwrap();
    let original = told.original.as_ref().unwrap();
    assert_eq!(original.method, "GET");
    assert_eq!(original.scheme, Scheme::Https);
    assert_eq!(original.authority.to_string(), "shop.example");
    assert_eq!(told.client.to_string(), "192.0.2.1");
    assert_eq!(told.request_id(), Some("abc"));
    assert_eq!(told.certificate, "-----BEGIN");
    assert_eq!(
        read(raw(&[])).unwrap().original,
        told.original,
        "the form of the headers is all the same"
    );
}

#[test]
fn the_client_is_an_address_whatever_interface_it_came_over() {
    let client = |text: &str| {
        let told = told(attributes(socket(text), http()), Reading::default(), 8192);
        told.map(|told| told.client.to_string())
    };
    assert_eq!(client("fe80::1%2").unwrap(), "fe80::1");
    assert_eq!(client("fe80::1%eth0").unwrap(), "fe80::1");
    assert_eq!(client("2001:db8::7").unwrap(), "2001:db8::7");
    assert_eq!(client("::ffff:192.0.2.1").unwrap(), "192.0.2.1");
    for none in ["", "unknown", "_hidden", "localhost", "fe80::1%", "0.0.0.0"] {
        assert_eq!(client(none).unwrap_err(), NotTold::NoAddress, "{none}");
    }
}

#[test]
fn headers_come_joined_or_as_they_were() {
    let many: [(&str, &[u8]); 4] = [
        (":path", b"/orders/7?a=1"),
        ("cookie", b"a=1"),
        ("cookie", b"b=\xff"),
        (":protocol", b"websocket"),
    ];
    let told = read(raw(&many)).unwrap();
    let cookies: Vec<&[u8]> = told
        .headers
        .get_all("cookie")
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    assert_eq!(cookies, [&b"a=1"[..], b"b=\xff"]);
    assert_eq!(
        told.headers.len(),
        2,
        "the parts of a request are no headers"
    );
    // Older ones fill `value` in place of `raw_value`.
    let mut old = raw(&[("cookie", b"")]);
    old.header_map.as_mut().unwrap().headers[0].value = "c=3".to_owned();
    assert_eq!(read(old).unwrap().headers["cookie"], "c=3");
}

#[test]
fn what_is_not_told_or_told_twice_is_refused() {
    let long = "x".repeat(65);
    let with = |change: fn(&mut HttpRequest)| {
        let mut http = http();
        change(&mut http);
        http
    };
    for (what, http, wanted) in [
        (
            "another path",
            raw(&[(":path", b"/orders/8")]),
            NotTold::Contradiction("path"),
        ),
        (
            "a path that Envoy could not write down",
            raw(&[(":path", b"/orders/\xff")]),
            NotTold::Contradiction("path"),
        ),
        (
            "another method",
            raw(&[(":method", b"POST")]),
            NotTold::Contradiction("method"),
        ),
        (
            "another host",
            raw(&[(":authority", b"evil.example")]),
            NotTold::Contradiction("host"),
        ),
        ("no name", raw(&[("", b"x")]), NotTold::Header),
        ("a line's end", raw(&[("a", b"x\r\ny: z")]), NotTold::Header),
        (
            "G4: a long value",
            raw(&[("a", long.as_bytes())]),
            NotTold::HeaderTooLong,
        ),
        ("a long name", raw(&[(&long, b"x")]), NotTold::HeaderTooLong),
        (
            "a header of the map that is none",
            with(|http| {
                http.headers.insert("a b".to_owned(), String::new());
            }),
            NotTold::Header,
        ),
    ] {
        assert_eq!(read(http).unwrap_err(), wanted, "{what}");
    }
    let reading = Reading::default();
    assert_eq!(told(None, reading, 64).unwrap_err(), NotTold::NoRequest);
    let of_nothing = Some(AttributeContext::default());
    assert_eq!(
        told(of_nothing, reading, 64).unwrap_err(),
        NotTold::NoRequest
    );
    let pipe = Kind::Pipe(Pipe::default());
    for nobody in [pipe, socket(""), socket("shop.example")] {
        let fault = told(attributes(nobody, http()), reading, 64).unwrap_err();
        assert_eq!(fault, NotTold::NoAddress);
    }
}

#[test]
fn what_has_no_single_reading_is_a_fault_of_the_request() {
    for (what, change, wanted) in [
        (
            "an encoded slash",
            (|http| http.path = "/orders%2f7".to_owned()) as fn(&mut HttpRequest),
            None,
        ),
        (
            "no target, as of CONNECT",
            |http| http.path.clear(),
            Some(OriginalFault::Target(TargetFault::Empty)),
        ),
        (
            "no host",
            |http| http.host.clear(),
            Some(OriginalFault::Host),
        ),
        (
            "no method",
            |http| http.method.clear(),
            Some(OriginalFault::Method),
        ),
        (
            "a scheme of its own",
            |http| http.scheme = "gopher".to_owned(),
            Some(OriginalFault::Scheme),
        ),
    ] {
        let mut http = http();
        change(&mut http);
        let fault = read(http).unwrap().original.unwrap_err();
        assert!(wanted.is_none_or(|wanted| wanted == fault), "{what}");
    }
    let without_scheme = HttpRequest {
        scheme: String::new(),
        ..http()
    };
    let original = read(without_scheme).unwrap().original.unwrap();
    assert_eq!(original.scheme, Scheme::Https);
}
