//! Client certificates (RFC 8705), and the SPIFFE ids in them (X9, X22): a real chain to a root that
//! was configured, valid now, made for clients, not revoked (B13).

mod subject;

use std::cell::Cell;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use domain::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, SignatureVerificationAlgorithm, TrustAnchor,
    UnixTime,
};
use webpki::aws_lc_rs as algorithms;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, ExtendedKeyUsageValidator,
    KeyPurposeIdIter, KeyUsage, OwnedCertRevocationList, RevocationOptionsBuilder,
    anchor_from_trusted_cert,
};

/// Largest certificate, bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 16 << 10;
/// Most certificates between a client's and the root.
pub const CHAIN_MAX: usize = 4;

/// What certificates are for (RFC 5280 §4.2.1.12). A client's own must say that it is for clients: one
/// for any use, or for servers, is none. Authorities may leave it out, as most do.
struct ForClients {
    /// The client's own comes first; webpki goes from it to the root.
    is_first: Cell<bool>,
}

impl ExtendedKeyUsageValidator for ForClients {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        /// `id-kp-clientAuth`.
        const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
        if self.is_first.replace(false) {
            KeyUsage::required(CLIENT_AUTH).validate(purposes)
        } else {
            KeyUsage::required_if_present(CLIENT_AUTH).validate(purposes)
        }
    }
}

/// How certificates may be signed: nothing with SHA-1, no RSA below 2048 bits.
static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// Why certificates of authorities, or lists of what they revoked, cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// Not PEM, or not what it should be.
    #[error("{0}")]
    Malformed(String),
    /// Nothing in it.
    #[error("there is no {0} in it; it holds PEM, `-----BEGIN …`")]
    Empty(&'static str),
}

/// Why a client certificate is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefusal {
    /// Too large, or too many.
    #[error("larger than a certificate has to be, or more of them than a chain has")]
    TooLarge,
    /// No chain, not valid now, made for something else, revoked, or nobody knows.
    #[error("{0}")]
    Chain(String),
    /// A SPIFFE id beside other URIs, or not written as one is.
    #[error("its SPIFFE id is malformed, or not its only URI")]
    SpiffeId,
    /// A SPIFFE id of another trust domain.
    #[error("`{0}` is not in `tokens.spiffe_trust_domains`")]
    TrustDomain(String),
}

/// A SPIFFE id: `spiffe://trust-domain/path`, compared letter for letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId(String);

impl SpiffeId {
    /// Reads an id by the letter of the SPIFFE-ID standard (§2). None for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("spiffe://")?;
        let (domain, path) = rest
            .split_once('/')
            .map_or((rest, None), |(domain, path)| (domain, Some(path)));
        let is_step = |step: &str| {
            !matches!(step, "" | "." | "..")
                && step
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let good = text.len() <= 2048
            && is_trust_domain(domain)
            && path.is_none_or(|path| path.split('/').all(is_step));
        good.then(|| Self(text.to_owned()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trust domain in it.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        let rest = self.0.strip_prefix("spiffe://").unwrap_or_default();
        rest.split('/').next().unwrap_or_default()
    }
}

impl std::fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether this can be a trust domain: small letters, digits, dots, dashes and underscores.
#[must_use]
pub fn is_trust_domain(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte)
        })
}

/// A certificate that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// `x5t#S256`: SHA-256 of the certificate, base64url (RFC 8705 §3.1).
    pub thumbprint: String,
    /// Who it is, if it says so.
    pub spiffe: Option<SpiffeId>,
    /// The one host that it is for, in lower case. None: it is for none, or for several.
    pub host: Option<String>,
    /// Its subject, as RFC 4514 writes it. None: it has none, or one with text of another kind
    /// than UTF-8 and its subsets.
    pub subject: Option<String>,
}

/// `x5t#S256` of a certificate: the hash of its DER, never of a text.
#[must_use]
pub fn thumbprint(der: &[u8]) -> String {
    BASE64URL_NOPAD.encode(digest(&SHA256, der).as_ref())
}

/// The `x5t#S256` of the first certificate in a PEM text, and its SPIFFE id: for those who write down
/// which certificate is whose. Nothing is verified.
///
/// # Errors
/// When there is no certificate in it.
pub fn describe(pem: &[u8]) -> Result<ClientCertificate, RootsError> {
    let malformed = |error: &dyn std::fmt::Display| RootsError::Malformed(error.to_string());
    let der = CertificateDer::from_pem_slice(pem).map_err(|error| malformed(&error))?;
    let leaf = EndEntityCert::try_from(&der).map_err(|error| malformed(&error))?;
    let spiffe = spiffe_id(&leaf).map_err(|error| malformed(&error))?;
    Ok(ClientCertificate {
        thumbprint: thumbprint(&der),
        spiffe,
        host: host(&leaf),
        subject: subject::written(leaf.subject()),
    })
}

