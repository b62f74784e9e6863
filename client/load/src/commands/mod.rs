//! The program: what is asked for on the command line, done, reported, and turned into an exit code.

mod calibrate;
mod check;
mod compare;
mod exit;
mod find_max;
mod outputs;
mod run;
mod search;

use std::ffi::OsString;
use std::io::{self, Write as _};

use clap::Parser as _;

use crate::agents::serve;
use crate::command_line::args::AgentArgs;
use crate::command_line::{Cli, Command, config_file};
use crate::report::schema;
use crate::run::error::RunError;

use exit::{BAD_ARGUMENTS, FAILED};

/// Does what the command line says. Returns the exit code.
pub fn main(words: impl IntoIterator<Item = OsString>) -> i32 {
    let words = match config_file::expand(words.into_iter().collect()) {
        Ok(words) => words,
        Err(error) => return complain(&error, BAD_ARGUMENTS),
    };
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            let code = error.exit_code();
            let _ = error.print();
            return code;
        }
    };
    let done = match &cli.command {
        None => run::run(&cli.run),
        Some(Command::FindMax(args)) => search::find_max(args),
        Some(Command::Sweep(args)) => search::sweep(args),
        Some(Command::Compare(args)) => compare::compare_files(args),
        Some(Command::Agent(args)) => agent(args),
        Some(Command::Check(args)) => check::check_file(args),
        Some(Command::Schema) => outputs::print(schema::SCHEMA_TEXT),
        Some(Command::Calibrate(args)) => calibrate::calibrate(args),
    };
    match done {
        Ok(code) => code,
        Err(RunError::Arguments(error)) => complain(&error, BAD_ARGUMENTS),
        Err(RunError::Failed(error)) => complain(&error, FAILED),
    }
}

/// Says what is wrong, if anyone listens.
fn complain(error: &str, code: i32) -> i32 {
    let _ = writeln!(io::stderr(), "error: {error}");
    code
}

fn agent(args: &AgentArgs) -> Result<i32, RunError> {
    let runs = match args.once {
        true => serve::Runs::One,
        false => serve::Runs::Many,
    };
    serve::serve(args.listen, runs).map(|()| 0)
}
