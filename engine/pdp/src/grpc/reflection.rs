//! Reflection: what is served here, for `grpcurl` and the like. It tells names and forms, which
//! are Envoy's and public, and nothing of the engine.

use tonic::service::Routes;
use tonic_reflection::server::{Builder, Error};

use super::OPEN_MESSAGE_MAX;

/// Envoy's `external_auth.proto` with all that it imports, as `protoc` compiles it. envoy-types
/// has the files and not this; made again after it was updated, in its folder `proto`:
///
/// ```text
/// protoc -Idata-plane-api -Igoogleapis -Iprotoc-gen-validate -Ixds -Icel-spec/proto \
///   --include_imports --descriptor_set_out=descriptors.binpb \
///   envoy/service/auth/v3/external_auth.proto
/// ```
const DESCRIPTORS: &[u8] = include_bytes!("descriptors.binpb");

/// Adds reflection, in the version that is and in the one that older tools ask for.
pub(super) fn add(routes: Routes) -> Routes {
    let added = (|| -> Result<Routes, Error> {
        let v1 = builder().build_v1()?;
        let v1alpha = builder().build_v1alpha()?;
        let routes = routes
            .clone()
            .add_service(v1.max_decoding_message_size(OPEN_MESSAGE_MAX));
        Ok(routes.add_service(v1alpha.max_decoding_message_size(OPEN_MESSAGE_MAX)))
    })();
    // INVARIANT: the descriptors can be read; a test sees that they can.
    added.unwrap_or_else(|error| {
        tracing::error!(%error, "reflection is not served; please report this");
        routes
    })
}

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
