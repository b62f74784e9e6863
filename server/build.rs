//! Compiles `proto/journal.proto`, the messages on disk, into Rust, without protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    // Comments become documentation.
    compiler.include_source_info(true);
    compiler.open_file("journal.proto")?;
    prost_build::Config::new()
        // Values and digests are shared, not copied.
        .bytes(["."])
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
