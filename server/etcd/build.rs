//! Compiles `proto/etcd.proto` into Rust, without protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true);
    compiler.open_file("etcd.proto")?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        // Values are shared, not copied.
        .bytes(".")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
