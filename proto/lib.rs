//! The contract of Soloist as Rust: messages, clients and service traits, generated from the `.proto` files that
//! stand beside this one. Their comments are the documentation, here and in `grpcurl describe`.
//!
//! To call a server, `soloist-client` is the comfortable way; the plain generated clients are in [`v1`].

/// Package `soloist.v1`: messages, and the clients `state_client` and `admin_client`.
pub mod v1 {
    tonic::include_proto!("soloist.v1");
}

/// The service traits of package `soloist.v1`, for whoever implements a server.
#[cfg(feature = "server")]
pub mod server {
    include!(concat!(env!("OUT_DIR"), "/server/soloist.v1.rs"));
}

#[cfg(feature = "server")]
pub mod codec;

/// The contract as an encoded `google.protobuf.FileDescriptorSet` with comments and imports, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// What `google.rpc.ErrorInfo.domain` says in every error of ours.
pub const ERROR_DOMAIN: &str = "soloist.v1";
