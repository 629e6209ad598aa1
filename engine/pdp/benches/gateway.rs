//! What the engine costs behind real gateways: the same gateway, once with the engine and once with
//! a stub that always says yes.
//!
//! `cargo bench -p pdp --bench gateway`, or `-- --seconds N`. Needs wrk, nginx and Python as
//! `tests/gateways/run` does; without them it says so and ends well.
//!
//! The stub is here: the quickest that a decision point in this language could be, with the same
//! servers and the same headers in its answer. `tests/gateways/throughput.py` starts the gateways,
//! lets wrk ask, and prints the table.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on must stop, and prints what it finds"
)]

use std::convert::Infallible;
use std::path::Path;
use std::process::{Command, Stdio};

use axum::Router;
use axum::response::IntoResponse as _;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{
    Authorization, AuthorizationServer,
};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, OkHttpResponse};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tonic::{Response, Status};

const BINARY: &str = env!("CARGO_BIN_EXE_portreeve");

/// What an allow sets.
const HEADERS: [(&str, &str); 7] = [
    ("x-portreeve-subject", "alice"),
    ("x-portreeve-subject-type", "User"),
    (
        "x-portreeve-decision-id",
        "01a2002c-6b6a-767a-a8a1-0123456789ab",
    ),
    ("x-portreeve-risk-level", "LOW"),
    ("x-portreeve-session", "ses_0123456789abcdefghijkl"),
    ("x-portreeve-outcome", "allow"),
    ("x-user-id", "alice"),
];

struct Yes;

#[tonic::async_trait]
impl Authorization for Yes {
    async fn check(
        &self,
        _: tonic::Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let headers = HEADERS.map(|(key, value)| HeaderValueOption {
            header: Some(HeaderValue {
                key: key.to_owned(),
                value: value.to_owned(),
                ..HeaderValue::default()
            }),
            ..HeaderValueOption::default()
        });
        let ok = OkHttpResponse {
            headers: headers.into(),
            ..OkHttpResponse::default()
        };
        Ok(Response::new(CheckResponse {
            status: Some(envoy_types::pb::google::rpc::Status::default()),
            http_response: Some(HttpResponse::OkResponse(ok)),
            ..CheckResponse::default()
        }))
    }
}

fn http() -> Router {
    Router::new().fallback(|| async {
        let no_store = [("cache-control", "no-store")];
        (HEADERS, no_store).into_response()
    })
}

fn grpc() -> Router {
    tonic::service::Routes::new(AuthorizationServer::new(Yes)).into_axum_router()
}

/// Its port; it serves as long as the process.
async fn serve(router: Router, is_http2: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let service = TowerToHyperService::new(router.clone());
            let stream = TokioIo::new(stream);
            tokio::spawn(async move {
                let _ = if is_http2 {
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(stream, service)
                        .await
                } else {
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(stream, service)
                        .await
                };
                Ok::<_, Infallible>(())
            });
        }
    });
    port
}

fn main() {
    let mut arguments = std::env::args().skip_while(|word| word != "--seconds");
    let seconds = arguments.nth(1).unwrap_or_else(|| "10".to_owned());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (http, grpc) =
        runtime.block_on(async { (serve(http(), false).await, serve(grpc(), true).await) });
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let status = Command::new(root.join("tests/gateways/run"))
        .arg(BINARY)
        .args(["--throughput", &http.to_string(), &grpc.to_string()])
        .args(["--seconds", &seconds])
        .stdin(Stdio::null())
        .status()
        .unwrap();
    std::process::exit(status.code().unwrap_or(1));
}
