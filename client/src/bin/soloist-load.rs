//! soloist-load: measures a state server. See `soloist-load --help`.

use std::io::{self, Write};
use std::process;

use clap::Parser;
use mimalloc::MiMalloc;
use soloist_client::load::{self, Args, RunError};

/// Every operation allocates and frees the parts of its messages.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let args = Args::parse();
    let code = match load::run(&args) {
        Ok(report) => match args.write(&report) {
            Ok(()) => args.exit_code(&report),
            Err(error) => complain(&error.to_string(), load::FAILED),
        },
        Err(RunError::Arguments(error)) => complain(&error, load::BAD_ARGUMENTS),
        Err(RunError::Target(error)) => complain(&error, load::FAILED),
    };
    process::exit(code);
}

/// Says what is wrong, if anyone listens.
fn complain(error: &str, code: i32) -> i32 {
    let _ = writeln!(io::stderr(), "error: {error}");
    code
}
