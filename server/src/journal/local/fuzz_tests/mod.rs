//! Fuzz tests of what reads the files of a data directory. `soloist_fuzz` tells how inputs are made and replayed. Checksums are
//! put right after a mutation, more often than not: otherwise hardly an input would get past them.

mod small_files;
mod wal;

/// A meta record as a server of format 1 wrote it, without its checksum.
const META: &[u8] = include_bytes!("../../stored/format_1/meta.bin");
