//! The compact form of a signed token (RFC 7515 §7.1), taken apart strictly. What it says counts
//! only after [`Jws::open`].

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use crate::keys::{Algorithm, FindKey, VerifyingKey};
use crate::refusal::Refusal;
use crate::strict_json::parse_object;

/// Longest token, bytes. Ours have 700 to 2,000; a foreign one with hundreds of groups fits.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Longest `kid`, bytes.
const KID_BYTES_MAX: usize = 256;

/// Members of the header that are never taken: they change what is signed or how it is packed, or
/// say where a key could be found. A `crit` that we do not know must be refused (RFC 7515
/// §4.1.11), and we know none.
const FORBIDDEN: [&str; 8] = ["crit", "b64", "zip", "cty", "jku", "x5u", "x5c", "jwk"];

/// A token taken apart; nothing is verified yet but its form.
pub(crate) struct Jws<'t> {
    /// The header.
    pub(crate) header: Map<String, Value>,
    algorithm: Algorithm,
    /// What is signed: header and payload as they stand.
    signed: &'t str,
    payload: &'t str,
    signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    /// Takes a token apart, and holds its header against what may be in one: no forbidden member
    /// but the one that is expected (`jwk` in a DPoP proof), one of the kinds, an algorithm
    /// that is taken.
    pub(crate) fn parse(
        text: &'t str,
        kinds: &[&str],
        expected: Option<&str>,
    ) -> Result<Self, Refusal> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::TooLong(text.len()));
        }
        let is_base64url =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !text.bytes().all(is_base64url) {
            return Err(Refusal::NotCompact);
        }
        match text.bytes().filter(|byte| *byte == b'.').count() {
            2 => {}
            4 => return Err(Refusal::Encrypted),
            _ => return Err(Refusal::NotCompact),
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Refusal::NotCompact)?;
        let (header, payload) = signed.split_once('.').ok_or(Refusal::NotCompact)?;
        if header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(Refusal::NotCompact);
        }
        let header = object("header", header)?;
        if header.contains_key("enc") {
            return Err(Refusal::Encrypted);
        }
        let forbidden = FORBIDDEN.into_iter().filter(|name| Some(*name) != expected);
        for name in forbidden {
            if header.contains_key(name) {
                return Err(Refusal::HeaderMember(name));
            }
        }
        let typ = member(&header, "typ")?;
        if !kinds.iter().any(|kind| is_kind(typ, kind)) {
            return Err(Refusal::Type);
        }
        let algorithm = Algorithm::named(member(&header, "alg")?).ok_or(Refusal::Algorithm)?;
        let signature = BASE64URL_NOPAD
            .decode(signature.as_bytes())
            .map_err(|_| Refusal::Encoding("signature"))?;
        Ok(Self {
            header,
            algorithm,
            signed,
            payload,
            signature,
        })
    }

    /// The claims, if the key that `kid` names has signed them. One key has one algorithm, and
    /// one key is tried (B6).
    pub(crate) fn open(&self, keys: &impl FindKey) -> Result<Map<String, Value>, Refusal> {
        let kid = member(&self.header, "kid")?;
        if kid.is_empty() || kid.len() > KID_BYTES_MAX {
            return Err(Refusal::UnknownKey);
        }
        let Some(key) = keys.find(kid) else {
            // Whatever comes of it, the key is not known.
            let _ = keys.decoy().map(|key| self.open_with(key));
            return Err(Refusal::UnknownKey);
        };
        self.open_with(key)
    }

    /// The claims, if this key has signed them.
    pub(crate) fn open_with(&self, key: &VerifyingKey) -> Result<Map<String, Value>, Refusal> {
        if self.algorithm != key.algorithm() {
            return Err(Refusal::Algorithm);
        }
        if !key.verify(self.signed.as_bytes(), &self.signature) {
            return Err(Refusal::Signature);
        }
        object("payload", self.payload)
    }
}

/// The `kid` that a token names, for whoever has to find the key first.
///
/// # Errors
/// When it is no token of these kinds in the first place.
pub fn key_id(text: &str, kinds: &[&str]) -> Result<String, Refusal> {
    let jws = Jws::parse(text, kinds, None)?;
    let kid = member(&jws.header, "kid")?;
    if kid.is_empty() || kid.len() > KID_BYTES_MAX {
        return Err(Refusal::UnknownKey);
    }
    Ok(kid.to_owned())
}

/// What a signed text of ours says that is no token, if one of these keys has signed it as this
/// kind: as strictly as a token is read, with the name of the key.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn open_signed(
    text: &str,
    kind: &str,
    keys: &impl FindKey,
) -> Result<(Map<String, Value>, String), Refusal> {
    let jws = Jws::parse(text, &[kind], None)?;
    let kid = jws.header.get("kid").and_then(Value::as_str);
    let kid = kid.ok_or(Refusal::Header("kid"))?.to_owned();
    Ok((jws.open(keys)?, kid))
}

/// The issuer that a token says it is from. Nothing is verified: it is good for choosing whose
/// rules to verify it by, and for nothing else. None for what is no token.
#[must_use]
pub fn claimed_issuer(text: &str) -> Option<String> {
    if text.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let claims = object("payload", text.split('.').nth(1)?).ok()?;
    Some(claims.get("iss")?.as_str()?.to_owned())
}

fn object(part: &'static str, text: &str) -> Result<Map<String, Value>, Refusal> {
    let bytes = BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| Refusal::Encoding(part))?;
    parse_object(&bytes).map_err(|why| Refusal::Json {
        part,
        why: why.to_string(),
    })
}

fn member<'m>(header: &'m Map<String, Value>, name: &'static str) -> Result<&'m str, Refusal> {
    header
        .get(name)
        .and_then(Value::as_str)
        .ok_or(Refusal::Header(name))
}

/// Media types are compared without case, and `application/` may be left out (RFC 7515 §4.1.9).
fn is_kind(typ: &str, kind: &str) -> bool {
    const PREFIX: &str = "application/";
    let bare = match typ.get(..PREFIX.len()) {
        Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => &typ[PREFIX.len()..],
        _ => typ,
    };
    bare.eq_ignore_ascii_case(kind)
}
