//! The client's certificate, verified before anything is answered, and handed on with the request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use token::certificate::{ClientCertificate, SpiffeId};

use super::{Problem, gateway};
use crate::access::{Caller, Refused};
use crate::app::App;
use crate::certificates::{CLIENT_CERT, CLIENT_CERT_CHAIN, shown};
use crate::serve::Peer;
use crate::tls::PeerCertificate;

/// The certificate that came with a request: an extension of the request, there when one was shown
/// and is believed.
#[derive(Clone, Debug)]
pub(crate) struct Shown(pub(crate) Arc<ClientCertificate>);

/// The certificate with which whoever asks has connected to the engine itself: an extension of
/// the request. It stands for the client that a key names it for (X22).
#[derive(Clone, Debug)]
pub(crate) struct Connected {
    certificate: Arc<ClientCertificate>,
    /// Whether requests of others may come over the connection: a proxy that passes on theirs says
    /// who it is to gateways' paths alone.
    is_of_proxy: bool,
}

impl Connected {
    /// The client itself.
    ///
    /// # Errors
    /// When no key names the certificate.
    pub(crate) fn caller(&self, app: &App) -> Result<Caller, Refused> {
        named_by(app, &self.certificate)
    }

    /// The client, where it asks for nobody else.
    pub(crate) fn alone(&self) -> Option<&Self> {
        (!self.is_of_proxy).then_some(self)
    }
}

/// The client that a certificate stands for: by its thumbprint or its SPIFFE id, letter for letter.
///
/// # Errors
/// When no active key names it, or those of several clients do.
pub(crate) fn named_by(app: &App, certificate: &ClientCertificate) -> Result<Caller, Refused> {
    let spiffe = certificate.spiffe.as_ref().map(SpiffeId::as_str);
    let names = std::iter::once(certificate.thumbprint.as_str()).chain(spiffe);
    app.keys.admit_certificate(names, app.inputs.clock.now())
}

/// Takes up the certificate of the connection, if it came with one. Out of the request where it is
/// not believed any more.
fn connect(app: &App, request: &mut Request) -> Result<(), Problem> {
    let extensions = request.extensions_mut();
    let Some(peer) = extensions.remove::<Arc<PeerCertificate>>() else {
        return Ok(());
    };
    let Some(roots) = app.tls.door().and_then(|door| door.roots.clone()) else {
        return Ok(());
    };
    let found = peer.verified(&roots, app.inputs.clock.now());
    let certificate = found.map_err(|why| {
        Problem::refused(format!(
            "the certificate of the connection is refused: {why}; connect with another"
        ))
    })?;
    let address = extensions
        .get::<Peer>()
        .map(|Peer(peer)| peer.ip().to_canonical());
    let proxies = &app.settings.certificates.from;
    let is_of_proxy =
        address.is_none_or(|address| proxies.iter().any(|network| network.contains(&address)));
    if !is_of_proxy {
        extensions.insert(Shown(Arc::clone(&certificate)));
    }
    extensions.insert(Connected {
        certificate,
        is_of_proxy,
    });
    Ok(())
}

/// Verifies the certificate of the connection and what a proxy passed on, and takes the headers
/// away: nobody below reads them.
pub(super) async fn pass(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    match take_up(&app, &mut request) {
        Ok(()) => next.run(request).await,
        Err(why) => why.into_response(),
    }
}

/// Why no certificate was taken up: an extension of a request that is refused for it below.
#[derive(Clone, Debug)]
pub(crate) struct NotBelieved(pub(crate) Problem);

/// The same where refusals have a form of their own, as in gRPC: they are left to what comes next.
pub(crate) async fn pass_or_tell(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Err(why) = take_up(&app, &mut request) {
        request.extensions_mut().insert(NotBelieved(why));
    }
    next.run(request).await
}

fn take_up(app: &App, request: &mut Request) -> Result<(), Problem> {
    connect(app, request)?;
    // There it is the client's of the gateway, and what is wrong with it is told as all else is.
    let is_of_gateway = request.uri().path().starts_with(gateway::PREFIX);
    if !request.headers().contains_key(CLIENT_CERT) || is_of_gateway {
        return Ok(());
    }
    let peer = request.extensions().get::<Peer>().copied();
    let roots = app.client_roots.load();
    let settings = &app.settings.certificates;
    let now = app.inputs.clock.now();
    let certificate = match peer {
        Some(Peer(peer)) => shown(
            request.headers(),
            peer.ip(),
            settings,
            roots.as_deref(),
            now,
        ),
        None => Ok(None),
    };
    let certificate = certificate.map_err(|why| Problem::malformed(why.to_string()))?;
    if let Some(certificate) = certificate {
        request
            .extensions_mut()
            .insert(Shown(Arc::new(certificate)));
    }
    request.headers_mut().remove(CLIENT_CERT);
    request.headers_mut().remove(CLIENT_CERT_CHAIN);
    Ok(())
}
