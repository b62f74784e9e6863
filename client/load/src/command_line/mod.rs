//! The command line: its flags, and the plan that they add up to.
//!
//! [`args`] has the flags, and [`parse`] reads their values. [`config_file`] adds the flags of a file before that.
//! [`call_flags`] are those of calls of any gRPC service, [`security_flags`] those of TLS and tokens, and [`other_tools`] says what to type instead of flags of others.
//! [`resolve`] fills in the defaults and refuses contradictions; the result is a plan. [`words`] reads back the one-line
//! command of a report.

pub(crate) mod args;
pub(crate) mod call_args;
pub(crate) mod call_flags;
pub(crate) mod config_file;
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
use args::{AgentArgs, CalibrateArgs, CheckArgs, CompareArgs, FindMaxArgs, RunArgs, SweepArgs};
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
    /// Compares the runs of two files, or repeats both runs and compares those.
    Compare(CompareArgs),
    /// Serves as an agent: does its share of the runs of another soloist-load, which names it with --agents.
    Agent(AgentArgs),
    /// Checks a history that --verify has kept: are all its answers together linearizable?
    Check(CheckArgs),
    /// Measures this tool itself, against servers of known behaviour.
    Calibrate(CalibrateArgs),
    /// Prints the JSON schema of reports.
    Schema,
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

/// Reads the words of a command line, the first of which is the name of the program.
///
/// # Errors
/// If a word is no flag, a value is none for its flag, or flags contradict each other.
pub(crate) fn parse_words(words: Vec<OsString>) -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(words)?;
    if let Some((name @ ("find-max" | "sweep"), search)) = matches.subcommand() {
        refuse(name, search)?;
    }
    Cli::from_arg_matches(&matches)
}

fn refuse(command: &str, search: &ArgMatches) -> Result<(), clap::Error> {
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
    Err(Cli::command().error(ErrorKind::ArgumentConflict, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(command: &str) -> String {
        let words = ["soloist-load", command, "--help"];
        let words = words.into_iter().filter(|word| !word.is_empty());
        let error = parse_words(words.map(OsString::from).collect()).unwrap_err();
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
                let words = words.into_iter().map(OsString::from).collect();
                let refused = parse_words(words).unwrap_err();
                assert_eq!(refused.exit_code(), 2, "{command} {flag}");
            }
            let forms: Vec<_> = help.lines().filter(|line| line.contains("hlog")).collect();
            assert_eq!(forms, [""; 0], "{command}");
        }
    }

    #[test]
    fn the_forms_of_a_search_are_forms() {
        for name in SEARCH_FORMS {
            assert!(Format::from_str(name, false).is_ok(), "{name}");
        }
    }
}
