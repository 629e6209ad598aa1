//! What is served beside checks, and how the port opens and closes.

use std::collections::BTreeSet;
use std::net::TcpListener;

use envoy_types::pb::google::protobuf::FileDescriptorProto;
use futures_util::StreamExt as _;
use prost::Message as _;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

use super::*;
use crate::harness::run;
use crate::oauth::journal;
use crate::reload::own_policies;

const ENVOYS: &str = "envoy.service.auth.v3.Authorization";

pub(super) fn health(grpc: &Grpc, service: &str) -> Result<ServingStatus, tonic::Code> {
    let mut client = HealthClient::new(grpc.channel.clone());
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let response = grpc.runtime.block_on(client.check(request));
    let response = response.map_err(|status| status.code())?;
    Ok(response.into_inner().status())
}

#[test]
fn health_says_what_readyz_says() {
    let site = site();
    let policies = own_policies(&site);
    let engine = Engine::start(
        site.command()
            .env("PORTREEVE_POLICIES__DIR", &policies)
            .env("PORTREEVE_POLICIES__WATCH", "false"),
    );
    let grpc = Grpc::new(engine.grpc.unwrap(), None);
    for service in ["", ENVOYS] {
        assert_eq!(
            health(&grpc, service),
            Ok(ServingStatus::Serving),
            "{service}"
        );
    }
    assert_eq!(health(&grpc, "else"), Err(tonic::Code::NotFound));

    let mut watching = HealthClient::new(grpc.channel.clone());
    let watched = grpc
        .runtime
        .block_on(watching.watch(HealthCheckRequest::default()));
    let mut watched = watched.unwrap().into_inner();
    let mut next = || {
        let told = grpc.runtime.block_on(watched.next())?;
        Some(told.unwrap().status())
    };
    assert_eq!(next(), Some(ServingStatus::Serving));
    let broken = policies.join("99-broken.cedar");
    std::fs::write(&broken, "nonsense").unwrap();
    engine.signal("HUP");
    assert_eq!(next(), Some(ServingStatus::NotServing));
    assert_eq!(engine.client("").get("/readyz").status, 503);
    assert_eq!(health(&grpc, ""), Ok(ServingStatus::NotServing));
    std::fs::remove_file(&broken).unwrap();
    engine.signal("HUP");
    assert_eq!(next(), Some(ServingStatus::Serving));

    // Who watches is told of the stop, and does not keep the engine from it.
    engine.signal("TERM");
    assert_eq!(next(), Some(ServingStatus::NotServing));
    assert_eq!(next(), None);
    engine.stop();
}

