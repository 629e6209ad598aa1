//! Admitting foreign keys, strictly: a key that is not wholly in order verifies nothing.
//!
//! The libraries that parse JWKs take the algorithm from the token and pass over `alg`, `use`,
//! `key_ops`, sizes and private members. Here a key says by itself what it is for, in each of
//! those members that it has, and all of them must agree.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::set::FindKey;
use super::{Algorithm, VerifyingKey, rsa};

/// Longest key, bytes. An RSA key of 8192 bits has 1.5 KB; certificates may come with it.
pub const JWK_BYTES_MAX: usize = 32 << 10;
/// Longest key set, bytes.
pub const JWKS_BYTES_MAX: usize = 512 << 10;
/// Most keys of a set.
pub const JWKS_KEYS_MAX: usize = 100;
/// Longest `kid`, bytes.
const KID_BYTES_MAX: usize = 256;

/// Points of Edwards25519 whose order is small, without the sign's bit: the signature of
/// anybody verifies with them (libsodium's list, the non-canonical ones included).
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Why a key, or a set of them, is not admitted. For logs: whoever presented it is told less.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// Longer than any key or set has to be.
    #[error("too long: {0} bytes")]
    TooLong(usize),
    /// No JSON, not an object, a member twice or of another type.
    #[error("not a key as JSON: {0}")]
    NotJson(String),
    /// A member that must be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A member is not what it should be: base64url, exact lengths, no leading zeros.
    #[error("`{0}` is malformed")]
    Malformed(&'static str),
    /// It holds a private half, or a secret: it is nobody's any more.
    #[error("it has the private member `{0}`")]
    Private(&'static str),
    /// `kty` and `crv` are of no algorithm that is taken here.
    #[error("`kty` and `crv` are of no algorithm taken here (ES256, EdDSA, RS256)")]
    Kind,
    /// `alg` is another than the key's own.
    #[error("`alg` is not {0}, which the key is for")]
    Algorithm(Algorithm),
    /// `use` or `key_ops` say that it is for something else.
    #[error("`use` or `key_ops` say that it does not verify signatures")]
    Usage,
    /// The modulus is too short or too long.
    #[error("an RSA modulus of {0} bits: 2048 to 8192 are taken")]
    RsaBits(usize),
    /// The exponent is 1, even, or longer than four bytes.
    #[error("the RSA exponent is 1, even or too long")]
    RsaExponent,
    /// It can be factored.
    #[error("an RSA key that can be factored (CVE-2017-15361)")]
    Roca,
    /// The point is not on its curve, or of small order.
    #[error("not a point of its curve that anybody could have the private half of alone")]
    Point,
    /// Two keys of a set have one name.
    #[error("two keys are called `{0}`")]
    Twice(String),
    /// A set has too many keys.
    #[error("{0} keys in one set")]
    TooMany(usize),
    /// Nothing in the set can be used.
    #[error("no key of the set can be used: {0}")]
    NoneUsable(String),
}

/// The members that matter. One that comes twice is refused by `serde`; those that say nothing of
/// what the key is (certificates, for example) are passed over, never followed.
#[derive(Deserialize)]
struct Jwk {
    #[serde(default, deserialize_with = "text")]
    kty: Option<String>,
    #[serde(default, deserialize_with = "text")]
    crv: Option<String>,
    #[serde(default, deserialize_with = "text")]
    alg: Option<String>,
    #[serde(default, rename = "use", deserialize_with = "text")]
    usage: Option<String>,
    #[serde(default, deserialize_with = "texts")]
    key_ops: Option<Vec<String>>,
    #[serde(default, deserialize_with = "text")]
    kid: Option<String>,
    #[serde(default, deserialize_with = "text")]
    x: Option<String>,
    #[serde(default, deserialize_with = "text")]
    y: Option<String>,
    #[serde(default, deserialize_with = "text")]
    n: Option<String>,
    #[serde(default, deserialize_with = "text")]
    e: Option<String>,
    #[serde(default, deserialize_with = "there")]
    d: bool,
    #[serde(default, deserialize_with = "there")]
    p: bool,
    #[serde(default, deserialize_with = "there")]
    q: bool,
    #[serde(default, deserialize_with = "there")]
    dp: bool,
    #[serde(default, deserialize_with = "there")]
    dq: bool,
    #[serde(default, deserialize_with = "there")]
    qi: bool,
    #[serde(default, deserialize_with = "there")]
    oth: bool,
    #[serde(default, deserialize_with = "there")]
    k: bool,
}

/// A member that is there is text: `null` is not the same as nothing.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    String::deserialize(from).map(Some)
}

fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(from).map(Some)
}

fn there<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(from).map(|_| true)
}

/// Admits one key, of a set or of a DPoP proof.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn admit_jwk(json: &str) -> Result<VerifyingKey, KeyRefusal> {
    parse(json)?.admit()
}

fn parse(json: &str) -> Result<Jwk, KeyRefusal> {
    if json.len() > JWK_BYTES_MAX {
        return Err(KeyRefusal::TooLong(json.len()));
    }
    // An array would be read as a struct, member by member.
    if !json.trim_start().starts_with('{') {
        return Err(KeyRefusal::NotJson("not an object".to_owned()));
    }
    serde_json::from_str(json).map_err(|error| KeyRefusal::NotJson(error.to_string()))
}

