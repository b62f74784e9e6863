//! The command line: the flags of a server, and the subcommands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use soloist_flags::{CompletionsArgs, ManArgs, Program};
use soloist_server::commands::Command;
use soloist_server::config::Config;
use tracing_subscriber::EnvFilter;

use crate::listen::Listen;
use crate::logging::{self, LogFormat};

/// A gRPC state server whose whole state is owned by one task.
///
/// Prints "listening on ADDRESS" to standard output when it is ready, then "listening for HTTP on ADDRESS" if it does, and
/// logs to standard error. SIGINT or SIGTERM shuts it down in order; a second signal stops it at once. SIGHUP makes it read its certificates, its access file and
/// --config again.
/// Flags in BYTES take units, too: 64KiB, 512MiB, 1GiB, 64kB. Exit codes: 0 after a shutdown in order, 1 if the server
/// cannot start or loses its state, 2 if an argument is invalid, 3 if data is missing or damaged, so that a restart is in
/// vain until somebody has looked at it, 130 or 143 after a second signal.
#[derive(Debug, Parser)]
#[command(
    name = "soloist-server",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Instead>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

/// What a server is told.
#[derive(Debug, Args)]
#[command(next_help_heading = "Listening, logging and configuration")]
pub(crate) struct ServeArgs {
    /// Address, or name of this host, and port to listen on; or unix:PATH. Port 0: any free port. A socket that systemd passes
    /// is used instead.
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "SOLOIST_LISTEN",
        default_value = "127.0.0.1:50051"
    )]
    pub(crate) listen: Listen,
    /// Address and port, or unix:PATH, on which operators and their tools are answered by HTTP: /livez and /readyz for probes,
    /// /metrics for Prometheus. With TLS by the same certificates as --listen, but without asking for those of clients. Off by
    /// default.
    #[arg(long, value_name = "HOST:PORT", env = "SOLOIST_HTTP_LISTEN")]
    pub(crate) http_listen: Option<Listen>,
    /// Format of the logs.
    #[arg(
        long,
        value_name = "FORMAT",
        env = "SOLOIST_LOG_FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
    /// What to log: off, error, warn, info, debug or trace. Or several of TARGET=LEVEL with commas between, such as
    /// info,soloist_server=debug; whatever they do not name is logged from "warn" on.
    #[arg(
        long,
        value_name = "FILTER",
        env = "SOLOIST_LOG",
        default_value = "info",
        value_parser = logging::filter
    )]
    pub(crate) log: EnvFilter,
    /// A file with flags, in TOML: a line such as max-store-bytes = "2GiB" for each. Flags and environment variables override
    /// it. "soloist-server config" prints what holds. SIGHUP makes the server read the file again: it takes a new value of
    /// "log", and logs which others need a restart.
    #[arg(
        id = "config",
        long = "config",
        value_name = "FILE",
        env = "SOLOIST_CONFIG"
    )]
    pub(crate) _config_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) config: Config,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Instead {
    #[command(flatten)]
    Data(Command),
    /// Prints what holds, and where each value came from: flags, environment, --config, or defaults.
    ///
    /// Takes the flags of the server. Prints TOML that --config takes. Exit code 2: something is wrong; the message names the
    /// file and the line.
    Config(Box<ConfigArgs>),
    /// Prints the manual page: soloist-server man | man -l -
    Man(ManArgs),
    /// Prints what makes a shell complete the flags: bash, zsh, fish, elvish or powershell.
    Completions(CompletionsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Checks a file for --config, instead of printing: its keys and values, with the flags and the environment over it, and
    /// whether the certificates and the access file that it names can be read and used by whoever runs this. Does not look
    /// at the data directory, and listens nowhere. Exit code 0 if a server would take it, otherwise 2.
    #[arg(long, value_name = "FILE", help_heading = "Checking")]
    pub(crate) check: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

/// What `-h` shows.
const SHORT_HELP: [(&str, &str); 14] = [
    ("check", "Check a file for --config, and end"),
    ("listen", "Where to listen"),
    ("http-listen", "Where probes and metrics are"),
    ("log", "Level of the log"),
    ("config", "A file with flags, in TOML"),
    ("max-store-bytes", "Most bytes in the store"),
    ("tls-cert", "Certificate of the server; turns on TLS"),
    ("tls-key", "Its private key"),
    (
        "tls-client-ca",
        "CAs of clients, who must show certificates",
    ),
    ("access-file", "Who may do what"),
    ("data-dir", "Where the state is kept; else only in memory"),
    ("durability", "sync, interval=MS or none"),
    ("etcd", "Be a node of a cluster: where its etcd is"),
    ("plaintext", "Listen without TLS off this computer"),
];

const EXAMPLES: &str = "\
Examples:
  soloist-server --data-dir /var/lib/soloist
  soloist-server --listen 0.0.0.0:50051 --tls-cert s.pem --tls-key s.key
  soloist-server --config /etc/soloist/soloist.toml";

/// The program, for what clap does not do by itself.
pub(crate) fn program() -> Program {
    Program {
        command: <Arguments as clap::CommandFactory>::command(),
        variables: "SOLOIST_",
        only_typed: &[(
            "accept-data-loss",
            "is a decision for one start: it must be on the command line",
        )],
        short_help: &SHORT_HELP,
        examples: EXAMPLES,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::ffi::OsString;

    use super::*;

    fn help(words: &[&str]) -> String {
        let words: Vec<_> = words.iter().map(OsString::from).collect();
        program().resolve(&words).unwrap_err().to_string()
    }

    #[test]
    fn the_short_help_is_one_screen() {
        for command in [
            &["soloist-server", "-h"][..],
            &["soloist-server", "config", "-h"],
        ] {
            let help = help(command);
            assert!(help.lines().count() <= 40, "{help}");
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{line:?} in\n{help}");
            }
            for (flag, _) in SHORT_HELP.iter().filter(|(flag, _)| *flag != "check") {
                assert!(help.contains(&format!("--{flag} ")), "{flag} in\n{help}");
            }
            assert!(help.contains("Examples:"), "{help}");
        }
    }

    #[test]
    fn every_flag_is_in_a_group_and_has_a_variable() {
        let command = program().with_variables();
        let config = command.find_subcommand("config").unwrap();
        let has_no_variable = ["accept-data-loss", "check"];
        for arg in command.get_arguments().chain(config.get_arguments()) {
            let name = arg.get_long().unwrap();
            assert!(arg.get_help_heading().is_some(), "{name} is in no group");
            assert_eq!(
                arg.get_env().is_some(),
                !has_no_variable.contains(&name),
                "{name}"
            );
        }
        let whole = help(&["soloist-server", "--help"]);
        assert!(
            whole.contains("TLS:") && whole.contains("--max-states"),
            "{whole}"
        );
    }

    #[test]
    fn clap_finds_no_fault_in_the_flags() {
        program().with_variables().debug_assert();
    }
}
