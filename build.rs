//! Compiles `proto/` into Rust and into the descriptor set that reflection serves, without protoc.

use std::path::PathBuf;
use std::{env, error::Error, fs};

use protox::Compiler;

/// `error_details.proto` is there for reflection alone: with it grpcurl prints the details of our errors.
/// `descriptor.proto` is there because reflection clients may ask for it.
const FILES: [&str; 7] = [
    "google/protobuf/descriptor.proto",
    "google/rpc/error_details.proto",
    "soloist/v1/admin.proto",
    "soloist/v1/errors.proto",
    "soloist/v1/machines.proto",
    "soloist/v1/sessions.proto",
    "soloist/v1/state.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    // tonic-prost-build prints no rerun-if-changed for descriptor sets.
    println!("cargo:rerun-if-changed=proto/soloist");
    println!("cargo:rerun-if-changed=proto/google");

    let mut compiler = Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(FILES)?;

    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(
        out_dir.join("descriptors.bin"),
        compiler.encode_file_descriptor_set(),
    )?;

    // Twice, because the two sides decode with different codecs: to a client a message that cannot be decoded is
    // the server's fault, to a server it is a bad argument. The second pass takes the messages of the first.
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .out_dir(&out_dir)
        .compile_fds(compiler.file_descriptor_set())?;

    let services_dir = out_dir.join("server");
    fs::create_dir_all(&services_dir)?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .codec_path("crate::codec::RequestCodec")
        .extern_path(".soloist.v1", "crate::v1")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .out_dir(&services_dir)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
