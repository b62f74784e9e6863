//! The command line: its flags, and the plan that they add up to.
//!
//! [`args`] has the flags, and [`parse`] reads their values. Flags of a file and of the environment are for `soloist_flags`.
//! [`call_flags`] are those of calls of any gRPC service, [`security_flags`] those of TLS and tokens, and [`other_tools`] says what to
//! type instead of flags of others.
//! [`resolve`] fills in the defaults and refuses contradictions; the result is a plan. [`words`] reads back the one-line
//! command of a report.

pub(crate) mod args;
pub(crate) mod call_args;
pub(crate) mod call_flags;
pub(crate) mod other_tools;
pub(crate) mod parse;
pub(crate) mod resolve;
pub(crate) mod security_flags;
pub(crate) mod words;

use std::ffi::OsString;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{
    Arg, ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum as _,
};

use crate::report::format::Format;
use soloist_flags::{CompletionsArgs, ManArgs, Program, Resolved};

use args::{
    AgentArgs, CalibrateArgs, CheckArgs, CompareArgs, ConfigArgs, FindMaxArgs, RunArgs, SweepArgs,
};
use call_args::CallArgs;

/// Measures the operations per second and the latencies of a Soloist server.
///
/// Many concurrent workers send operations. In a closed loop, which is the default, each worker sends its next operation
/// when the previous one is answered. In an open loop (--rps), operations start at a given rate.
///
/// Without HOST:PORT, the tool starts a server of its own on a free port of the loopback interface, in threads of its
/// own, and measures it over TCP like any other server.
///
/// Exit codes: 0 success; 1 the server could not be reached, or operations failed; 2 bad arguments; 3 the answers are
/// not linearizable (--verify); 4 whether they are was not decided in time (--search-timeout), or too few runs to show a
/// regression (--fail-on-regression); 99 an objective was not met (--slo); 130 ended by Ctrl-C, or 143 by SIGTERM, after
/// reporting what was measured until then. A second signal ends the program at once.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "soloist-load",
    version,
    max_term_width = 110,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// The subcommands. Without one, the tool does a run.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Calls a method of any gRPC service: soloist-load call HOST:PORT package.Service/Method -d JSON. The other subcommands
    /// take the method as --call.
    Call(Box<CallArgs>),
    /// Finds the highest rate that meets every --slo: doubles the rate until an objective is missed, narrows the range
    /// between the last two rates, and repeats the result.
    #[command(mut_args(of_search))]
    FindMax(Box<FindMaxArgs>),
    /// Measures the latency at several rates.
    #[command(mut_args(of_search))]
    Sweep(Box<SweepArgs>),
    /// Compares the runs of two files; or repeats both runs, and compares those.
    Compare(CompareArgs),
    /// Serves as an agent: does its share of the runs of another soloist-load, which names it with --agents.
    Agent(AgentArgs),
    /// Checks a history that --verify has kept: are all its answers together linearizable?
    Check(CheckArgs),
    /// Measures this tool itself, against servers of known behaviour.
    Calibrate(CalibrateArgs),
    /// Prints the JSON schema of reports.
    Schema,
    /// Prints what would hold for a run, and where each value came from: flags, environment, --config, or defaults.
    ///
    /// Prints TOML that --config takes. Exit code 2: something is wrong; the message names the file and the line.
    Config(Box<ConfigArgs>),
    /// Prints the manual page: soloist-load man | man -l -
    Man(ManArgs),
    /// Prints what makes a shell complete the flags: bash, zsh, fish, elvish or powershell.
    Completions(CompletionsArgs),
}

/// What `-h` shows, some of it of one subcommand.
const SHORT_HELP: [(&str, &str); 21] = [
    ("address", "The server; else one of its own"),
    ("method", "The method to call"),
    ("readers", "Workers that only read [default: 100]"),
    ("writers", "Workers that only write [default: 10]"),
    ("workload", "A workload by name, such as a, cas or watch"),
    ("rps", "Open loop: operations a second"),
    ("duration", "How long to measure [default: 1s]"),
    ("requests", "How many operations to measure"),
    ("engine", "pipeline, unary or raw"),
    ("output", "Write the report to a file"),
    ("slo", "An objective, such as p99<5ms"),
    ("verify", "Check that the answers are linearizable"),
    ("config", "A file with flags, in TOML"),
    ("call data", "A message as JSON, or @FILE"),
    ("call proto", "A .proto file that describes the service"),
    ("call concurrency", "Concurrent workers [default: 50]"),
    ("find-max start", "The first rate"),
    ("find-max window", "How long each run measures"),
    ("sweep rates", "The rates, such as 1k,2k,5k"),
    ("sweep window", "How long each run measures"),
    ("config check", "Check a file for --config, and end"),
];

const EXAMPLES: &str = "\
Examples:
  soloist-load
  soloist-load HOST:50051 --workload a --rps 20k -z 30s --slo 'p99<5ms'
  soloist-load call HOST:50051 grpc.health.v1.Health/Check -d '{}' -c 50";

/// The program, for what clap does not do by itself.
pub(crate) fn program() -> Program {
    Program {
        command: Cli::command(),
        variables: "SOLOIST_LOAD_",
        only_typed: &[],
        short_help: &SHORT_HELP,
        examples: EXAMPLES,
    }
}

/// The flags of a run, by their names in the code, that `find-max` and `sweep` have no use for: they set rates and times
/// themselves, and do one run after the other.
const NOT_OF_SEARCH: [&str; 22] = [
    "rps",
    "load_schedule",
    "load_start",
    "load_step",
    "load_end",
    "load_step_duration",
    "load_max_duration",
    "duration",
    "requests",
    "max_duration",
    "warmup",
    "agents",
    "verify",
    "search_timeout",
    "history",
    "runs",
    "save_baseline",
    "baseline",
    "fail_on_regression",
    "allow_errors",
    "no_tui",
    "verbose",
];

