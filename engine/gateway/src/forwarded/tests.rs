use http::HeaderValue;
use proptest::prelude::*;

use super::*;

/// What is sent by `peer`, and who that makes the client.
struct Story {
    what: &'static str,
    peer: Peer,
    from: AddressFrom,
    hops: Option<u8>,
    headers: &'static [(&'static str, &'static str)],
    wanted: Result<Option<&'static str>, &'static str>,
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn trust(from: AddressFrom, hops: Option<u8>) -> Trust {
    Trust {
        networks: ["10.0.0.0/8", "127.0.0.1/32", "2001:db8:a::/48"]
            .map(|network| network.parse().unwrap())
            .to_vec(),
        hops,
        address_from: from,
        original_from: OriginalFrom::Any,
    }
}

fn check(story: &Story) {
    let found = client(
        story.peer,
        &headers(story.headers),
        &trust(story.from, story.hops),
    );
    match (&found, story.wanted) {
        (Ok(found), Ok(wanted)) => assert_eq!(*found, wanted.map(ip), "{}", story.what),
        (Err(fault), Err(word)) => {
            assert!(fault.to_string().contains(word), "{}: {fault}", story.what);
        }
        _ => panic!("{}: {found:?}", story.what),
    }
}

fn gateway() -> Peer {
    Peer::Gateway(ip("10.0.0.1"))
}

#[test]
fn x_forwarded_for_is_believed_from_the_right() {
    let story = |what, headers, wanted| Story {
        what,
        peer: gateway(),
        from: AddressFrom::XForwardedFor,
        hops: None,
        headers,
        wanted,
    };
    const X: &str = "x-forwarded-for";
    for story in [
        story("one client", &[(X, "203.0.113.7")], Ok(Some("203.0.113.7"))),
        story(
            "the rightmost that is no hop",
            &[(X, "1.1.1.1, 203.0.113.7, 10.1.2.3")],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "what the client wrote is not read",
            &[(X, "<script>, 203.0.113.7")],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "nor believed when it names a hop",
            &[(X, "10.9.9.9, 203.0.113.7")],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "all are hops: the first of them",
            &[(X, "10.0.0.9, 10.0.0.8")],
            Ok(Some("10.0.0.9")),
        ),
        story(
            "fields are one list",
            &[(X, "1.1.1.1"), (X, "203.0.113.7")],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "empty elements are none",
            &[(X, ", 203.0.113.7 ,,")],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "a port",
            &[(X, "203.0.113.7:4711")],
            Ok(Some("203.0.113.7")),
        ),
        story("bare IPv6", &[(X, "2001:db8::7")], Ok(Some("2001:db8::7"))),
        story("brackets", &[(X, "[2001:db8::7]")], Ok(Some("2001:db8::7"))),
        story(
            "brackets and port",
            &[(X, "[2001:db8::7]:443")],
            Ok(Some("2001:db8::7")),
        ),
        story("a zone", &[(X, "fe80::1%eth0")], Ok(Some("fe80::1"))),
        story(
            "a zone in a URL",
            &[(X, "[fe80::1%25eth0]:80")],
            Ok(Some("fe80::1")),
        ),
        story(
            "IPv4 in IPv6",
            &[(X, "::ffff:203.0.113.7")],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "a hop, IPv4 in IPv6",
            &[(X, "203.0.113.7, ::ffff:10.2.2.2")],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "a hop with IPv6",
            &[(X, "203.0.113.7, 2001:db8:a::9")],
            Ok(Some("203.0.113.7")),
        ),
        story("unknown", &[(X, "1.1.1.1, unknown")], Ok(None)),
        story("nobody's address", &[(X, "0.0.0.0")], Ok(None)),
        story("the gateway says nothing", &[], Ok(None)),
        story(
            "another header is not read",
            &[("forwarded", "for=1.1.1.1")],
            Ok(None),
        ),
        story(
            "nonsense of a hop",
            &[(X, "1.1.1.1, nonsense")],
            Err("not of its form"),
        ),
        story("octal", &[(X, "010.0.0.1")], Err("not of its form")),
        story(
            "a port too many",
            &[(X, "203.0.113.7:99999")],
            Err("not of its form"),
        ),
        story(
            "half a bracket",
            &[(X, "[2001:db8::7")],
            Err("not of its form"),
        ),
        story(
            "a zone without a name",
            &[(X, "fe80::1%")],
            Err("not of its form"),
        ),
    ] {
        check(&story);
    }
    let many = vec!["10.0.0.1"; ELEMENTS_MAX + 1].join(",");
    let found = client(
        gateway(),
        &headers(&[(X, &many)]),
        &trust(AddressFrom::Any, None),
    );
    assert_eq!(found, Err(ForwardedFault::TooLong(X_FORWARDED_FOR)));
}

#[test]
fn forwarded_is_read_to_the_letter() {
    let story = |what, headers, wanted| Story {
        what,
        peer: gateway(),
        from: AddressFrom::Forwarded,
        hops: None,
        headers,
        wanted,
    };
    const F: &str = "forwarded";
    for story in [
        story(
            "one client",
            &[(F, "for=203.0.113.7")],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "all parameters",
            &[(
                F,
                "For=\"203.0.113.7:80\"; Proto=https;by=_x;host=\"a;b,c\"",
            )],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "IPv6",
            &[(F, "for=\"[2001:db8::7]:443\"")],
            Ok(Some("2001:db8::7")),
        ),
        story(
            "a chain",
            &[(F, "for=1.1.1.1, for=203.0.113.7;proto=http , for=10.1.1.1")],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "fields",
            &[(F, "for=1.1.1.1"), (F, "for=203.0.113.7")],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "empty elements",
            &[(F, ",, for=203.0.113.7,")],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "escapes",
            &[(F, "for=\"\\2\\03.0.113.7\"")],
            Ok(Some("203.0.113.7")),
        ),
        story("unknown", &[(F, "for=unknown")], Ok(None)),
        story("a hidden name", &[(F, "for=_gazonk")], Ok(None)),
        story(
            "a hidden name and port",
            &[(F, "for=\"_gazonk:_p\"")],
            Ok(None),
        ),
        story("nobody", &[(F, "by=10.0.0.1")], Ok(None)),
        story(
            "an open quote swallows nothing",
            &[(F, "for=\"1.1.1.1, for=203.0.113.7")],
            Err("not of its form"),
        ),
        story(
            "nor across fields",
            &[(F, "for=\"1.1.1.1"), (F, "for=203.0.113.7")],
            Err("not of its form"),
        ),
        story(
            "twice in one element",
            &[(F, "for=1.1.1.1;for=2.2.2.2")],
            Err("not of its form"),
        ),
        story(
            "IPv6 without brackets",
            &[(F, "for=\"2001:db8::7\"")],
            Err("not of its form"),
        ),
        story(
            "IPv6 without quotes",
            &[(F, "for=[2001:db8::7]")],
            Err("not of its form"),
        ),
        story(
            "blanks about `=`",
            &[(F, "for = 1.1.1.1")],
            Err("not of its form"),
        ),
        story("no value", &[(F, "for=")], Err("not of its form")),
        story("a name alone", &[(F, "1.1.1.1")], Err("not of its form")),
        story("rest", &[(F, "for=1.1.1.1 x")], Err("not of its form")),
    ] {
        check(&story);
    }
}

#[test]
fn trust_ends_where_it_ends() {
    const X: &str = "x-forwarded-for";
    const F: &str = "forwarded";
    const R: &str = "x-real-ip";
    let stranger = Peer::Gateway(ip("198.51.100.1"));
    let mapped = Peer::Gateway(ip("::ffff:10.0.0.1"));
    let source = Peer::Client(ip("203.0.113.7"));
    let balancer = Peer::Client(ip("10.3.3.3"));
    let story = |what, peer, from, hops, headers, wanted| Story {
        what,
        peer,
        from,
        hops,
        headers,
        wanted,
    };
    use AddressFrom::{Any, XRealIp};
    for story in [
        story(
            "a stranger is the client",
            stranger,
            Any,
            None,
            &[(X, "1.1.1.1"), (F, "for=2.2.2.2")],
            Ok(Some("198.51.100.1")),
        ),
        story(
            "also with hops counted",
            stranger,
            Any,
            Some(1),
            &[(X, "1.1.1.1")],
            Ok(Some("198.51.100.1")),
        ),
        story(
            "a hop, IPv4 in IPv6",
            mapped,
            Any,
            None,
            &[(X, "1.1.1.1")],
            Ok(Some("1.1.1.1")),
        ),
        story(
            "both agree",
            gateway(),
            Any,
            None,
            &[(X, "1.1.1.1"), (F, "for=1.1.1.1")],
            Ok(Some("1.1.1.1")),
        ),
        story(
            "both do not",
            gateway(),
            Any,
            None,
            &[(X, "1.1.1.1"), (F, "for=2.2.2.2")],
            Err("do not agree"),
        ),
        story(
            "one hides",
            gateway(),
            Any,
            None,
            &[(X, "1.1.1.1"), (F, "for=_x")],
            Err("do not agree"),
        ),
        story(
            "the peer alone",
            gateway(),
            AddressFrom::Connection,
            None,
            &[(X, "1.1.1.1")],
            Ok(Some("10.0.0.1")),
        ),
        story(
            "one hop",
            gateway(),
            Any,
            Some(1),
            &[(X, "9.9.9.9, 1.1.1.1")],
            Ok(Some("1.1.1.1")),
        ),
        story(
            "two hops",
            gateway(),
            Any,
            Some(2),
            &[(X, "9.9.9.9, 1.1.1.1, 198.18.0.1")],
            Ok(Some("1.1.1.1")),
        ),
        story(
            "around one",
            gateway(),
            Any,
            Some(2),
            &[(X, "1.1.1.1")],
            Err("names 1 hops"),
        ),
        story(
            "hops are not trusted by address",
            gateway(),
            Any,
            Some(1),
            &[(X, "1.1.1.1, 10.1.1.1")],
            Ok(Some("10.1.1.1")),
        ),
        story(
            "real ip",
            gateway(),
            XRealIp,
            None,
            &[("x-real-ip", "1.1.1.1"), (X, "2.2.2.2")],
            Ok(Some("1.1.1.1")),
        ),
        story(
            "two real ips",
            gateway(),
            XRealIp,
            None,
            &[("x-real-ip", "1.1.1.1"), ("x-real-ip", "1.1.1.1")],
            Err("more than once"),
        ),
        story(
            "a list of real ips",
            gateway(),
            XRealIp,
            None,
            &[("x-real-ip", "1.1.1.1, 2.2.2.2")],
            Err("more than once"),
        ),
        story(
            "no real ip",
            gateway(),
            XRealIp,
            None,
            &[(X, "1.1.1.1")],
            Ok(None),
        ),
        story(
            "nginx's own, and a client that writes another",
            gateway(),
            Any,
            None,
            &[(R, "203.0.113.9"), (X, "8.8.8.8")],
            Err("set `gateway.address_from` to the one"),
        ),
        story(
            "nginx's own, and a client that writes another, as the standard has it",
            gateway(),
            Any,
            None,
            &[(R, "203.0.113.9"), (F, "for=8.8.8.8")],
            Err("do not agree about the client"),
        ),
        story(
            "nginx's own alone",
            gateway(),
            Any,
            None,
            &[(R, "203.0.113.9")],
            Ok(Some("203.0.113.9")),
        ),
        story(
            "nginx sets one and adds to the other",
            gateway(),
            Any,
            None,
            &[(R, "203.0.113.9"), (X, "8.8.8.8, 203.0.113.9")],
            Ok(Some("203.0.113.9")),
        ),
        story(
            "the same behind a balancer",
            gateway(),
            Any,
            None,
            &[(R, "10.3.3.3"), (X, "8.8.8.8, 203.0.113.9, 10.3.3.3")],
            Ok(Some("203.0.113.9")),
        ),
        story(
            "the same behind one whose address is not known",
            gateway(),
            Any,
            Some(2),
            &[(R, "198.18.0.1"), (X, "8.8.8.8, 203.0.113.9, 198.18.0.1")],
            Ok(Some("203.0.113.9")),
        ),
        story(
            "Envoy behind a balancer whose address is not known",
            Peer::Client(ip("198.18.0.1")),
            Any,
            Some(2),
            &[(X, "8.8.8.8, 203.0.113.9, 198.18.0.1")],
            Ok(Some("203.0.113.9")),
        ),
        story(
            "Envoy behind a balancer that should say more",
            Peer::Client(ip("198.18.0.1")),
            Any,
            Some(2),
            &[],
            Err("names 0 hops, and 1 stand"),
        ),
        story(
            "Envoy's source",
            source,
            Any,
            None,
            &[(X, "1.1.1.1, 203.0.113.7")],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "Envoy behind a balancer",
            balancer,
            Any,
            None,
            &[(X, "1.1.1.1, 203.0.113.7, 10.3.3.3")],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "Envoy that adds nothing",
            balancer,
            Any,
            None,
            &[(X, "1.1.1.1, 203.0.113.7")],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "Envoy asked from inside",
            balancer,
            Any,
            None,
            &[],
            Ok(Some("10.3.3.3")),
        ),
        story(
            "Envoy alone, counted",
            source,
            Any,
            Some(1),
            &[(X, "1.1.1.1")],
            Ok(Some("203.0.113.7")),
        ),
        story(
            "Envoy and a balancer, counted",
            balancer,
            Any,
            Some(2),
            &[(X, "9.9.9.9, 1.1.1.1, 10.3.3.3")],
            Ok(Some("1.1.1.1")),
        ),
    ] {
        check(&story);
    }
    let nobody = Trust::default();
    let found = client(gateway(), &headers(&[(X, "1.1.1.1")]), &nobody);
    assert_eq!(
        found,
        Ok(Some(ip("10.0.0.1"))),
        "nobody is trusted by default"
    );
}

fn public() -> impl Strategy<Value = IpAddr> {
    // Outside the trusted networks.
    (any::<[u8; 3]>()).prop_map(|[a, b, c]| IpAddr::from([203, a, b, c.max(1)]))
}

proptest! {
    /// Whatever a client sends, the address that a trusted hop adds is the client's.
    #[test]
    fn a_client_cannot_choose_its_address(
        sent in prop::collection::vec("[ -~]{0,24}", 0..4),
        client_address in public(),
        hops in 0_usize..3,
    ) {
        let mut headers = HeaderMap::new();
        for text in &sent {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(text).unwrap());
        }
        let mut added = client_address.to_string();
        for hop in 0..hops {
            added.push_str(&format!(", 10.0.0.{}", hop + 1));
        }
        headers.append(X_FORWARDED_FOR, HeaderValue::from_str(&added).unwrap());
        let gateway = gateway();
        let found = client(gateway, &headers, &trust(AddressFrom::XForwardedFor, None));
        prop_assert!(matches!(found, Ok(Some(address)) if address == client_address)
            || matches!(found, Err(ForwardedFault::TooLong(_))), "{:?}", found);
        let counted = u8::try_from(hops + 1).unwrap();
        let found = client(gateway, &headers, &trust(AddressFrom::XForwardedFor, Some(counted)));
        prop_assert!(matches!(found, Ok(Some(address)) if address == client_address)
            || matches!(found, Err(ForwardedFault::TooLong(_))), "{:?}", found);
    }

