use proptest::prelude::*;

use super::*;
use crate::query::QueryFault;

fn path(raw: &str) -> Result<String, TargetFault> {
    Target::parse(raw.as_bytes(), EmptySegments::Refuse).map(|target| target.path())
}

#[test]
fn a_path_has_one_reading() {
    for (raw, wanted) in [
        ("/", "/"),
        ("/orders", "/orders"),
        ("/orders/", "/orders/"),
        ("/orders/7?x=1&x=2", "/orders/7"),
        ("/%6Frders/%37", "/orders/7"),
        ("/a%20b/%C3%BC", "/a%20b/%C3%BC"),
        ("/a+b", "/a%2Bb"),
        ("/...", "/..."),
        ("/.well-known/x", "/.well-known/x"),
        ("/a..b/.c", "/a..b/.c"),
        ("/100%25", "/100%25"),
        ("/?", "/"),
        ("/a?b?c#", ""),
        ("/user@shop.example:8080", "/user@shop.example:8080"),
    ] {
        match wanted {
            "" => assert_eq!(path(raw), Err(TargetFault::Fragment)),
            wanted => assert_eq!(path(raw).as_deref(), Ok(wanted), "{raw}"),
        }
    }
}

#[test]
fn what_has_two_readings_is_refused() {
    use TargetFault::*;
    let long = format!("/{}", "a".repeat(TARGET_MAX));
    let deep = "/a".repeat(SEGMENTS_MAX + 1);
    for (raw, wanted) in [
        ("", Empty),
        ("*", NotOrigin),
        ("orders", NotOrigin),
        ("shop.example:443", NotOrigin),
        ("https://shop.example/orders", NotOrigin),
        ("?x=/", NotOrigin),
        ("\\admin", NotOrigin),
        ("/orders#top", Fragment),
        ("/orders?x#top", Fragment),
        ("/a b", BareByte(b' ')),
        ("/a\tb", BareByte(b'\t')),
        ("/a\0", BareByte(0)),
        ("/a\r\nX: y", BareByte(b'\r')),
        ("/\u{fc}", BareByte(0xC3)),
        ("/a?b=\u{fc}", BareByte(0xC3)),
        ("/%", BadEscape),
        ("/%2", BadEscape),
        ("/%zz", BadEscape),
        ("/%u002f", BadEscape),
        ("/%%32%66", BadEscape),
        ("/a%2Fb", EncodedSlash),
        ("/a%2fb", EncodedSlash),
        ("/..%2f..%2fetc", EncodedSlash),
        ("/a%EF%BC%8Fb", EncodedSlash),
        ("/a\\b", Backslash),
        ("/a%5Cb", Backslash),
        ("/..%5c", Backslash),
        ("/a%EF%BC%BCb", Backslash),
        ("/%252e%252e", EncodedTwice),
        ("/a%252Fb", EncodedTwice),
        ("/%25u002f", EncodedTwice),
        ("/%25%32%66", EncodedTwice),
        ("/%EF%BC%852f", EncodedTwice),
        ("/.", DotSegment),
        ("/..", DotSegment),
        ("/a/../admin", DotSegment),
        ("/a/./b", DotSegment),
        ("/a/..", DotSegment),
        ("/a/%2e%2e/b", DotSegment),
        ("/a/.%2E/b", DotSegment),
        ("/a/%2e", DotSegment),
        ("/a/..%20/b", DotSegment),
        ("/a/%20/b", DotSegment),
        ("/a/%E2%80%A5/b", DotSegment),
        ("/a/%EF%BC%8E%EF%BC%8E/b", DotSegment),
        ("/admin%20", BlankAtEnd),
        ("/%20admin/x", BlankAtEnd),
        ("/admin%C2%A0", BlankAtEnd),
        ("//", EmptySegment),
        ("//evil.example/x", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a//", EmptySegment),
        ("/a;x=1", PathParameter),
        ("/..;/admin", PathParameter),
        ("/a%3Bb", PathParameter),
        ("/a%EF%B8%94b", PathParameter),
        ("/api/admin%3Fx", EncodedEnd),
        ("/api/admin%3fx", EncodedEnd),
        ("/api/admin%23x", EncodedEnd),
        ("/admin%EF%BC%9Fx", EncodedEnd),
        ("/admin%EF%BC%83x", EncodedEnd),
        ("/admin%E2%81%89", EncodedEnd),
        ("/a/%EF%B8%B0/b", DotSegment),
        ("/a%00", Control(0)),
        ("/a%0d%0aX", Control(0x0D)),
        ("/a%7F", Control(0x7F)),
        ("/a%C2%85", Control(0x85)),
        ("/%C0%AE%C0%AE/", NotUtf8),
        ("/%C0%AF", NotUtf8),
        ("/%FF", NotUtf8),
        ("/%ED%A0%80", NotUtf8),
        (&long, TooLong),
        (&deep, TooManySegments),
    ] {
        assert_eq!(path(raw), Err(wanted), "{raw}");
    }
}

#[test]
fn slashes_are_merged_where_the_settings_say_so() {
    for (raw, wanted) in [
        ("//", "/"),
        ("/a//b", "/a/b"),
        ("//evil.example/x", "/evil.example/x"),
        ("/a//", "/a/"),
    ] {
        let target = Target::parse(raw.as_bytes(), EmptySegments::Merge).unwrap();
        assert_eq!(target.path(), wanted, "{raw}");
    }
    let dots = Target::parse(b"/a//../b", EmptySegments::Merge);
    assert_eq!(dots, Err(TargetFault::DotSegment));
}

#[test]
fn a_key_has_one_value() {
    use QueryFault::*;
    let id = || "id".to_owned();
    for (raw, wanted) in [
        ("/?id=7", Ok(Some("7"))),
        ("/?a=1&id=7&b", Ok(Some("7"))),
        ("/?%69d=7", Ok(Some("7"))),
        ("/?id", Ok(Some(""))),
        ("/?id=a+b%2Bc", Ok(Some("a b+c"))),
        ("/?id=https%3A%2F%2Fx%2F%253F", Ok(Some("https://x/%3F"))),
        ("/?x=1&x=2", Ok(None)),
        ("/?x=%00%FF", Ok(None)),
        ("/?", Ok(None)),
        ("/?id=7&id=8", Err(Duplicate(id()))),
        ("/?id=7&id=7", Err(Duplicate(id()))),
        ("/?id=7&%69%64=8", Err(Duplicate(id()))),
        ("/?id=7&ID=8", Err(OtherSpelling(id()))),
        ("/?id=7&id[]=8", Err(OtherSpelling(id()))),
        ("/?id%5B0%5D=8", Err(OtherSpelling(id()))),
        ("/?+id=8", Err(OtherSpelling(id()))),
        ("/?id=1&[id]=2", Err(NoRoot)),
        ("/?[]=2", Err(NoRoot)),
        ("/?id=7&x.y=1&x%20y=2&=3&", Ok(Some("7"))),
        ("/?id=7;id=8", Err(Semicolon)),
        ("/?id=%", Err(BadEscape)),
        ("/?%zz=1", Err(BadEscape)),
        ("/?id=%FF", Err(NotUtf8)),
        ("/?id=7%00", Err(Control(0))),
        ("/?i%00d=7", Err(Control(0))),
        (&format!("/?{}", "a&".repeat(PAIRS_MAX)), Err(TooMany)),
    ] {
        let target = Target::parse(raw.as_bytes(), EmptySegments::Refuse).unwrap();
        let value = target.query().unwrap().value("id");
        assert_eq!(value, wanted.map(|value| value.map(str::to_owned)), "{raw}");
    }
    // PHP writes `.`, blanks and an open `[` as `_`; Spring reads `user[id]` as `user.id`.
    for (raw, key, wanted) in [
        ("/?user_id=1&user.id=2", "user_id", None),
        ("/?user_id=1&user+id=2", "user_id", None),
        ("/?user_id=1&user[id=2", "user_id", None),
        ("/?user_id=1&User.Id=2", "user_id", None),
        ("/?user.id=1&user[id]=2", "user.id", None),
        ("/?user.id=1&user_id=2", "user.id", None),
        ("/?user.id=1", "user.id", Some("1")),
        ("/?filter[name]=1", "filter[name]", Some("1")),
        ("/?user_id=1&user=2&id=3&users.id=4", "user_id", Some("1")),
    ] {
        let target = Target::parse(raw.as_bytes(), EmptySegments::Refuse).unwrap();
        let wanted = match wanted {
            Some(value) => Ok(Some(value.to_owned())),
            None => Err(OtherSpelling(key.to_owned())),
        };
        assert_eq!(target.query().unwrap().value(key), wanted, "{raw}");
    }
}

use crate::query::PAIRS_MAX;

/// Percent-encodes some bytes of a text, as the bits of `mask` say.
fn encoded(text: &str, mask: u64) -> String {
    let mut written = String::new();
    for (at, byte) in text.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() && mask & (1 << (at % 64)) == 0 {
            written.push(char::from(byte));
        } else {
            written.push_str(&format!("%{byte:02X}"));
        }
    }
    written
}

