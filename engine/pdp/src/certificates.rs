//! Certificates of clients, as a proxy that ends TLS passes them on (RFC 9440), verified here.

use std::net::IpAddr;
use std::path::Path;

use axum::http::{HeaderMap, HeaderName};
use data_encoding::BASE64;
use domain::Timestamp;
use token::certificate::{CHAIN_MAX, CertificateRefusal, ClientCertificate, Roots};

use crate::settings::CertificateSettings;

/// RFC 9440 §2.2.
pub(crate) const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
/// RFC 9440 §2.3.
pub(crate) const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// Why those who vouch for certificates cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("`tokens.{setting}`: {path}: {why}")]
pub struct LoadRootsError {
    setting: &'static str,
    path: String,
    why: String,
}

/// Why a certificate that was passed on is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotShown {
    /// Not one value of RFC 9440.
    #[error("`{0}` is not what RFC 9440 says: base64 between colons, once")]
    Malformed(HeaderName),
    /// It is not believed.
    #[error("the client's certificate is refused: {0}")]
    Refused(#[from] CertificateRefusal),
}

/// Reads who vouches for certificates. None when nobody does.
///
/// # Errors
/// When a file cannot be read, or holds something else.
pub(crate) fn load_roots(settings: &CertificateSettings) -> Result<Option<Roots>, LoadRootsError> {
    fn fault(setting: &'static str, path: &Path, why: &dyn std::fmt::Display) -> LoadRootsError {
        LoadRootsError {
            setting,
            path: path.display().to_string(),
            why: why.to_string(),
        }
    }
    let Some(path) = &settings.roots else {
        return Ok(None);
    };
    let roots = "client_cert_roots";
    let pem = std::fs::read(path).map_err(|error| fault(roots, path, &error))?;
    let mut read = Roots::new(&pem, settings.trust_domains.clone())
        .map_err(|error| fault(roots, path, &error))?;
    if let Some(path) = &settings.revoked {
        let crls = "client_cert_crls";
        let pem = std::fs::read(path).map_err(|error| fault(crls, path, &error))?;
        read = read
            .with_revoked(&pem)
            .map_err(|error| fault(crls, path, &error))?;
    }
    Ok(Some(read))
}

/// The certificate that a client showed to the proxy. None when there is none, and when whoever
/// says so is not one of those who may: to them the header is nothing, as to a server that has
/// never heard of it, so a client gains nothing by sending it and breaks nothing by accident.
///
/// # Errors
/// When a proxy that is believed passes on what is not.
pub(crate) fn shown(
    headers: &HeaderMap,
    peer: IpAddr,
    settings: &CertificateSettings,
    roots: Option<&Roots>,
    now: Timestamp,
) -> Result<Option<ClientCertificate>, NotShown> {
    let peer = peer.to_canonical();
    let is_proxy = settings.from.iter().any(|network| network.contains(&peer));
    let Some(roots) = roots.filter(|_| is_proxy) else {
        return Ok(None);
    };
    let leaf = match values(headers, &CLIENT_CERT, 1)?.as_slice() {
        [] => return Ok(None),
        [leaf] => leaf.clone(),
        _ => return Err(NotShown::Malformed(CLIENT_CERT)),
    };
    let between = values(headers, &CLIENT_CERT_CHAIN, CHAIN_MAX)?;
    Ok(Some(roots.verify(&leaf, &between, now)?))
}

