//! Where is listened, as text holds it, and its check.

use std::net::SocketAddr;

use gateway::RawGateway;

use super::GrpcListen;

/// Where decisions are asked for.
pub(super) fn check(text: &str, faults: &mut Vec<String>) -> SocketAddr {
    text.parse().unwrap_or_else(|_| {
        faults.push(format!("`listen`: `{text}` is not ADDRESS:PORT"));
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

/// Where administration is asked for, where that is another place.
pub(super) fn check_admin(text: Option<&str>, faults: &mut Vec<String>) -> Option<SocketAddr> {
    let text = text?;
    let address = text.parse();
    if address.is_err() {
        faults.push(format!("`admin_listen`: `{text}` is not ADDRESS:PORT"));
    }
    address.ok()
}

/// Where gRPC is listened on: where it is said, and where there are routes at
/// [`GrpcListen::DEFAULT`].
pub(super) fn check_grpc(
    text: Option<&str>,
    gateway: &RawGateway,
    faults: &mut Vec<String>,
) -> Option<GrpcListen> {
    match text {
        Some("off") => None,
        Some(text) => match text.parse() {
            Ok(address) => Some(GrpcListen {
                address,
                is_set: true,
            }),
            Err(_) => {
                faults.push(format!(
                    "`grpc_listen`: `{text}` is not ADDRESS:PORT, nor `off`"
                ));
                None
            }
        },
        None => gateway.has_routes().then_some(GrpcListen {
            address: GrpcListen::DEFAULT,
            is_set: false,
        }),
    }
}
