//! The client's certificate, as a gateway that ended TLS passes it on.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use domain::value::Attributes;
use domain::{EntityRef, Name, Timestamp, Value};
use gateway::certificate::{CertificateFault, Shown, forwarded};
use gateway::{CertificateFrom, Door};
use token::certificate::{CertificateRefusal, ClientCertificate};

use super::subject::Resolved;
use crate::access::sha256;
use crate::app::App;
use crate::certificates::{self, NotShown};

/// Why a certificate is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    /// Not as RFC 9440 says, or not believed.
    #[error(transparent)]
    NotShown(#[from] NotShown),
    /// Not as Envoy says it.
    #[error(transparent)]
    Fault(#[from] CertificateFault),
    /// Not believed.
    #[error("the client's certificate is refused: {0}")]
    Refused(#[from] CertificateRefusal),
}

/// The certificate that a client showed to the gateway, verified. None: it showed none, or nobody
/// vouches for certificates (`tokens.client_cert_roots`), or whoever asks is not one of those who
/// pass them on (`tokens.client_cert_from`).
///
/// # Errors
/// When one came that cannot be read or is not believed.
pub(crate) fn shown(
    app: &App,
    door: &Door,
    headers: &HeaderMap,
    peer: IpAddr,
    now: Timestamp,
) -> Result<Option<Arc<ClientCertificate>>, NotTaken> {
    let settings = &app.settings.certificates;
    match door.credentials.certificate_from {
        CertificateFrom::Nowhere => Ok(None),
        CertificateFrom::ClientCert => {
            let roots = app.client_roots.load();
            let shown = certificates::shown(headers, peer, settings, roots.as_deref(), now)?;
            Ok(shown.map(Arc::new))
        }
        CertificateFrom::XForwardedClientCert => {
            let peer = peer.to_canonical();
            if !settings.from.iter().any(|network| network.contains(&peer)) {
                return Ok(None);
            }
            match forwarded(headers, sha256)? {
                Some(shown) => verified(app, &shown, now),
                None => Ok(None),
            }
        }
    }
}

/// A certificate that came in a question itself, as over gRPC, verified. None where nobody vouches
/// for certificates.
///
/// # Errors
/// When it is not believed.
pub(crate) fn verified(
    app: &App,
    shown: &Shown,
    now: Timestamp,
) -> Result<Option<Arc<ClientCertificate>>, NotTaken> {
    let roots = app.client_roots.load();
    let Some(roots) = roots.as_deref() else {
        return Ok(None);
    };
    let certificate = roots.verify(&shown.leaf, &shown.between, now)?;
    Ok(Some(Arc::new(certificate)))
}

/// Whom a certificate names: by its SPIFFE id, or else by the one name of a host that it has, or
/// else by its subject. None: by nothing that can be an id.
pub(super) fn resolved(certificate: &ClientCertificate, door: &Door) -> Option<Resolved> {
    let id = certificate.spiffe.as_ref().map(|id| id.as_str().to_owned());
    let id = id
        .or_else(|| certificate.host.clone())
        .or_else(|| certificate.subject.clone())?;
    let text = |text: &str| Value::Text(text.to_owned());
    let mut claims: Attributes = [("x5t#S256".to_owned(), text(&certificate.thumbprint))].into();
    if let Some(spiffe) = &certificate.spiffe {
        claims.insert("spiffe".to_owned(), text(spiffe.as_str()));
    }
    if let Some(host) = &certificate.host {
        claims.insert("host".to_owned(), text(host));
    }
    if let Some(subject) = &certificate.subject {
        claims.insert("subject".to_owned(), text(subject));
    }
    let subject = EntityRef {
        kind: door.credentials.certificate_type.clone(),
        id: Name::new(id).ok()?,
    };
    Some(Resolved {
        claims,
        is_sent_by_browsers: true,
        ..Resolved::named(subject)
    })
}