/// The byte sequences of a header (RFC 8941 §3.3.5), of all its fields.
fn values(headers: &HeaderMap, name: &HeaderName, most: usize) -> Result<Vec<Vec<u8>>, NotShown> {
    let malformed = || NotShown::Malformed(name.clone());
    let mut found = Vec::new();
    for field in headers.get_all(name) {
        let text = field.to_str().map_err(|_| malformed())?;
        for item in text.split(',') {
            let item = item.trim_matches([' ', '\t']);
            let inner = item
                .strip_prefix(':')
                .and_then(|item| item.strip_suffix(':'));
            let inner = inner
                .filter(|inner| !inner.is_empty())
                .ok_or_else(malformed)?;
            let bytes = BASE64.decode(inner.as_bytes()).map_err(|_| malformed())?;
            found.push(bytes);
            if found.len() > most {
                return Err(malformed());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use axum::http::HeaderValue;
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    use super::*;

    fn file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/certificates")
            .join(name)
    }

    fn settings() -> CertificateSettings {
        CertificateSettings {
            from: vec!["127.0.0.1/32".parse().unwrap()],
            roots: Some(file("root.pem")),
            revoked: None,
            trust_domains: vec!["example.org".to_owned()],
        }
    }

    fn field(name: &str) -> String {
        let der = CertificateDer::from_pem_file(file(name)).unwrap();
        format!(":{}:", BASE64.encode(&der))
    }

    #[test]
    fn x9_b13_a_certificate_counts_from_a_proxy_that_is_named_alone() {
        let settings = settings();
        let roots = load_roots(&settings).unwrap().unwrap();
        let now = Timestamp::from_seconds(1_795_215_660);
        let check = |peer: &str, fields: &[(&HeaderName, String)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_str(value).unwrap());
            }
            let peer = peer.parse().unwrap();
            shown(&headers, peer, &settings, Some(&roots), now)
        };
        let (orders, issuing) = (field("orders.pem"), field("issuing.pem"));
        let chain = format!("{issuing}, {orders}");
        let good = [(&CLIENT_CERT, orders.clone()), (&CLIENT_CERT_CHAIN, chain)];
        let shown = check("127.0.0.1", &good).unwrap().unwrap();
        assert_eq!(
            shown.spiffe.unwrap().as_str(),
            "spiffe://example.org/ns/shop/sa/orders"
        );
        assert!(check("::ffff:127.0.0.1", &good).unwrap().is_some());
        for other in ["127.0.0.2", "192.0.2.1", "::1"] {
            assert_eq!(check(other, &good), Ok(None), "{other}");
        }
        assert_eq!(
            check("127.0.0.1", &good[1..]),
            Ok(None),
            "a chain of nothing"
        );

        let refused = check("127.0.0.1", &good[..1]);
        assert!(matches!(refused, Err(NotShown::Refused(_))), "{refused:?}");
        let stranger = [(&CLIENT_CERT, field("by-stranger.pem")), good[1].clone()];
        let refused = check("127.0.0.1", &stranger);
        assert!(matches!(refused, Err(NotShown::Refused(_))), "{refused:?}");
        let twice = [good[0].clone(), good[0].clone(), good[1].clone()];
        let many = format!("{0},{0},{0},{0},{0}", issuing);
        for fields in [
            vec![(&CLIENT_CERT, "x".to_owned())],
            vec![(&CLIENT_CERT, "::".to_owned())],
            vec![(&CLIENT_CERT, ":!:".to_owned())],
            vec![(&CLIENT_CERT, orders.trim_matches(':').to_owned())],
            vec![(&CLIENT_CERT, format!("{orders}, {issuing}"))],
            vec![good[0].clone(), (&CLIENT_CERT_CHAIN, many)],
            twice.to_vec(),
        ] {
            let refused = check("127.0.0.1", &fields);
            assert!(
                matches!(refused, Err(NotShown::Malformed(_))),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn files_that_are_no_certificates_are_named() {
        let mut wrong = settings();
        wrong.roots = Some(file("make.sh"));
        let error = load_roots(&wrong).unwrap_err().to_string();
        assert!(
            error.contains("client_cert_roots") && error.contains("make.sh"),
            "{error}"
        );
        wrong = settings();
        wrong.revoked = Some(file("nothing"));
        let error = load_roots(&wrong).unwrap_err().to_string();
        assert!(error.contains("client_cert_crls"), "{error}");
        wrong.roots = None;
        assert!(load_roots(&wrong).unwrap().is_none());
    }
}