    /// The same for `Forwarded`, where what the client sends is a field of its own; what cannot be
    /// read is refused.
    #[test]
    fn nor_in_the_other_header(sent in "[ -~]{0,40}", client_address in public()) {
        let mut headers = HeaderMap::new();
        for text in [sent.clone(), format!("{sent}, for={client_address}")] {
            headers.insert(FORWARDED, HeaderValue::from_str(&text).unwrap());
            if !text.ends_with(&format!("for={client_address}")) {
                headers.append(FORWARDED, HeaderValue::from_str(&format!("for={client_address}")).unwrap());
            }
            match client(gateway(), &headers, &trust(AddressFrom::Forwarded, None)) {
                Ok(found) => prop_assert_eq!(found, Some(client_address)),
                Err(fault) => prop_assert_eq!(fault, ForwardedFault::Malformed(FORWARDED)),
            }
        }
    }

    #[test]
    fn an_address_is_read_however_it_is_written(bytes in any::<[u8; 16]>(), port in 1_u16..) {
        let v6 = std::net::Ipv6Addr::from(bytes);
        let wanted = Node::of(v6.into());
        for text in [format!("{v6}"), format!("[{v6}]"), format!("[{v6}]:{port}"), format!("{v6}%eth0")] {
            prop_assert_eq!(Node::parse(&text), Some(wanted), "{}", text);
        }
        let [a, b, c, d, ..] = bytes;
        let v4 = std::net::Ipv4Addr::new(a, b, c, d);
        let wanted = Node::of(v4.into());
        for text in [format!("{v4}"), format!("{v4}:{port}"), format!("::ffff:{v4}"), format!("[::ffff:{v4}]:{port}")] {
            prop_assert_eq!(Node::parse(&text), Some(wanted), "{}", text);
        }
    }
}
