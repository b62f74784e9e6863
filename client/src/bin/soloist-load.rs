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
    let code = match args.check_output() {
        Ok(()) => run(&args),
        Err(error) => complain(&error.to_string(), load::FAILED),
    };
    process::exit(code);
}

/// Returns the exit code.
fn run(args: &Args) -> i32 {
    let report = match load::run(args) {
        Ok(report) => report,
        Err(RunError::Arguments(error)) => return complain(&error, load::BAD_ARGUMENTS),
        Err(RunError::Target(error)) => return complain(&error, load::FAILED),
    };
    if let Err(error) = args.write(&report) {
        return complain(&error.to_string(), load::FAILED);
    }
    match (args.exit_code(&report), report.why_nothing()) {
        (load::FAILED, Some(why)) => complain(&why, load::FAILED),
        (code, _) => code,
    }
}

/// Says what is wrong, if anyone listens.
fn complain(error: &str, code: i32) -> i32 {
    let _ = writeln!(io::stderr(), "error: {error}");
    code
}
