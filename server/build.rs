//! Compiles `proto/*.proto`, the messages on disk and in etcd, into Rust, without protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    // Comments become documentation.
    compiler.include_source_info(true);
    compiler.open_files(["journal.proto", "cluster.proto"])?;
    prost_build::Config::new()
        // Values and digests are shared, not copied.
        .bytes(["."])
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