/// Whom to believe.
pub struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    revoked: Vec<CertRevocationList<'static>>,
    trust_domains: Vec<String>,
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Roots")
            .field("anchors", &self.anchors.len())
            .field("revoked", &self.revoked.len())
            .field("trust_domains", &self.trust_domains)
            .finish()
    }
}

impl Roots {
    /// Authorities, in PEM; the trust domains whose SPIFFE ids they may vouch for.
    ///
    /// # Errors
    /// When there is none in it, or one cannot be read.
    pub fn new(pem: &[u8], trust_domains: Vec<String>) -> Result<Self, RootsError> {
        let mut anchors = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|why| RootsError::Malformed(why.to_string()))?;
            let anchor = anchor_from_trusted_cert(&certificate)
                .map_err(|why| RootsError::Malformed(why.to_string()))?;
            anchors.push(anchor.to_owned());
        }
        if anchors.is_empty() {
            return Err(RootsError::Empty("certificate"));
        }
        Ok(Self {
            anchors,
            revoked: Vec::new(),
            trust_domains,
        })
    }

    /// With lists of what the authorities revoked, in PEM. From then on each certificate of a chain
    /// needs a list that is not out of date: what nobody can tell is not believed.
    ///
    /// # Errors
    /// When there is none in it, or one cannot be read.
    pub fn with_revoked(mut self, pem: &[u8]) -> Result<Self, RootsError> {
        for list in CertificateRevocationListDer::pem_slice_iter(pem) {
            let list = list.map_err(|why| RootsError::Malformed(why.to_string()))?;
            let list = OwnedCertRevocationList::from_der(&list)
                .map_err(|why| RootsError::Malformed(why.to_string()))?;
            self.revoked.push(list.into());
        }
        if self.revoked.is_empty() {
            return Err(RootsError::Empty("list of revoked certificates"));
        }
        Ok(self)
    }

    /// Verifies a client's certificate, with what it sent to go with it.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn verify(
        &self,
        leaf: &[u8],
        between: &[Vec<u8>],
        now: Timestamp,
    ) -> Result<ClientCertificate, CertificateRefusal> {
        let is_large = |der: &[u8]| der.len() > CERTIFICATE_BYTES_MAX;
        if between.len() > CHAIN_MAX || is_large(leaf) || between.iter().any(|der| is_large(der)) {
            return Err(CertificateRefusal::TooLarge);
        }
        let chain = |error: webpki::Error| CertificateRefusal::Chain(error.to_string());
        let der = CertificateDer::from(leaf);
        let between: Vec<CertificateDer<'_>> = between
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let leaf = EndEntityCert::try_from(&der).map_err(chain)?;
        let lists: Vec<&CertRevocationList<'_>> = self.revoked.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|builder| {
            builder
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let seconds = u64::try_from(now.seconds()).unwrap_or_default();
        leaf.verify_for_usage(
            ALGORITHMS,
            &self.anchors,
            &between,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)),
            ForClients {
                is_first: Cell::new(true),
            },
            revocation,
            None,
        )
        .map_err(chain)?;
        let spiffe = spiffe_id(&leaf)?;
        if let Some(id) = &spiffe
            && !self
                .trust_domains
                .iter()
                .any(|known| known == id.trust_domain())
        {
            return Err(CertificateRefusal::TrustDomain(
                id.trust_domain().to_owned(),
            ));
        }
        Ok(ClientCertificate {
            thumbprint: thumbprint(&der),
            spiffe,
            host: host(&leaf),
            subject: subject::written(leaf.subject()),
        })
    }
}

/// The one host that a certificate is for. A pattern is for many.
fn host(leaf: &EndEntityCert<'_>) -> Option<String> {
    let mut names = leaf.valid_dns_names();
    let one = names.next().filter(|name| !name.contains('*'))?;
    names.next().is_none().then(|| one.to_ascii_lowercase())
}

/// The SPIFFE id of a certificate: its only URI (X509-SVID §2). None where no URI is one.
fn spiffe_id(leaf: &EndEntityCert<'_>) -> Result<Option<SpiffeId>, CertificateRefusal> {
    let uris: Vec<&str> = leaf.valid_uri_names().collect();
    let is_spiffe = |uri: &&str| {
        let scheme = uri.split(':').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case("spiffe")
    };
    match uris.as_slice() {
        uris if !uris.iter().any(is_spiffe) => Ok(None),
        [uri] => SpiffeId::parse(uri)
            .map(Some)
            .ok_or(CertificateRefusal::SpiffeId),
        _ => Err(CertificateRefusal::SpiffeId),
    }
}

#[cfg(test)]
mod tests;