/// The forms in which a search is reported.
pub(crate) const SEARCH_FORMS: [&str; 3] = ["text", "json", "html"];

/// Leaves out of the help of a search what it refuses.
fn of_search(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "format" => {
            let forms = PossibleValuesParser::new(SEARCH_FORMS);
            arg.value_parser(
                forms.map(|name| Format::from_str(&name, false).expect("these are names of forms")),
            )
        }
        id if NOT_OF_SEARCH.contains(&id) => arg.hide(true),
        _ => arg,
    }
}

/// Reads the words of a command line, the first of which is the name of the program, and what the file and the environment
/// add to them.
///
/// # Errors
/// If a word is no flag, a value is none for its flag, or flags contradict each other.
pub(crate) fn parse_words(words: &[OsString]) -> Result<(Cli, Resolved), clap::Error> {
    let resolved = program().resolve(words)?;
    if let Some((name @ ("find-max" | "sweep"), search)) = resolved.matches.subcommand() {
        refuse(name, search).map_err(|error| {
            let text = format!("{}\n", resolved.explain(&error));
            clap::Error::raw(ErrorKind::ArgumentConflict, text)
        })?;
    }
    Ok((Cli::from_arg_matches(&resolved.matches)?, resolved))
}

fn refuse(command: &str, search: &ArgMatches) -> Result<(), String> {
    let is_given = |id: &&str| search.value_source(id) == Some(ValueSource::CommandLine);
    let Some(id) = NOT_OF_SEARCH.iter().find(|id| is_given(id)) else {
        return Ok(());
    };
    let flag = id.replace('_', "-");
    let why = match *id {
        "verbose" => format!(
            "--{flag} cannot be used with {command}: -o FILE.json has the report of every run"
        ),
        "no_tui" => format!("--{flag} cannot be used with {command}, which has no live view"),
        _ => format!(
            "--{flag} cannot be used with {command}, which sets rates and times itself (see --settle and --window)"
        ),
    };
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(command: &str) -> String {
        let words = ["soloist-load", command, "--help"];
        let words = words.into_iter().filter(|word| !word.is_empty());
        let error = parse_words(&words.map(OsString::from).collect::<Vec<_>>()).unwrap_err();
        error.to_string()
    }

    #[test]
    fn flags_that_a_search_refuses_are_not_in_its_help() {
        let whole = help("");
        for command in ["find-max", "sweep"] {
            let help = help(command);
            for id in NOT_OF_SEARCH {
                let flag = format!("--{}", id.replace('_', "-"));
                assert!(whole.contains(&flag), "there is no flag {flag}");
                let listed = help.lines().find(|line| {
                    let line = line.trim_start();
                    line.starts_with(&flag) || line.contains(&format!(", {flag} "))
                });
                let is_longer = |line: &str| line.contains(&format!("{flag}-"));
                assert!(listed.is_none_or(is_longer), "{command}: {listed:?}");
                let value = match id {
                    "load_schedule" => "=const",
                    "verify" | "allow_errors" | "no_tui" | "verbose" => "",
                    "history" | "save_baseline" | "baseline" => "=f",
                    "duration" | "max_duration" | "warmup" | "search_timeout"
                    | "load_step_duration" | "load_max_duration" => "=1s",
                    "agents" => "=local:2",
                    _ => "=2",
                };
                let mut words = vec!["soloist-load".to_owned(), command.to_owned()];
                words.push(format!("{flag}{value}"));
                // What some of them need besides.
                words.extend(["--verify", "--baseline=f"].map(str::to_owned));
                let words: Vec<_> = words.into_iter().map(OsString::from).collect();
                let refused = parse_words(&words).unwrap_err();
                assert_eq!(refused.exit_code(), 2, "{command} {flag}");
            }
            let forms: Vec<_> = help.lines().filter(|line| line.contains("hlog")).collect();
            assert_eq!(forms, [""; 0], "{command}");
        }
    }

    #[test]
    fn the_short_help_is_one_screen() {
        for command in ["", "call", "find-max", "sweep", "config"] {
            let words = ["soloist-load", command, "-h"];
            let words = words.into_iter().filter(|word| !word.is_empty());
            let words: Vec<_> = words.map(OsString::from).collect();
            let help = parse_words(&words).unwrap_err().to_string();
            assert!(help.lines().count() <= 40, "{help}");
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{line:?} in\n{help}");
            }
            for flag in ["--config", "--slo", "--workload"] {
                assert!(help.contains(flag), "{flag} in\n{help}");
            }
            assert!(help.contains("Examples:"), "{help}");
        }
    }

    #[test]
    fn every_flag_is_in_a_group_and_has_a_variable() {
        let command = program().with_variables();
        for name in ["", "call", "find-max", "sweep", "config"] {
            let command = command.find_subcommand(name).unwrap_or(&command);
            let flags = command.get_arguments().filter(|arg| !arg.is_hide_set());
            for arg in flags.filter(|arg| arg.get_long().is_some()) {
                let flag = arg.get_long().unwrap();
                assert!(arg.get_help_heading().is_some(), "{name} {flag}");
                assert_eq!(arg.get_env().is_some(), flag != "check", "{name} {flag}");
            }
        }
        command.debug_assert();
    }

    #[test]
    fn the_forms_of_a_search_are_forms() {
        for name in SEARCH_FORMS {
            assert!(Format::from_str(name, false).is_ok(), "{name}");
        }
    }
}
