//! Certificates of clients as Envoy passes them on: `X-Forwarded-Client-Cert`, and the one in a
//! check over gRPC. Read here, believed nowhere: whoever uses one verifies it.
//!
//! Names in the header (`URI`, `Subject`, `By`) are not read: they are the proxy's word, while the
//! certificate speaks for itself.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use crate::path::escapes_are_whole;

/// The header.
pub const X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
/// The most certificates that are read, the client's own included.
pub const CERTIFICATES_MAX: usize = 10;
/// The longest text that is read, bytes.
const TEXT_MAX: usize = 64 * 1_024;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// What was passed on: DER, the client's own first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The client's.
    pub leaf: Vec<u8>,
    /// Those between it and an authority.
    pub between: Vec<Vec<u8>>,
}

/// Why it cannot be read. Each is a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// Not of the form that Envoy gives the header.
    #[error("`x-forwarded-client-cert` is not of its form")]
    Header,
    /// Not certificates in PEM, percent-encoded.
    #[error("the client's certificate is not PEM in percent-encoding")]
    Pem,
    /// More than one element: a client's own, or that of another proxy, is among them.
    #[error(
        "`x-forwarded-client-cert` has more than one element; set \
         `forward_client_cert_details: SANITIZE_SET` in Envoy"
    )]
    Elements,
    /// The digest is another certificate's, or none is there.
    #[error("`x-forwarded-client-cert` has no `Hash`, or another certificate's")]
    Hash,
    /// There is an element, and no certificate in it.
    #[error(
        "`x-forwarded-client-cert` has no `Cert`; set `set_current_client_cert_details: {{cert: true}}` in Envoy"
    )]
    NoCertificate,
}

/// What a gateway says in `X-Forwarded-Client-Cert`: one element, and no other, since names in a
/// certificate are its holder's to choose and could look like another. Only for headers of a
/// gateway that writes it (Envoy: `SANITIZE_SET`), which always adds the digest of the certificate
/// that it saw. None: the client showed none.
///
/// `sha256` makes the digest of a certificate in DER.
///
/// # Errors
/// When it cannot be read, or the certificate is not the one that Envoy saw.
pub fn forwarded(
    headers: &HeaderMap,
    sha256: impl Fn(&[u8]) -> [u8; 32],
) -> Result<Option<Shown>, CertificateFault> {
    let mut fields = headers.get_all(X_FORWARDED_CLIENT_CERT).iter();
    let Some(field) = fields.next() else {
        return Ok(None);
    };
    if fields.next().is_some() {
        return Err(CertificateFault::Elements);
    }
    let text = field.to_str().map_err(|_| CertificateFault::Header)?;
    if text.len() > TEXT_MAX {
        return Err(CertificateFault::Header);
    }
    let elements = elements(text).ok_or(CertificateFault::Header)?;
    let element = match elements.as_slice() {
        [] => return Ok(None),
        [one] => one,
        _ => return Err(CertificateFault::Elements),
    };
    let of = |wanted: &str| -> Result<Option<&str>, CertificateFault> {
        let mut all = element
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        match (all.next(), all.next()) {
            (Some((_, value)), None) => Ok(Some(value)),
            (None, _) => Ok(None),
            _ => Err(CertificateFault::Header),
        }
    };
    let chain = of("Chain")?.map(from_pem).transpose()?;
    let own = of("Cert")?.map(from_pem).transpose()?;
    let shown = match (own, chain) {
        (Some(own), Some(chain)) if own.leaf != chain.leaf => return Err(CertificateFault::Header),
        (_, Some(chain)) => chain,
        (Some(own), None) => own,
        (None, None) => return Err(CertificateFault::NoCertificate),
    };
    let seen = of("Hash")?.map(|hash| HEXLOWER_PERMISSIVE.decode(hash.as_bytes()));
    match seen {
        Some(Ok(seen)) if seen == sha256(&shown.leaf) => Ok(Some(shown)),
        _ => Err(CertificateFault::Hash),
    }
}

