//! The client's certificate, verified before anything is answered, and handed on with the request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use token::certificate::ClientCertificate;

use super::{Problem, gateway};
use crate::app::App;
use crate::certificates::{CLIENT_CERT, CLIENT_CERT_CHAIN, shown};
use crate::serve::Peer;

/// The certificate that came with a request: an extension of the request, there when one was shown
/// and is believed.
#[derive(Clone, Debug)]
pub(crate) struct Shown(pub(crate) Arc<ClientCertificate>);

/// Verifies what a proxy passed on, and takes the headers away: nobody below reads them.
pub(super) async fn pass(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    // There it is the client's of the gateway, and what is wrong with it is told as all else is.
    let is_of_gateway = request.uri().path().starts_with(gateway::PREFIX);
    if request.headers().contains_key(CLIENT_CERT) && !is_of_gateway {
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
        match certificate {
            Ok(Some(certificate)) => {
                request
                    .extensions_mut()
                    .insert(Shown(Arc::new(certificate)));
            }
            Ok(None) => {}
            Err(why) => return Problem::malformed(why.to_string()).into_response(),
        }
        request.headers_mut().remove(CLIENT_CERT);
        request.headers_mut().remove(CLIENT_CERT_CHAIN);
    }
    next.run(request).await
}
