//! The program `soloist-load`. See `soloist-load --help`.

use std::process;

use mimalloc::MiMalloc;

/// Every operation allocates and frees the parts of its messages: a fast allocator leaves more CPU time for operations.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    process::exit(soloist_load::main(std::env::args_os()));
}