/// Certificates in PEM, percent-encoded, as Envoy has them in `attributes.source.certificate`.
///
/// # Errors
/// When they are anything else.
pub fn from_pem(encoded: &str) -> Result<Shown, CertificateFault> {
    let fault = || CertificateFault::Pem;
    if encoded.len() > TEXT_MAX || !escapes_are_whole(encoded.as_bytes()) {
        return Err(fault());
    }
    let text = percent_decode_str(encoded)
        .decode_utf8()
        .map_err(|_| fault())?;
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (inner, after) = rest
            .strip_prefix(BEGIN)
            .and_then(|rest| rest.split_once(END))
            .ok_or_else(fault)?;
        let inner: String = inner.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let der = BASE64.decode(inner.as_bytes()).map_err(|_| fault())?;
        if der.is_empty() || found.len() == CERTIFICATES_MAX {
            return Err(fault());
        }
        found.push(der);
        rest = after.trim_start();
    }
    let mut found = found.into_iter();
    let leaf = found.next().ok_or_else(fault)?;
    Ok(Shown {
        leaf,
        between: found.collect(),
    })
}

type Element = Vec<(String, String)>;

/// Elements between commas, pairs between semicolons, values perhaps between quotes.
fn elements(text: &str) -> Option<Vec<Element>> {
    let mut all = Vec::new();
    let mut element = Element::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let (value, after) = value(after)?;
        element.push((name.to_owned(), value));
        let mut characters = after.trim_start().chars();
        match characters.next() {
            None => {}
            Some(';') => {}
            Some(',') => all.push(std::mem::take(&mut element)),
            Some(_) => return None,
        }
        rest = characters.as_str().trim_start();
    }
    if !element.is_empty() {
        all.push(element);
    }
    Some(all)
}

fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';']).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end)?;
        return (!value.contains('"')).then(|| (value.trim().to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            character => value.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn pem(ders: &[&[u8]]) -> String {
        let pem: String = ders
            .iter()
            .map(|der| format!("{BEGIN}\n{}\n{END}\n", BASE64.encode(der)))
            .collect();
        utf8_percent_encode(&pem, NON_ALPHANUMERIC).to_string()
    }

    fn read(fields: &[String]) -> Result<Option<Shown>, CertificateFault> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(
                X_FORWARDED_CLIENT_CERT,
                HeaderValue::from_str(field).unwrap(),
            );
        }
        forwarded(&headers, digest)
    }

    /// Of the length of SHA-256, and another one for each of the certificates here.
    fn digest(der: &[u8]) -> [u8; 32] {
        let mut digest = [0; 32];
        for (at, byte) in der.iter().enumerate() {
            digest[at % 32] ^= byte;
        }
        digest
    }

    fn hash(der: &[u8]) -> String {
        HEXLOWER_PERMISSIVE.encode(&digest(der))
    }

    #[test]
    fn one_element_is_believed() {
        let of_alice = hash(b"alice");
        let (alice, other) = (pem(&[b"alice"]), pem(&[b"other"]));
        let chain = pem(&[b"alice", b"issuing"]);
        let shown = |between: &[&[u8]]| {
            Ok(Some(Shown {
                leaf: b"alice".to_vec(),
                between: between.iter().map(|der| der.to_vec()).collect(),
            }))
        };
        for (what, fields, wanted) in [
            ("none", vec![], Ok(None)),
            ("nothing", vec![String::new()], Ok(None)),
            (
                "one",
                vec![format!("Hash={of_alice};Cert=\"{alice}\"")],
                shown(&[]),
            ),
            (
                "without quotes",
                vec![format!("Cert={alice};hash={of_alice}")],
                shown(&[]),
            ),
            (
                "all",
                vec![format!(
                    "By=spiffe://a/b;Hash={of_alice};Cert=\"{alice}\";Subject=\"CN=a,O=\\\"b;c\\\"\";URI=;DNS=x"
                )],
                shown(&[]),
            ),
            (
                "a chain",
                vec![format!(
                    "Hash={of_alice};Cert=\"{alice}\";Chain=\"{chain}\""
                )],
                shown(&[b"issuing"]),
            ),
            (
                "a chain alone",
                vec![format!("Hash={of_alice};Chain=\"{chain}\"")],
                shown(&[b"issuing"]),
            ),
            (
                "two",
                vec![format!(
                    "Hash={of_alice};Cert=\"{other}\",Hash={of_alice};Cert=\"{alice}\""
                )],
                Err(CertificateFault::Elements),
            ),
            (
                "two fields",
                vec![
                    format!("Cert=\"{other}\""),
                    format!("Hash={of_alice};Cert=\"{alice}\""),
                ],
                Err(CertificateFault::Elements),
            ),
            (
                "no digest",
                vec![format!("Cert=\"{alice}\"")],
                Err(CertificateFault::Hash),
            ),
            (
                "another's digest",
                vec![format!("Hash={};Cert=\"{alice}\"", hash(b"other"))],
                Err(CertificateFault::Hash),
            ),
            (
                "a digest that is none",
                vec![format!("Hash=xyz;Cert=\"{alice}\"")],
                Err(CertificateFault::Hash),
            ),
            (
                "a name that begins another element",
                vec![format!(
                    "Hash={};URI=x,Hash={of_alice};Cert=\"{alice}\"",
                    hash(b"mallory")
                )],
                Err(CertificateFault::Elements),
            ),
            (
                "a name that brings a certificate along",
                vec![format!("Hash={};URI=x;Cert=\"{alice}\"", hash(b"mallory"))],
                Err(CertificateFault::Hash),
            ),
            (
                "and its digest",
                vec![format!(
                    "Hash={};URI=x;Hash={of_alice};Cert=\"{alice}\"",
                    hash(b"mallory")
                )],
                Err(CertificateFault::Header),
            ),
            (
                "an open quote",
                vec![format!("Subject=\"x, Cert=\"{alice}\"")],
                Err(CertificateFault::Header),
            ),
            (
                "two in one element",
                vec![format!("Cert=\"{alice}\";Cert=\"{other}\"")],
                Err(CertificateFault::Header),
            ),
            (
                "another chain",
                vec![format!("Cert=\"{other}\";Chain=\"{chain}\"")],
                Err(CertificateFault::Header),
            ),
            (
                "a name alone",
                vec!["URI=spiffe://a/b".to_owned()],
                Err(CertificateFault::NoCertificate),
            ),
            (
                "no PEM",
                vec!["Cert=\"abc\"".to_owned()],
                Err(CertificateFault::Pem),
            ),
            (
                "half an escape",
                vec!["Cert=\"%2\"".to_owned()],
                Err(CertificateFault::Pem),
            ),
            (
                "no pairs",
                vec!["Cert".to_owned()],
                Err(CertificateFault::Header),
            ),
            (
                "too many",
                vec![format!(
                    "Chain={}",
                    pem(&[b"x".as_slice(); CERTIFICATES_MAX + 1])
                )],
                Err(CertificateFault::Pem),
            ),
        ] {
            assert_eq!(read(&fields), wanted, "{what}");
        }
    }

    proptest! {
        /// What a client gets into the header, before or behind, never shows another certificate.
        #[test]
        fn a_client_cannot_show_anothers(before in "[ -~]{0,40}", after in "[ -~]{0,40}") {
            let added = format!("Hash={};Cert=\"{}\"", hash(b"alice"), pem(&[b"alice"]));
            if let Ok(Some(shown)) = read(&[format!("{before}{added}{after}")]) {
                prop_assert_eq!(shown.leaf, b"alice");
            }
        }
    }
}