impl Jwk {
    fn private(&self) -> Option<&'static str> {
        let all = [
            ("d", self.d),
            ("p", self.p),
            ("q", self.q),
            ("dp", self.dp),
            ("dq", self.dq),
            ("qi", self.qi),
            ("oth", self.oth),
            ("k", self.k),
        ];
        all.iter().find_map(|(name, there)| there.then_some(*name))
    }

    fn admit(self) -> Result<VerifyingKey, KeyRefusal> {
        if let Some(name) = self.private() {
            return Err(KeyRefusal::Private(name));
        }
        let kty = self.kty.as_deref().ok_or(KeyRefusal::Missing("kty"))?;
        let algorithm = match (kty, self.crv.as_deref()) {
            ("EC", Some("P-256")) => Algorithm::Es256,
            ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
            ("RSA", None) => Algorithm::Rs256,
            _ => return Err(KeyRefusal::Kind),
        };
        if let Some(alg) = &self.alg
            && Algorithm::named(alg) != Some(algorithm)
        {
            return Err(KeyRefusal::Algorithm(algorithm));
        }
        let other_use = self.usage.as_ref().is_some_and(|usage| usage != "sig");
        let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
        if other_use || !self.key_ops.as_ref().is_none_or(verifies) {
            return Err(KeyRefusal::Usage);
        }
        let key = match algorithm {
            Algorithm::Es256 => {
                let (x, y) = (exact("x", &self.x)?, exact("y", &self.y)?);
                VerifyingKey::es256(&x, &y)
            }
            Algorithm::EdDsa => {
                let x = exact("x", &self.x)?;
                (!is_of_small_order(&x))
                    .then(|| VerifyingKey::eddsa(&x))
                    .flatten()
            }
            Algorithm::Rs256 => {
                let (n, e) = (bytes("n", &self.n)?, bytes("e", &self.e)?);
                rsa::check(&n, &e)?;
                VerifyingKey::rs256(&n, &e)
            }
        };
        let key = key.ok_or(KeyRefusal::Point)?;
        match self.kid {
            None => Ok(key),
            Some(kid) if kid.is_empty() || kid.len() > KID_BYTES_MAX => {
                Err(KeyRefusal::Malformed("kid"))
            }
            Some(kid) => Ok(key.named(kid)),
        }
    }
}

/// Strict base64url: no padding, no bits left over, nothing else between.
fn bytes(name: &'static str, text: &Option<String>) -> Result<Vec<u8>, KeyRefusal> {
    let text = text.as_ref().ok_or(KeyRefusal::Missing(name))?;
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| KeyRefusal::Malformed(name))
}

/// A coordinate of the two curves: 32 bytes, leading zeros and all (RFC 7518 §6.2.1.2).
fn exact(name: &'static str, text: &Option<String>) -> Result<[u8; 32], KeyRefusal> {
    let bytes = bytes(name, text)?;
    bytes.try_into().map_err(|_| KeyRefusal::Malformed(name))
}

fn is_of_small_order(point: &[u8; 32]) -> bool {
    let mut point = *point;
    if let Some(last) = point.last_mut() {
        *last &= 0x7f;
    }
    let text = data_encoding::HEXLOWER.encode(&point);
    SMALL_ORDER.contains(&text.as_str())
}

/// The keys of a foreign set that can be used.
#[derive(Clone, Debug)]
pub struct Admitted {
    keys: Vec<VerifyingKey>,
    /// The others, each with its name and why: of algorithms that are not taken here, for
    /// example, or for encryption.
    pub passed_over: Vec<(String, KeyRefusal)>,
}

impl Admitted {
    /// Those that are admitted.
    #[must_use]
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }
}

impl FindKey for Admitted {
    fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.iter().find(|key| key.kid() == kid)
    }
}

/// Admits a JWK Set (RFC 7517 §5). Keys for something else are passed over, as it demands. A set
/// that shows a private half or a secret, has a name twice or a key without one, or nothing to
/// verify with, is refused whole.
///
/// # Errors
/// Why the set is refused.
pub fn admit_jwks(json: &str) -> Result<Admitted, KeyRefusal> {
    #[derive(Deserialize)]
    struct Set<'a> {
        #[serde(borrow)]
        keys: Vec<&'a RawValue>,
    }
    if json.len() > JWKS_BYTES_MAX {
        return Err(KeyRefusal::TooLong(json.len()));
    }
    if !json.trim_start().starts_with('{') {
        return Err(KeyRefusal::NotJson("not an object".to_owned()));
    }
    let set: Set<'_> =
        serde_json::from_str(json).map_err(|error| KeyRefusal::NotJson(error.to_string()))?;
    if set.keys.len() > JWKS_KEYS_MAX {
        return Err(KeyRefusal::TooMany(set.keys.len()));
    }
    let mut names = std::collections::HashSet::new();
    let mut admitted = Admitted {
        keys: Vec::new(),
        passed_over: Vec::new(),
    };
    for text in set.keys {
        let jwk = parse(text.get())?;
        if let Some(name) = jwk.private() {
            return Err(KeyRefusal::Private(name));
        }
        let name = jwk.kid.clone().unwrap_or_default();
        let refusal = match jwk.admit() {
            Ok(_) if name.is_empty() => KeyRefusal::Missing("kid"),
            Ok(key) => {
                admitted.keys.push(key);
                if names.insert(name.clone()) {
                    continue;
                }
                return Err(KeyRefusal::Twice(name));
            }
            Err(refusal) => refusal,
        };
        if !name.is_empty() && !names.insert(name.clone()) {
            return Err(KeyRefusal::Twice(name));
        }
        admitted.passed_over.push((name, refusal));
    }
    if admitted.keys.is_empty() {
        let why = admitted.passed_over.first();
        let why = why.map_or("it is empty".to_owned(), |(_, refusal)| refusal.to_string());
        return Err(KeyRefusal::NoneUsable(why));
    }
    Ok(admitted)
}
