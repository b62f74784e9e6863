//! The program: does what the command line asks for, and returns the exit code. Each subcommand has a file.

mod calibrate;
mod calibration;
mod check;
mod clean;
mod compare;
#[cfg(test)]
mod compare_tests;
mod config;
mod exit;
mod find_max;
mod once;
mod outputs;
mod prober;
mod run;
mod search;
mod sweep;
mod view;

use std::ffi::OsString;
use std::io::{self, Write as _};

use crate::agents::serve::{Runs, serve};
use crate::command_line::args::AgentArgs;
use crate::command_line::call_args::CallArgs;
use crate::command_line::{Command, other_tools, parse_words, program};
use crate::report::schema;
use crate::run::error::RunError;
use crate::run::signals::exit_code;

use exit::{BAD_ARGUMENTS, FAILED};

/// Runs the program with these words of a command line, the first of which is its name. Returns the exit code.
pub fn main(words: impl IntoIterator<Item = OsString>) -> i32 {
    let words: Vec<_> = words.into_iter().collect();
    let (cli, resolved) = match parse_words(&words) {
        Ok(parsed) => parsed,
        Err(error) => {
            let code = error.exit_code();
            if let Some(hint) = other_tools::hint(&error) {
                return fail(&hint, code);
            }
            let _ = error.print();
            return code;
        }
    };
    let done = match &cli.command {
        None => run::run(&cli.run),
        Some(Command::Call(args)) => call(args),
        Some(Command::FindMax(args)) => find_max::find_max(args),
        Some(Command::Sweep(args)) => sweep::sweep(args),
        Some(Command::Compare(args)) => compare::compare_files(args),
        Some(Command::Agent(args)) => agent(args),
        Some(Command::Check(args)) => check::check_file(args),
        Some(Command::Schema) => outputs::print(schema::SCHEMA_TEXT),
        Some(Command::Calibrate(args)) => calibrate::calibrate(args),
        Some(Command::Config(args)) => config::config(args, &resolved),
        Some(Command::Man(args)) => printed(|out| program().man(args, out)),
        Some(Command::Completions(args)) => printed(|out| program().completions(args, out)),
    };
    match done {
        Ok(code) => code,
        Err(RunError::Arguments(error)) => fail(&resolved.explain(&error), BAD_ARGUMENTS),
        Err(RunError::Failed(error)) => fail(&error, FAILED),
        Err(RunError::Interrupted(signal)) => fail(
            "interrupted before anything was measured",
            exit_code(signal),
        ),
    }
}

/// Prints an error. If standard error is closed, there is nobody to read it.
fn fail(error: &str, code: i32) -> i32 {
    let _ = writeln!(io::stderr(), "error: {error}");
    code
}

/// Prints what a program of clap has besides commands.
fn printed(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<i32, RunError> {
    let mut text = Vec::new();
    write(&mut text).map_err(|error| RunError::Failed(error.to_string()))?;
    outputs::print(&String::from_utf8_lossy(&text))
}

fn call(args: &CallArgs) -> Result<i32, RunError> {
    let run = args.run().map_err(RunError::Arguments)?;
    run::run(&run)
}

fn agent(args: &AgentArgs) -> Result<i32, RunError> {
    let runs = match args.once {
        true => Runs::One,
        false => Runs::Many,
    };
    serve(args.listen, runs).map(|()| 0)
}
