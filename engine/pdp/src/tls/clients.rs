//! Certificates of those who connect: verified as those that proxies pass on, by one set of rules.

use std::sync::{Arc, Mutex, PoisonError};

use domain::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use token::certificate::{CertificateRefusal, ClientCertificate, Roots};

use crate::inputs::Clock;

/// How long what was found of a certificate holds on an open connection, seconds. Authorities that
/// were read anew are asked at once.
const HOLDS_SECONDS: i64 = 60;

/// Asks those who connect for a certificate, and says whether it is believed.
#[derive(Debug)]
pub(super) struct Believed {
    roots: Arc<Roots>,
    required: bool,
    /// Whether who is not believed comes to a session all the same, and is refused there.
    is_told: bool,
    clock: Arc<dyn Clock>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Believed {
    pub(super) fn new(
        roots: Arc<Roots>,
        required: bool,
        is_told: bool,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Self {
            roots,
            required,
            is_told,
            clock,
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for Believed {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let between: Vec<Vec<u8>> = between.iter().map(|der| der.to_vec()).collect();
        match self.roots.verify(leaf, &between, self.clock.now()) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(_) if self.is_told => Ok(ClientCertVerified::assertion()),
            Err(why) => {
                let why = OtherError(Arc::new(why));
                Err(Error::InvalidCertificate(CertificateError::Other(why)))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The certificate that a connection began with. A handshake that takes up an earlier one verifies
/// nothing, and a connection may outlive its certificate; so what is found holds for a while only.
#[derive(Debug)]
pub(crate) struct PeerCertificate {
    leaf: Vec<u8>,
    between: Vec<Vec<u8>>,
    found: Mutex<Option<Found>>,
}

#[derive(Debug)]
struct Found {
    by: Arc<Roots>,
    at: Timestamp,
    result: Result<Arc<ClientCertificate>, CertificateRefusal>,
}

impl PeerCertificate {
    /// Of a chain as a client sends it, its own first. None: it sent none.
    pub(crate) fn new(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (leaf, between) = chain.split_first()?;
        Some(Self {
            leaf: leaf.to_vec(),
            between: between.iter().map(|der| der.to_vec()).collect(),
            found: Mutex::default(),
        })
    }

    /// What is believed of it now.
    ///
    /// # Errors
    /// Why it is not believed.
    pub(crate) fn verified(
        &self,
        roots: &Arc<Roots>,
        now: Timestamp,
    ) -> Result<Arc<ClientCertificate>, CertificateRefusal> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = &*found {
            // A clock that went back says nothing of how long it is ago.
            let is_fresh = found.at <= now && now.whole_seconds_since(found.at) < HOLDS_SECONDS;
            if is_fresh && Arc::ptr_eq(&found.by, roots) {
                return found.result.clone();
            }
        }
        let result = roots.verify(&self.leaf, &self.between, now).map(Arc::new);
        *found = Some(Found {
            by: Arc::clone(roots),
            at: now,
            result: result.clone(),
        });
        result
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn x22_a_connection_does_not_outlive_the_trust_in_its_certificate() {
        let file = |name: &str| {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../tests/certificates")
                .join(name)
        };
        let der = |name: &str| CertificateDer::from_pem_file(file(name)).unwrap();
        let roots = |crls: bool| {
            let pem = std::fs::read(file("root.pem")).unwrap();
            let roots = Roots::new(&pem, vec!["example.org".to_owned()]).unwrap();
            let lists = std::fs::read(file("crls.pem")).unwrap();
            Arc::new(if crls {
                roots.with_revoked(&lists).unwrap()
            } else {
                roots
            })
        };
        assert!(PeerCertificate::new(&[]).is_none());
        let peer = PeerCertificate::new(&[der("revoked.pem"), der("issuing.pem")]).unwrap();
        let (before, after) = (roots(false), roots(true));
        let now = Timestamp::from_seconds(1_795_215_660);
        assert!(peer.verified(&before, now).is_ok());
        assert!(
            peer.verified(&after, now).is_err(),
            "new lists count at once"
        );
        assert!(peer.verified(&before, now).is_ok());
        // In 2120 it is over; what was found a minute ago says nothing of it.
        let then = Timestamp::from_seconds(4_733_596_800);
        assert!(peer.verified(&before, then).is_err());
        assert!(
            peer.verified(&before, now).is_ok(),
            "a clock that went back"
        );
    }
}
