//! The program: does what the command line asks for, and returns the exit code. A file for each kind of command.

mod batch;
mod hold;
mod keys;
mod live;
mod machines;
mod node;
mod server;
mod sessions;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write as _};

use crate::command_line::connection::Connection;
use crate::command_line::{Command, parse_words, program};
use crate::failure::Failure;
use crate::output::{Out, escape};
use soloist_flags::Style;

/// Runs the program with these words of a command line, the first of which is its name. Returns the exit code.
pub fn main(words: impl IntoIterator<Item = OsString>) -> i32 {
    let words: Vec<_> = words.into_iter().collect();
    let cli = match parse_words(&words) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            if lacks_dashes(&error, &words) {
                let _ = writeln!(
                    io::stderr(),
                    "\nA command to run goes behind two dashes: -- CMD"
                );
            }
            return error.exit_code();
        }
    };
    let out = Out::new(cli.connection.output);
    let done = match &cli.command {
        Command::Man(args) => printed(&out, |to| program().man(args, to)),
        Command::Completions(args) => printed(&out, |to| program().completions(args, to)),
        command => with_runtime(command, &cli.connection, &out),
    };
    match done {
        Ok(code) => code,
        Err(Failure::ReaderGone) => 0,
        Err(failure) => {
            let stderr = io::stderr();
            let style = Style::of(&stderr, |name| std::env::var_os(name));
            // If standard error is closed, there is nobody to read it.
            let text = escape::lines(&failure.to_string());
            let _ = writeln!(&stderr, "{} {text}", style.bad("error:"));
            failure.exit_code()
        }
    }
}

/// Whether a command to run was typed like an argument, as other programs permit.
fn lacks_dashes(error: &clap::Error, words: &[OsString]) -> bool {
    let runs = ["lock", "elect", "watch"];
    error.kind() == clap::error::ErrorKind::UnknownArgument
        && words
            .iter()
            .any(|word| runs.iter().any(|name| word == name))
        && !words.iter().any(|word| word == "--")
}

fn with_runtime(command: &Command, connection: &Connection, out: &Out) -> Result<i32, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")))?;
    let done = runtime.block_on(run(command, connection, out));
    // A thread may wait for what does not come.
    runtime.shutdown_background();
    done
}

async fn run(command: &Command, connection: &Connection, out: &Out) -> Result<i32, Failure> {
    let target = connection.target();
    match command {
        Command::Get(args) => keys::get(&target, args, out).await,
        Command::Put(args) => keys::put(&target, args, out).await,
        Command::Add(args) => keys::add(&target, args, out).await,
        Command::Move(args) => keys::move_key(&target, args, out).await,
        Command::Delete(args) => keys::delete(&target, args, out).await,
        Command::List(args) => keys::list(&target, args, out).await,
        Command::Watch(args) => watch::watch(&target, args, out).await,
        Command::Batch(args) => batch::batch(&target, args, out).await,
        Command::Lock(args) => hold::lock(&target, args, out).await,
        Command::Elect(args) => hold::elect(&target, args, out).await,
        Command::Session(command) => sessions::session(&target, command, out).await,
        Command::Machine(command) => machines::machine(&target, command, out).await,
        Command::Info(args) if args.watch => live::watch(&target, args.interval, out).await,
        Command::Info(_) => server::info(&target, out).await,
        Command::Node => node::node(&target, out).await,
        Command::Health => server::health(&target, out).await,
        Command::Backup(args) => server::backup(&target, args, out).await,
        // `main` has these.
        Command::Man(_) | Command::Completions(_) => Ok(0),
    }
}

/// Prints what a program of clap has besides commands.
fn printed(
    out: &Out,
    write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> Result<i32, Failure> {
    let mut text = Vec::new();
    write(&mut text).map_err(|error| Failure::other(error.to_string()))?;
    out.raw(&text)?;
    Ok(0)
}
