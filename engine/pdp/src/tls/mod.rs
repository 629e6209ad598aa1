//! The engine's own TLS: what it shows, and whose certificates it believes. Read from files, and
//! swapped whole when they change; what cannot be read changes nothing and is said.

mod clients;
mod watch;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use domain::Timestamp;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::server::WantsServerCert;
use rustls::{ConfigBuilder, ServerConfig};
use token::certificate::Roots;

use crate::app::App;
use crate::inputs::Clock;
use crate::settings::{Settings, TlsClients, TlsSettings};
use clients::Believed;

pub(crate) use clients::PeerCertificate;
pub(crate) use watch::watch;

/// Why the door cannot be made of what is in the files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`tls.{setting}`: {path}: {why}")]
pub struct LoadTlsError {
    setting: &'static str,
    path: String,
    why: String,
}

impl LoadTlsError {
    fn new(setting: &'static str, path: &Path, why: &dyn std::fmt::Display) -> Self {
        Self {
            setting,
            path: path.display().to_string(),
            why: why.to_string(),
        }
    }
}

/// What holds for connections that begin now.
pub(crate) struct Door {
    /// For HTTP/1.1.
    pub(crate) http1: Arc<ServerConfig>,
    /// For gRPC.
    pub(crate) http2: Arc<ServerConfig>,
    /// Who vouches for those who connect.
    pub(crate) roots: Option<Arc<Roots>>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("roots", &self.roots)
            .finish_non_exhaustive()
    }
}

/// What the files last held that was good, and what is wrong with what they hold now.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    door: ArcSwapOption<Door>,
    fault: Mutex<Option<Fault>>,
}

/// Files that could not be taken up.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// What is wrong.
    pub(crate) why: String,
    /// When that was first seen.
    pub(crate) since: Timestamp,
}

impl Tls {
    /// What the settings say. Without `[tls]`, nothing: the engine speaks in clear.
    ///
    /// # Errors
    /// When a file cannot be read, or holds something else.
    pub(crate) fn open(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Self, LoadTlsError> {
        let door = settings.tls.as_ref();
        let door = door.map(|tls| load(tls, &settings.certificates.trust_domains, clock));
        Ok(Self {
            door: ArcSwapOption::new(door.transpose()?.map(Arc::new)),
            fault: Mutex::default(),
        })
    }

    /// What holds for a connection that begins now. None: it is in clear.
    pub(crate) fn door(&self) -> Option<Arc<Door>> {
        self.door.load_full()
    }

    /// What is wrong with the files, if they could not be taken up.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes over what was read, or what is wrong with it.
    fn note(&self, read: Result<Door, LoadTlsError>, now: Timestamp) -> Result<(), String> {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(door) => {
                self.door.store(Some(Arc::new(door)));
                *fault = None;
                Ok(())
            }
            Err(error) => {
                let why = error.to_string();
                let since = fault.as_ref().map_or(now, |fault| fault.since);
                *fault = Some(Fault {
                    why: why.clone(),
                    since,
                });
                Err(why)
            }
        }
    }
}

impl App {
    /// Reads the files of the door again. What is open goes on with what it began with, but for
    /// clients' certificates, which are held against the new authorities.
    ///
    /// # Errors
    /// What is wrong with them; then what was there before goes on.
    pub(crate) async fn renew_tls(self: &Arc<Self>) -> Result<(), String> {
        if self.settings.tls.is_none() {
            return Ok(());
        }
        let app = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            let settings = &app.settings;
            let tls = settings.tls.as_ref()?;
            let clock = &app.inputs.clock;
            Some(load(tls, &settings.certificates.trust_domains, clock))
        });
        let read = read.await.map_err(|error| format!("tls: {error}"))?;
        read.map_or(Ok(()), |read| self.tls.note(read, self.inputs.clock.now()))
    }
}

fn load(
    settings: &TlsSettings,
    trust_domains: &[String],
    clock: &Arc<dyn Clock>,
) -> Result<Door, LoadTlsError> {
    let TlsSettings {
        certificate,
        key,
        clients,
    } = settings;
    let fault = |why: &dyn std::fmt::Display| LoadTlsError::new("certificate", certificate, why);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .map_err(|error| fault(&error))?
        .collect();
    let chain = chain.map_err(|error| fault(&error))?;
    if chain.is_empty() {
        return Err(fault(&"there is no certificate in it"));
    }
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| LoadTlsError::new("key", key, &error))?;
    let roots = clients.as_ref();
    let roots = roots.map(|clients| load_roots(clients, trust_domains));
    let roots = roots.transpose()?.map(Arc::new);

    let required = clients.as_ref().is_some_and(|clients| clients.required);
    // Sessions of one are none of the other's.
    let config = |is_told| {
        let believed = roots.as_ref().map(|roots| {
            let (roots, clock) = (Arc::clone(roots), Arc::clone(clock));
            Arc::new(Believed::new(roots, required, is_told, clock))
        });
        let builder = builder(believed).map_err(|error| fault(&error))?;
        builder
            .with_single_cert(chain.clone(), private.clone_key())
            .map_err(|error| LoadTlsError::new("key", key, &error))
    };
    let mut http1 = config(false)?;
    // To Envoy a handshake that fails is no answer, and may be let through. Where nobody needs a
    // certificate, one that is not believed is told so in an answer, at no more risk.
    let mut http2 = config(!required)?;
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    http2.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Door {
        http1: Arc::new(http1),
        http2: Arc::new(http2),
        roots,
    })
}

/// TLS 1.2 and 1.3 with the one cryptographic library that is here.
fn builder(
    believed: Option<Arc<Believed>>,
) -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    Ok(match believed {
        Some(believed) => builder.with_client_cert_verifier(believed),
        None => builder.with_no_client_auth(),
    })
}

fn load_roots(clients: &TlsClients, trust_domains: &[String]) -> Result<Roots, LoadTlsError> {
    let (setting, path) = ("client_roots", &clients.roots);
    let pem = std::fs::read(path).map_err(|error| LoadTlsError::new(setting, path, &error))?;
    let roots = Roots::new(&pem, trust_domains.to_vec())
        .map_err(|error| LoadTlsError::new(setting, path, &error))?;
    let Some(path) = &clients.revoked else {
        return Ok(roots);
    };
    let setting = "client_crls";
    let pem = std::fs::read(path).map_err(|error| LoadTlsError::new(setting, path, &error))?;
    roots
        .with_revoked(&pem)
        .map_err(|error| LoadTlsError::new(setting, path, &error))
}
