//! The subject of a certificate as RFC 4514 writes it, for example `CN=orders,O=Shop,C=FR`: one text
//! for one name, so that it can be somebody's id.

/// Names of the attributes that RFC 4514 §3 gives one to, by their OIDs in DER.
const NAMES: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
        "DC",
    ),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1],
        "UID",
    ),
];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
/// UTF8String, PrintableString, IA5String: what all are UTF-8. What others hold depends on who reads.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];

/// Writes a name, of which this is the inside of its DER. None where it is empty, holds an attribute
/// without a name here, or text that is not UTF-8.
pub(super) fn written(mut name: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    while !name.is_empty() {
        let (set, rest) = take(name, &[SET])?;
        parts.push(together(set)?);
        name = rest;
    }
    parts.reverse();
    (!parts.is_empty()).then(|| parts.join(","))
}

/// Attributes that stand together in one step, apart by `+`.
fn together(mut set: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    while !set.is_empty() {
        let (pair, rest) = take(set, &[SEQUENCE])?;
        let (oid, value) = take(pair, &[OID])?;
        let (_, name) = NAMES.iter().find(|(known, _)| *known == oid)?;
        let (text, after) = take(value, &TEXTS)?;
        let text = std::str::from_utf8(text).ok()?;
        if !after.is_empty() || text.is_empty() {
            return None;
        }
        parts.push(format!("{name}={}", escaped(text)));
        set = rest;
    }
    (!parts.is_empty()).then(|| parts.join("+"))
}

/// One value of DER with one of these tags: its inside, and what follows.
fn take<'d>(der: &'d [u8], tags: &[u8]) -> Option<(&'d [u8], &'d [u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81 => {
            let (length, rest) = rest.split_first()?;
            (usize::from(*length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    tags.contains(tag)
        .then(|| rest.split_at_checked(length))
        .flatten()
}

/// RFC 4514 §2.4.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, character) in text.chars().enumerate() {
        let is_special = matches!(character, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=')
            || (at == 0 && matches!(character, ' ' | '#'))
            || (at == last && character == ' ');
        if is_special {
            safe.push('\\');
        }
        match character {
            '\0' => safe.push_str("\\00"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(tag: u8, inside: &[u8]) -> Vec<u8> {
        let mut der = vec![tag];
        match inside.len() {
            length @ 0..=0x7f => der.push(length as u8),
            length => {
                der.push(0x82);
                der.extend((length as u16).to_be_bytes());
            }
        }
        der.extend(inside);
        der
    }

    fn attribute(oid: &[u8], tag: u8, text: &str) -> Vec<u8> {
        let inside = [value(OID, oid), value(tag, text.as_bytes())].concat();
        value(SEQUENCE, &inside)
    }

    fn step(attributes: &[Vec<u8>]) -> Vec<u8> {
        value(SET, &attributes.concat())
    }

    #[test]
    fn a_name_is_written_from_its_end_and_with_what_stands_for_something_escaped() {
        let (cn, o, c): (&[u8], &[u8], &[u8]) = (&[0x55, 4, 3], &[0x55, 4, 10], &[0x55, 4, 6]);
        let title: &[u8] = &[0x55, 4, 12];
        let long = "x".repeat(300);
        for (steps, wanted) in [
            (
                vec![
                    step(&[attribute(c, 0x13, "FR")]),
                    step(&[attribute(o, 0x0c, "Café, Shop")]),
                    step(&[attribute(cn, 0x0c, "orders")]),
                ],
                Some("CN=orders,O=Café\\, Shop,C=FR".to_owned()),
            ),
            (
                vec![step(&[attribute(cn, 0x0c, " a"), attribute(o, 0x0c, "b=")])],
                Some("CN=\\ a+O=b\\=".to_owned()),
            ),
            (
                vec![step(&[attribute(cn, 0x0c, &long)])],
                Some(format!("CN={long}")),
            ),
            (vec![], None),
            (vec![step(&[])], None),
            (vec![step(&[attribute(title, 0x0c, "x")])], None),
            (vec![step(&[attribute(cn, 0x14, "x")])], None),
            (vec![step(&[attribute(cn, 0x0c, "")])], None),
        ] {
            assert_eq!(written(&steps.concat()), wanted);
        }
    }

    proptest! {
        #[test]
        fn two_names_stay_two(one in "\\PC{1,12}", other in "\\PC{1,12}") {
            let cn: &[u8] = &[0x55, 4, 3];
            let write = |text: &str| written(&step(&[attribute(cn, 0x0c, text)]));
            prop_assert_eq!(one == other, write(&one) == write(&other));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            written(&bytes);
        }
    }
}
