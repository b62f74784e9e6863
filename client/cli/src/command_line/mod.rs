//! What may be typed.
//!
//! [`connection`] has the flags of every command, [`keys`], [`watch`], [`holding`], [`sessions`] and [`machines`] those of some,
//! and [`parse`] reads their values.

pub(crate) mod connection;
pub(crate) mod holding;
pub(crate) mod keys;
pub(crate) mod machines;
pub(crate) mod parse;
pub(crate) mod sessions;
pub(crate) mod watch;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use soloist_flags::{CompletionsArgs, ManArgs, Program};

use connection::Connection;
use holding::{ElectArgs, LockArgs};
use keys::{AddArgs, DeleteArgs, GetArgs, ListArgs, MoveArgs, PutArgs};
use machines::MachineCommand;
use sessions::SessionCommand;
use watch::WatchArgs;

/// The command line of a Soloist server: keys, watches, locks, elections, sessions and machines.
///
/// Exit codes: 0 success; 1 there is no such key, machine or session; 2 bad arguments; 3 refused: a condition does not hold, or
/// the state does not allow the change; 4 the server does not know the caller, or does not permit the call; 5 the server cannot
/// be reached, or does not serve now, and nothing was applied; 6 whether the change was applied is unknown; 7 anything else, such
/// as a file that cannot be written. With `lock` and `elect`: 75 the lock or the office was lost; 124 --wait is over; otherwise
/// the exit code of CMD, which is 128 and the number of the signal if a signal ended it, 126 if it cannot be run, and 127 if there
/// is no such command.
#[derive(Clone, Debug, Parser)]
#[command(name = "soloist", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows the value of a key. Exit code 1: there is no such key.
    Get(GetArgs),
    /// Creates or replaces a value.
    #[command(alias = "set")]
    Put(PutArgs),
    /// Adds to a number in one step. A missing key counts as 0.
    Add(AddArgs),
    /// Moves a key to another state of its machine.
    Move(MoveArgs),
    /// Deletes a key, or all keys with a prefix. A missing key is no error.
    #[command(aliases = ["del", "rm"])]
    Delete(DeleteArgs),
    /// Lists the keys that begin with a prefix, or all.
    #[command(alias = "ls")]
    List(ListArgs),
    /// Shows each change of a key or prefix as it happens, or runs a command for it.
    ///
    /// The watch goes on after a break of the connection and a restart of the server: no change is missed, and none comes twice.
    /// Exit code 3: the missed changes are no longer kept; begin anew with --initial.
    Watch(WatchArgs),
    /// Applies several operations together, or none of them.
    Batch(BatchArgs),
    /// Runs a command while it holds a lock, in the order of asking.
    ///
    /// The lock is a session of this process and a key NAME/ID. CMD gets SOLOIST_LOCK_KEY, and SOLOIST_LOCK_TOKEN: a number that
    /// grows with each holder. Whatever the lock protects must refuse a lower token than it has seen, because a holder that was
    /// paused does not know that its lock has ended. When the lock is lost, the process group of CMD gets SIGKILL, and the exit
    /// code is 75. Without CMD, holds the lock until a signal comes.
    Lock(LockArgs),
    /// Stands in an election, in the order of asking; or shows who leads.
    ///
    /// CMD runs while this process leads, and gets SOLOIST_ELECT_KEY and SOLOIST_ELECT_TERM, as with `lock`. Without CMD, leads
    /// until a signal comes.
    Elect(ElectArgs),
    /// Opens, renews, keeps, closes and lists sessions: lifetimes that several keys share.
    #[command(subcommand)]
    Session(SessionCommand),
    /// Defines, shows, draws and deletes machines: protocols for all keys with a prefix.
    #[command(subcommand)]
    Machine(MachineCommand),
    /// Shows what the server is, how full it is, and its limits.
    Info(InfoArgs),
    /// Shows the nodes of --server: which of them owns the store, and how far the others are.
    ///
    /// Asks each address. Exit code 5: one of them cannot be reached, or none owns the store.
    Node,
    /// Asks whether the server serves. Exit code 5: it does not.
    Health,
    /// Writes a copy of the whole store, for `soloist-server restore`.
    Backup(BackupArgs),
    /// Prints the manual page: soloist man | man -l -
    Man(ManArgs),
    /// Prints what makes a shell complete the flags: bash, zsh, fish, elvish or powershell.
    Completions(CompletionsArgs),
}

/// What to apply together.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BatchArgs {
    /// A file with the JSON of a BatchRequest, such as {"ops":[{"add":{"key":"a","delta":1}}]}, or of its list of ops; - for
    /// standard input.
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
}

/// How to show the server.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// Show the numbers anew every second, with what has changed. On a terminal: a live view.
    #[arg(long)]
    pub(crate) watch: bool,
    /// The pause between two looks of --watch.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse::positive, requires = "watch")]
    pub(crate) interval: std::time::Duration,
}

/// Where to write a backup.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The file, which must not exist.
    pub(crate) file: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  soloist put config/color green --if-missing
  soloist watch --prefix config/ --initial
  soloist lock jobs/nightly -- ./nightly.sh";

/// The program, for what clap does not do by itself.
pub(crate) fn program() -> Program {
    Program {
        command: Cli::command().after_help(EXAMPLES),
        variables: "SOLOIST_CLIENT_",
        only_typed: &[],
        short_help: &[],
        examples: EXAMPLES,
    }
}

/// Reads the words of a command line, the first of which is the name of the program.
///
/// # Errors
/// What clap says; help and versions are errors for it, too.
pub(crate) fn parse_words(words: &[OsString]) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&program().resolve(words)?.matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(words: &str) -> String {
        let words: Vec<_> = words.split(' ').map(OsString::from).collect();
        parse_words(&words).unwrap_err().to_string()
    }

    #[test]
    fn the_short_help_is_one_screen() {
        let help = help("soloist -h");
        assert!(help.lines().count() <= 45, "{help}");
        for line in help.lines() {
            assert!(line.chars().count() <= 100, "{line:?} in\n{help}");
        }
        for part in ["lock", "--server", "Examples:"] {
            assert!(help.contains(part), "{part} in\n{help}");
        }
    }

    #[test]
    fn the_command_line_is_whole() {
        program().with_variables().debug_assert();
        assert!(help("soloist --help").contains("75 the lock"));
    }

    #[test]
    fn values_may_be_negative() {
        let words = ["soloist", "add", "k", "-5", "--min", "-7"].map(OsString::from);
        let Command::Add(add) = parse_words(&words).unwrap().command else {
            panic!("it is an add");
        };
        assert_eq!((add.delta, add.min), (-5, Some(-7)));
    }
}
