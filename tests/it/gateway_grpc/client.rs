//! A client of the engine's gRPC port, as Envoy is one, over a real socket.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::Uri;
use envoy_types::pb::envoy::config::core::v3::address::Address as Kind;
use envoy_types::pb::envoy::config::core::v3::{
    Address, HeaderMap, HeaderValue, HeaderValueOption, SocketAddress,
};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use envoy_types::pb::google::protobuf::value::Kind as Json;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Status;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint};

use crate::door::secure::Dialler;

/// A connection, and the key that is sent over it.
#[derive(Debug)]
pub(super) struct Grpc {
    pub(super) runtime: Runtime,
    pub(super) channel: Channel,
    key: Option<String>,
}

impl Grpc {
    pub(super) fn new(address: SocketAddr, key: Option<&str>) -> Self {
        let runtime = runtime();
        let endpoint = Endpoint::try_from(format!("http://{address}")).unwrap();
        let channel = runtime.block_on(endpoint.connect()).unwrap();
        Self {
            runtime,
            channel,
            key: key.map(str::to_owned),
        }
    }

    /// Over TLS, as somebody who shows this certificate.
    pub(super) fn certified(address: SocketAddr, certificate: &str) -> Self {
        let runtime = runtime();
        let dialler = Dialler::new(Some(certificate)).offering(&["h2"]);
        let secret = Secret {
            address,
            config: Arc::new(dialler.config),
        };
        let endpoint = Endpoint::try_from(format!("http://{address}")).unwrap();
        let channel = runtime.block_on(endpoint.connect_with_connector(secret));
        Self {
            runtime,
            channel: channel.unwrap(),
            key: None,
        }
    }

    /// The same connection with another key.
    pub(super) fn check_with(
        &self,
        key: Option<&str>,
        request: CheckRequest,
    ) -> Result<Checked, Status> {
        let mut request = tonic::Request::new(request);
        if let Some(key) = key {
            let bearer = format!("Bearer {key}").parse().unwrap();
            request.metadata_mut().insert("authorization", bearer);
        }
        self.send(request)
    }

    /// The same with metadata as they are.
    pub(super) fn send(&self, request: tonic::Request<CheckRequest>) -> Result<Checked, Status> {
        let mut client = AuthorizationClient::new(self.channel.clone());
        let response = self.runtime.block_on(client.check(request))?;
        Ok(Checked::of(response.into_inner()))
    }

    pub(super) fn check(&self, request: CheckRequest) -> Checked {
        self.check_with(self.key.as_deref(), request).unwrap()
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// Connects over TLS.
struct Secret {
    address: SocketAddr,
    config: Arc<ClientConfig>,
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<TlsStream<TcpStream>>>> + Send>>;

impl Service<Uri> for Secret {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Connecting {
        let (address, connector) = (self.address, TlsConnector::from(Arc::clone(&self.config)));
        Box::pin(async move {
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TcpStream::connect(address).await?;
            Ok(TokioIo::new(connector.connect(name, stream).await?))
        })
    }
}

/// A request of a client, as Envoy puts it with `encode_raw_headers`.
pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> CheckRequest {
    let parts = [
        (":method", method),
        (":path", path),
        (":authority", "docs.example"),
        (":scheme", "https"),
    ];
    let headers = parts
        .iter()
        .chain(headers)
        .map(|(name, value)| HeaderValue {
            key: (*name).to_owned(),
            raw_value: value.as_bytes().to_vec(),
            ..HeaderValue::default()
        });
    let http = HttpRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        host: "docs.example".to_owned(),
        scheme: "https".to_owned(),
        header_map: Some(HeaderMap {
            headers: headers.collect(),
        }),
        ..HttpRequest::default()
    };
    let address = SocketAddress {
        address: "10.10.4.7".to_owned(),
        ..SocketAddress::default()
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer {
                address: Some(Address {
                    address: Some(Kind::SocketAddress(address)),
                }),
                ..Peer::default()
            }),
            request: Some(Request {
                http: Some(http),
                ..Request::default()
            }),
            ..AttributeContext::default()
        }),
    }
}

/// The client's request in a check, to be changed.
pub(super) fn http(request: &mut CheckRequest) -> &mut HttpRequest {
    let attributes = request.attributes.as_mut().unwrap();
    attributes.request.as_mut().unwrap().http.as_mut().unwrap()
}

/// One header more, of any bytes.
pub(super) fn header(request: &mut CheckRequest, name: &str, value: &[u8]) {
    let headers = &mut http(request).header_map.as_mut().unwrap().headers;
    headers.push(HeaderValue {
        key: name.to_owned(),
        raw_value: value.to_vec(),
        ..HeaderValue::default()
    });
}

/// The client in a check, to be changed.
pub(super) fn source(request: &mut CheckRequest) -> &mut Peer {
    request
        .attributes
        .as_mut()
        .unwrap()
        .source
        .as_mut()
        .unwrap()
}

/// What a check was answered with, in words.
#[derive(Clone, Debug, Default)]
pub(super) struct Checked {
    /// 200 where it was let through.
    pub(super) status: u16,
    /// For the app, or for the client where it was not let through.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) removed: Vec<String>,
    /// For the client of what was let through.
    pub(super) added: BTreeMap<String, String>,
    pub(super) body: String,
    /// Of the metadata: texts as they are, records by dots.
    pub(super) told: BTreeMap<String, String>,
}

impl Checked {
    fn of(response: CheckResponse) -> Self {
        let code = response.status.unwrap().code;
        let mut checked = Self::default();
        for (name, value) in response.dynamic_metadata.unwrap_or_default().fields {
            tell(&mut checked.told, &name, value.kind.unwrap());
        }
        match response.http_response.unwrap() {
            HttpResponse::OkResponse(ok) => {
                assert_eq!(code, 0);
                checked.status = 200;
                checked.headers = headers(&ok.headers);
                checked.added = headers(&ok.response_headers_to_add);
                checked.removed = ok.headers_to_remove;
                checked.removed.sort();
            }
            HttpResponse::DeniedResponse(denied) => {
                assert_ne!(code, 0, "Envoy would let it through");
                checked.status = u16::try_from(denied.status.unwrap().code).unwrap();
                checked.headers = headers(&denied.headers);
                checked.body = denied.body;
            }
            HttpResponse::ErrorResponse(_) => panic!("`failure_mode_allow` would let it through"),
        }
        checked
    }
}

fn headers(options: &[HeaderValueOption]) -> BTreeMap<String, String> {
    let pairs = options.iter().map(|option| {
        let header = option.header.clone().unwrap();
        (header.key, header.value)
    });
    pairs.collect()
}

fn tell(told: &mut BTreeMap<String, String>, name: &str, value: Json) {
    let text = match value {
        Json::StringValue(text) => text,
        Json::NumberValue(number) => number.to_string(),
        Json::ListValue(list) => format!("{} of them", list.values.len()),
        Json::StructValue(record) => {
            for (member, value) in record.fields {
                tell(told, &format!("{name}.{member}"), value.kind.unwrap());
            }
            return;
        }
        other => panic!("{name}: {other:?}"),
    };
    told.insert(name.to_owned(), text);
}