proptest! {
    /// Whatever comes: one reading, in which nothing could be read again as something else.
    #[test]
    fn what_is_read_cannot_be_read_otherwise(raw in "/([a.%/?;\\\\2f5cCeE0u \u{fc}-]|%2[ef53]|%3f|%5c|%c0%ae){0,12}") {
        for empty in [EmptySegments::Refuse, EmptySegments::Merge] {
            let Ok(target) = Target::parse(raw.as_bytes(), empty) else { continue };
            for segment in target.segments() {
                prop_assert!(!segment.is_empty() && segment != "." && segment != "..");
                prop_assert!(!segment.contains(['/', '\\', ';', '?', '#', '\0']));
            }
            // Reading what was written gives the same, so an app that reads it sees what was decided.
            let again = Target::parse(target.written().as_bytes(), EmptySegments::Refuse);
            prop_assert_eq!(again.as_ref(), Ok(&target));
            prop_assert!(!target.path().contains("//"));
        }
    }

    /// Any encoding of the same names is the same path.
    #[test]
    fn spelling_makes_no_difference(
        names in prop::collection::vec("[a-zA-Z0-9_ü]([a-z0-9.@ ü-]{0,8}[a-z0-9])?", 0..5),
        masks in prop::collection::vec(any::<u64>(), 5),
    ) {
        let raw: String = names.iter().zip(masks).map(|(name, mask)| format!("/{}", encoded(name, mask))).collect();
        let raw = if raw.is_empty() { "/".to_owned() } else { raw };
        let target = Target::parse(raw.as_bytes(), EmptySegments::Refuse).unwrap();
        prop_assert_eq!(target.segments(), &names[..]);
    }

    #[test]
    fn no_bytes_make_it_panic(raw in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut with_slash = vec![b'/'];
        with_slash.extend(&raw);
        for raw in [raw, with_slash] {
            if let Ok(target) = Target::parse(&raw, EmptySegments::Merge)
                && let Some(query) = target.query() {
                let _ = query.value("id");
                let _ = query.keys().count();
            }
        }
    }
}
