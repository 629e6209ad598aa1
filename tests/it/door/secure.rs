//! A client that speaks TLS, with a certificate or without.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use serde_json::Value;

use crate::harness::{Response, Site, message, read_response, root};

/// A file of the tests' certificates.
pub(crate) fn file(name: &str) -> PathBuf {
    root().join("tests/certificates").join(name)
}

/// Puts a server's certificate, with its authority, and its key where `[tls]` of a site looks for
/// them, each at once.
pub(super) fn install(folder: &Path, name: &str) {
    let read = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    let chain = read(&format!("{name}.pem")) + &read("issuing.pem");
    for (target, text) in [
        ("door.pem", chain),
        ("door.key", read(&format!("{name}.key"))),
    ] {
        let half = folder.join("half");
        std::fs::write(&half, text).unwrap();
        std::fs::rename(half, folder.join(target)).unwrap();
    }
}

/// A site that shows `https.pem`; with more settings of `[tls]`, and more sections after it.
pub(crate) fn site(tls: &str, more: &str) -> Site {
    let site = Site::with("");
    let folder = site.folder.path();
    install(folder, "https");
    let text = std::fs::read_to_string(site.config()).unwrap();
    let (certificate, key) = (folder.join("door.pem"), folder.join("door.key"));
    let text =
        format!("{text}\n[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n{tls}\n{more}\n");
    std::fs::write(site.config(), text).unwrap();
    site
}

/// How somebody connects.
#[derive(Clone, Debug)]
pub(crate) struct Dialler {
    pub(crate) config: ClientConfig,
}

impl Dialler {
    /// With the certificate of this name, or none.
    pub(crate) fn new(certificate: Option<&str>) -> Self {
        Self::speaking(certificate, rustls::ALL_VERSIONS)
    }

    pub(super) fn speaking(
        certificate: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(file("root.pem")).unwrap();
        roots.add(authority).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = [&format!("{name}.pem"), "issuing.pem"];
                let chain = chain.map(|name| CertificateDer::from_pem_file(file(name)).unwrap());
                let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(chain.to_vec(), key).unwrap()
            }
        };
        Self { config }
    }

    pub(crate) fn offering(mut self, protocols: &[&str]) -> Self {
        let names = protocols.iter().map(|name| name.as_bytes().to_vec());
        self.config.alpn_protocols = names.collect();
        self
    }

    /// Connects and shakes hands. With TLS 1.3 the other end may refuse afterwards.
    pub(super) fn dial(&self, address: SocketAddr) -> std::io::Result<Secure> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(Arc::new(self.config.clone()), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Secure(BufReader::new(StreamOwned::new(session, stream))))
    }

    /// Asks once over a connection of its own. None: nobody answered.
    pub(super) fn ask(
        &self,
        address: SocketAddr,
        (method, path): (&str, &str),
        key: &str,
        body: &Value,
    ) -> Option<Response> {
        let mut connection = self.dial(address).ok()?;
        connection.ask((method, path), key, body)
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Secure(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Secure {
    pub(super) fn session(&self) -> &ClientConnection {
        &self.0.get_ref().conn
    }

    /// The server's own certificate.
    pub(super) fn shown(&self) -> Vec<u8> {
        self.session().peer_certificates().unwrap()[0].to_vec()
    }

    pub(super) fn ask(
        &mut self,
        (method, path): (&str, &str),
        key: &str,
        body: &Value,
    ) -> Option<Response> {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let kind = [("Content-Type", "application/json")];
        self.send(&message(key, method, path, &kind, &body))
    }

    /// Sends bytes as they are and reads one response.
    pub(super) fn send(&mut self, message: &[u8]) -> Option<Response> {
        self.0.get_mut().write_all(message).ok()?;
        read_response(&mut self.0)
    }
}
