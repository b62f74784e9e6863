//! The contract of Soloist as Rust: messages, clients and service traits, generated from the `.proto` files in this
//! folder. The comments in those files are the documentation, both here and in `grpcurl describe`.
//!
//! Most callers want the crate `soloist-client` instead, which is built on the generated clients in [`v1`].

/// Package `soloist.v1`: the messages, and one client module for each service, such as [`state_client`](v1::state_client).
pub mod v1 {
    tonic::include_proto!("soloist.v1");
}

/// The service traits of package `soloist.v1`, to implement a server.
#[cfg(feature = "server")]
pub mod server {
    include!(concat!(env!("OUT_DIR"), "/server/soloist.v1.rs"));
}

#[cfg(feature = "server")]
pub mod codec;

/// The contract as an encoded `google.protobuf.FileDescriptorSet`, with comments and imports, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The `google.rpc.ErrorInfo.domain` of every error of Soloist itself.
pub const ERROR_DOMAIN: &str = "soloist.v1";
