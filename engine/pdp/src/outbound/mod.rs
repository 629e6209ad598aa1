//! Calls to others: keys of issuers, and whatever else is told or asked over HTTP.
//!
//! https and public addresses only, unless `limits.outbound_allow` names the host and port. The
//! addresses that a name stands for are looked up once, checked, and the connection goes to one of
//! those: a name that means something else a moment later (DNS rebinding) changes nothing. No
//! redirects are followed, no proxy is asked; time and size are limited, and who fails too often is
//! left alone for a while (G8, V14, F1).

mod addresses;
mod target;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use token::revocation::Breaker;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use crate::inputs::Clock;
use addresses::is_public;
use target::Target;

pub use target::{Allowed, is_callable};

/// Largest answer, bytes.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Time for a whole call.
const WITHIN: Duration = Duration::from_secs(10);
/// Failures in a row after which somebody is left alone.
const FAILURES_MAX: u32 = 5;
/// For how long, seconds.
const PAUSE_SECONDS: i64 = 30;
/// Hosts and purposes whose failures are counted; past it, those in good order are forgotten.
const HOSTS_REMEMBERED: usize = 1000;

/// What for somebody is called, and on whose behalf. Failures are counted for each by itself: the
/// address of a receiver or a webhook is somebody's wish, and one that fails must not keep the
/// engine from the keys of an issuer at the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// The keys of an issuer, by their URL.
    Keys(&'a str),
    /// A stream of shared signals, by its id.
    Stream(&'a str),
    /// A channel of alerts, by its name.
    Alerts(&'a str),
    /// The poll of a transmitter, by its issuer.
    Poll(&'a str),
}

/// Whom calls may go to.
#[derive(Clone, Debug, Default)]
pub struct OutboundSettings {
    /// Hosts and ports whatever their address, plain http too.
    pub allow: Vec<Allowed>,
    /// Authorities to believe beside the system's, a PEM file.
    pub authorities: Option<PathBuf>,
}

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The URL cannot be called.
    #[error("{0}")]
    Url(String),
    /// Plain http to somebody who is not named.
    #[error("{0} is called by https only, unless `limits.outbound_allow` names it")]
    Plain(String),
    /// An address that is not public, of somebody who is not named.
    #[error("{0} has no public address; if it is to be called, name it in `limits.outbound_allow`")]
    NotPublic(String),
    /// It failed too often.
    #[error("{0} failed {FAILURES_MAX} times in a row and is left alone for {PAUSE_SECONDS} s")]
    LeftAlone(String),
    /// The authorities to believe cannot be read.
    #[error("{0}")]
    Authorities(String),
    /// No such name, no connection, another's certificate, no HTTP.
    #[error("{0}: {1}")]
    Failed(String, String),
    /// It took too long.
    #[error("{0} did not answer in time")]
    TooLate(String),
    /// The answer is too large.
    #[error("the answer of {0} has more than {ANSWER_BYTES_MAX} bytes")]
    TooLarge(String),
}

/// What somebody answered, whatever the status: a redirect is one, and is not followed.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// The one client.
#[derive(Debug)]
pub struct Outbound {
    settings: OutboundSettings,
    clock: Arc<dyn Clock>,
    within: Duration,
    /// Made when the first https call is.
    tls: OnceCell<Arc<ClientConfig>>,
    breakers: Mutex<HashMap<String, Arc<Breaker>>>,
}

impl Outbound {
    /// A client for those who may be called.
    #[must_use]
    pub fn new(settings: OutboundSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            clock,
            within: WITHIN,
            tls: OnceCell::new(),
            breakers: Mutex::default(),
        }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// When there is no answer, or it may not be asked for.
    pub async fn get(
        &self,
        purpose: Purpose<'_>,
        url: &str,
        accept: &'static str,
    ) -> Result<Answer, OutboundError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        self.call(purpose, (Method::GET, url), headers, Vec::new())
            .await
    }

    /// Tells something. More headers may be given, such as `Authorization`.
    ///
    /// # Errors
    /// When there is no answer, or it may not be told.
    pub async fn post(
        &self,
        purpose: Purpose<'_>,
        url: &str,
        content_type: &'static str,
        mut headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Answer, OutboundError> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.call(purpose, (Method::POST, url), headers, body).await
    }

    async fn call(
        &self,
        purpose: Purpose<'_>,
        (method, url): (Method, &str),
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Answer, OutboundError> {
        let target = Target::parse(url)?;
        let is_named = target.is_in(&self.settings.allow);
        if !target.is_https && !is_named {
            return Err(OutboundError::Plain(target.name()));
        }
        let breaker = self.breaker(format!("{purpose:?} {}", target.name()));
        if !breaker.may_ask(self.clock.now()) {
            return Err(OutboundError::LeftAlone(target.name()));
        }
        let called = self.exchange(&target, is_named, method, headers, body);
        let answer = match tokio::time::timeout(self.within, called).await {
            Ok(answer) => answer,
            Err(_) => Err(OutboundError::TooLate(target.name())),
        };
        match &answer {
            Ok(answer) if !answer.status.is_server_error() => breaker.succeeded(),
            _ => breaker.failed(self.clock.now()),
        }
        answer
    }

    async fn exchange(
        &self,
        target: &Target,
        is_named: bool,
        method: Method,
        mut headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Answer, OutboundError> {
        let failed = |why: String| OutboundError::Failed(target.name(), why);
        let stream = self.connect(target, is_named).await?;
        let authority = HeaderValue::from_str(&target.authority)
            .map_err(|_| OutboundError::Url("the host is no text for a header".to_owned()))?;
        headers.insert(HOST, authority);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(USER_AGENT, HeaderValue::from_static("portreeve"));
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        *request.uri_mut() = target
            .path
            .parse()
            .map_err(|_| OutboundError::Url("the path is none".to_owned()))?;
        if !target.is_https {
            return send(stream, request, target).await;
        }
        let tls = self.tls().await?;
        let name = ServerName::try_from(target.host.clone())
            .map_err(|_| failed("no name that a certificate could have".to_owned()))?;
        let stream = TlsConnector::from(tls)
            .connect(name, stream)
            .await
            .map_err(|error| failed(error.to_string()))?;
        send(stream, request, target).await
    }

    /// Looks the name up, and connects to what was found and checked.
    async fn connect(&self, target: &Target, is_named: bool) -> Result<TcpStream, OutboundError> {
        let failed = |why: String| OutboundError::Failed(target.name(), why);
        let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
        let found = found.map_err(|error| failed(error.to_string()))?;
        let good: Vec<SocketAddr> = found
            .filter(|address| is_named || is_public(address.ip()))
            .collect();
        let mut last = OutboundError::NotPublic(target.name());
        for address in good {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = failed(error.to_string()),
            }
        }
        Err(last)
    }

    /// The one for a purpose at a host.
    fn breaker(&self, name: String) -> Arc<Breaker> {
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        if breakers.len() >= HOSTS_REMEMBERED && !breakers.contains_key(&name) {
            breakers.retain(|_, breaker| !breaker.is_in_order());
            if breakers.len() >= HOSTS_REMEMBERED {
                breakers.clear();
            }
        }
        let breaker = breakers.entry(name);
        Arc::clone(breaker.or_insert_with(|| Arc::new(Breaker::new(FAILURES_MAX, PAUSE_SECONDS))))
    }

    async fn tls(&self) -> Result<Arc<ClientConfig>, OutboundError> {
        let made = self.tls.get_or_try_init(|| async {
            let authorities = self.settings.authorities.clone();
            // Reads files.
            let made = tokio::task::spawn_blocking(move || client_config(authorities.as_ref()));
            made.await.unwrap_or_else(|error| Err(error.to_string()))
        });
        made.await.cloned().map_err(OutboundError::Authorities)
    }
}

/// What believes the system's authorities (`SSL_CERT_FILE`, `SSL_CERT_DIR`, or where the system keeps
/// them), and those of a file.
fn client_config(authorities: Option<&PathBuf>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = authorities {
        let wrong = |why: String| format!("`limits.outbound_ca`: {}: {why}", path.display());
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            let added = roots.add(certificate);
            added.map_err(|error| wrong(error.to_string()))?;
        }
    }
    if roots.is_empty() {
        return Err(
            "no authority to believe was found: install the system's (ca-certificates), \
                    name them by SSL_CERT_FILE, or set `limits.outbound_ca`"
                .to_owned(),
        );
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

async fn send<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    request: Request<Full<Bytes>>,
    target: &Target,
) -> Result<Answer, OutboundError> {
    let failed =
        |error: &dyn std::fmt::Display| OutboundError::Failed(target.name(), error.to_string());
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| failed(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await;
        let (head, body) = response.map_err(|error| failed(&error))?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                OutboundError::TooLarge(target.name())
            } else {
                failed(&error)
            }
        })?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes().to_vec(),
        })
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    // Both in one place, so that whoever gives up on the call ends the connection with it.
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // What was read before it ended may be the whole answer.
        ended = &mut connection => match (exchange.await, ended) {
            (Err(OutboundError::Failed(..)), Err(error)) => Err(failed(&error)),
            (answer, _) => answer,
        },
    }
}