#[test]
fn reflection_names_what_is_served_and_its_messages() {
    let site = site();
    let engine = site.start();
    let grpc = Grpc::new(engine.grpc.unwrap(), None);
    let services = [
        ENVOYS,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    macro_rules! ask {
        ($version:ident, $kind:ident, $text:expr) => {{
            use $version::server_reflection_request::MessageRequest;
            use $version::server_reflection_response::MessageResponse;
            let mut client = $version::server_reflection_client::ServerReflectionClient::new(
                grpc.channel.clone(),
            );
            let request = $version::ServerReflectionRequest {
                message_request: Some(MessageRequest::$kind($text.to_owned())),
                ..Default::default()
            };
            let request = futures_util::stream::iter([request]);
            let response = grpc.runtime.block_on(async {
                let mut answers = client.server_reflection_info(request).await.unwrap();
                answers.get_mut().next().await.unwrap().unwrap()
            });
            match response.message_response.unwrap() {
                MessageResponse::ListServicesResponse(list) => list
                    .service
                    .into_iter()
                    .map(|service| service.name)
                    .collect(),
                MessageResponse::FileDescriptorResponse(files) => {
                    let files = files.file_descriptor_proto;
                    files.iter().flat_map(|file| names(file)).collect()
                }
                other => panic!("{other:?}"),
            }
        }};
    }
    let listed: BTreeSet<String> = ask!(v1, ListServices, "");
    for service in &services[..3] {
        assert!(listed.contains(*service), "{service}: {listed:?}");
    }
    let listed: BTreeSet<String> = ask!(v1alpha, ListServices, "");
    assert!(
        listed.contains(ENVOYS) && listed.contains(services[3]),
        "{listed:?}"
    );
    let named: BTreeSet<String> = ask!(v1, FileContainingSymbol, ENVOYS);
    for name in [
        "Authorization",
        "CheckRequest",
        "CheckResponse",
        "OkHttpResponse",
    ] {
        assert!(named.contains(name), "{name}: {named:?}");
    }
    // All that these are made of can be had, or `grpcurl describe` would fail.
    let mut wanted = vec!["envoy/service/auth/v3/external_auth.proto".to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(file) = wanted.pop() {
        if seen.insert(file.clone()) {
            let found: BTreeSet<String> = ask!(v1, FileByFilename, file);
            wanted.extend(found.into_iter().filter(|name| name.ends_with(".proto")));
        }
    }
    assert!(seen.contains("envoy/service/auth/v3/attribute_context.proto"));
}

/// What a file defines, and what it is made of.
fn names(file: &[u8]) -> Vec<String> {
    let file = FileDescriptorProto::decode(file).unwrap();
    let messages = file.message_type.into_iter().filter_map(|one| one.name);
    let services = file.service.into_iter().filter_map(|one| one.name);
    messages.chain(services).chain(file.dependency).collect()
}

#[test]
fn what_was_asked_before_the_stop_is_answered() {
    let site = site();
    let key = site.key("gateway");
    let mut engine = site.start();
    let (_, cookie) = browser(&engine, &key, "alice");
    let grpc = connect(&engine, &key);
    let message = request("GET", "/documents/handbook", &[("cookie", &cookie)]);
    assert_eq!(grpc.check(message.clone()).status, 200);
    let mut answered = 0;
    loop {
        if answered == 50 {
            engine.signal("TERM");
        }
        match grpc.check_with(Some(&key), message.clone()) {
            Ok(checked) => assert_eq!(checked.status, 200, "{checked:?}"),
            // Not taken any more: the connection is closed and there is no other, or it says so.
            Err(status) => {
                let is_refused = status.code() == tonic::Code::Unavailable
                    || format!("{status:?}").contains("GoAway(b\"\", NO_ERROR");
                assert!(is_refused, "{status:?}");
                break;
            }
        }
        answered += 1;
    }
    assert!(answered >= 50, "{answered}");
    let (status, log) = engine.wait();
    assert!(status.success() && !log.contains("cut off"), "{log}");
    // What was refused was not decided either: whoever asks again is not counted twice.
    let records = journal(&site);
    let about = |record: &&serde_json::Value| record["request"]["resource"]["id"] == "handbook";
    assert_eq!(records.iter().filter(about).count(), answered + 1);
}

#[test]
fn an_address_that_is_taken_stops_the_engine_if_it_was_asked_for() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = site();
    let ran = run(site
        .command()
        .env("PORTREEVE_GRPC_LISTEN", &address)
        .arg("serve"));
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(
        ran.err.contains(&address) && ran.err.contains("`grpc_listen`"),
        "{ran:?}"
    );

    let engine = Engine::start(site.command().env("PORTREEVE_GRPC_LISTEN", "off"));
    assert_eq!(engine.grpc, None);
    engine.stop();
    // The one that it has by default, and routes, so that it would listen there.
    let routes = ROUTES.replace("grpc_listen = \"127.0.0.1:0\"", "");
    let site = Site::with(&routes);
    let _taken = TcpListener::bind("127.0.0.1:8182");
    let engine = site.start();
    let was_free = engine.grpc.is_some();
    let log = engine.stop();
    assert!(
        was_free || log.contains("Envoy cannot ask over gRPC"),
        "{log}"
    );
}
