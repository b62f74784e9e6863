//! The program `soloist`. See `soloist --help`.

use std::process;

fn main() {
    process::exit(soloist_cli::main(std::env::args_os()));
}
