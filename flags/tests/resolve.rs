//! Which value of a flag holds, and what is said of a file that cannot hold.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum, value_parser};
use soloist_flags::{Program, Resolved};
use tempfile::TempDir;

#[derive(Debug, Parser)]
#[command(name = "prog", version = "1", args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Commands>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Searches.
    Search {
        #[command(flatten)]
        flags: Flags,
        #[arg(long)]
        start: Option<u64>,
    },
    /// Has other flags.
    Other {
        #[arg(long)]
        size: String,
    },
    /// Prints.
    Config {
        #[command(flatten)]
        flags: Flags,
        #[arg(long)]
        check: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    Red,
    Green,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "All")]
struct Flags {
    #[arg(long)]
    config: Option<PathBuf>,
    /// How many. At least one, or nothing would be there.
    #[arg(long, default_value_t = 7, value_parser = value_parser!(u64).range(1..=100))]
    size: u64,
    /// What is called "it". Any text.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    #[arg(long, value_enum, default_value = "red")]
    color: Color,
    #[arg(long)]
    loud: bool,
    #[arg(long, value_delimiter = ',')]
    percentiles: Vec<f64>,
    #[arg(long)]
    tag: Vec<String>,
    #[arg(long, requires = "name")]
    needs_name: Option<i64>,
    #[arg(long, requires = "needs_name", default_value = "d")]
    by_default: String,
    #[arg(long, conflicts_with = "name")]
    not_with_name: Option<i64>,
    #[arg(long, hide_env_values = true)]
    token: Option<String>,
    #[arg(long)]
    once: Option<u64>,
}

/// Variables whose names no other test has: the environment belongs to the whole process.
fn program(variables: &'static str) -> Program {
    Program {
        command: Args::command(),
        variables,
        only_typed: &[("once", "is for one start only")],
        short_help: &[("size", "How many")],
        examples: "Examples:\n  prog --size 5",
    }
}

struct File {
    _folder: TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    fs::write(&path, text).unwrap();
    File {
        _folder: folder,
        path,
    }
}

fn resolve(file: &File, line: &str) -> Result<Resolved, clap::Error> {
    let line = line.replace("FILE", file.path.to_str().unwrap());
    let words: Vec<_> = line.split(' ').map(OsString::from).collect();
    program("PROG_UNUSED_").resolve(&words)
}

fn flags(resolved: &Resolved) -> Flags {
    let args = Args::from_arg_matches(&resolved.matches).unwrap();
    match args.command {
        None => args.flags,
        Some(Commands::Search { flags, .. } | Commands::Config { flags, .. }) => flags,
        Some(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_flag_overrides_the_file_and_the_file_the_default() {
    let file = file(
        "size = 9\nname = \"a b\"\nloud = true\npercentiles = [1, 2.5]\ntag = ['x', 'y']\ncolor = 'green'\n",
    );
    let it = flags(&resolve(&file, "prog --config FILE").unwrap());
    assert_eq!((it.size, it.loud, it.color), (9, true, Color::Green));
    assert_eq!(it.name.as_deref(), Some("a b"));
    assert_eq!(
        (it.percentiles, it.tag),
        (vec![1.0, 2.5], vec!["x".into(), "y".into()])
    );
    let line = "prog --size 3 --config=FILE --tag z --loud=false --percentiles 9";
    let it = flags(&resolve(&file, line).unwrap());
    assert_eq!((it.size, it.loud, it.color), (3, false, Color::Green));
    assert_eq!((it.percentiles, it.tag), (vec![9.0], vec!["z".into()]));
    let it = flags(&resolve(&file, "prog search --config FILE --start 1 --size 4").unwrap());
    assert_eq!((it.size, it.loud), (4, true));
    // Another command has no file.
    resolve(&file, "prog other --size FILE").unwrap();
}

#[test]
fn the_environment_overrides_the_file_and_a_flag_the_environment() {
    // The environment belongs to the whole process.
    let file = file("size = 9\nname = \"a\"\n");
    let path = file.path.to_str().unwrap();
    let command = |variables: &[(&str, &str)], line: &str| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "in_a_process_of_its_own", "--nocapture"]);
        command.env("FLAGS_TEST_LINE", line.replace("FILE", path));
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let sizes = text.lines().filter_map(|line| line.split_once("size = "));
        sizes
            .map(|(_, it)| it.to_owned())
            .collect::<Vec<_>>()
            .join("")
    };
    let from = |size: &str, source: &str| format!("{size}  # {source}");
    let file_name = format!("file {path}:1");
    let variables = [("PROG_SIZE", "11")];
    assert_eq!(command(&[], "prog --config FILE"), from("9", &file_name));
    assert_eq!(
        command(&variables, "prog --config FILE"),
        from("11", "environment PROG_SIZE")
    );
    assert_eq!(
        command(&variables, "prog --config FILE --size 12"),
        from("12", "flag")
    );
    assert_eq!(command(&[], "prog"), from("7", "default"));
}

/// Does nothing unless another test runs it, with an environment.
#[test]
fn in_a_process_of_its_own() {
    let Ok(line) = std::env::var("FLAGS_TEST_LINE") else {
        return;
    };
    let words: Vec<_> = line.split(' ').map(OsString::from).collect();
    let program = program("PROG_");
    let resolved = program.resolve(&words).unwrap();
    print(&program.print(&resolved));
}

#[allow(clippy::print_stdout, reason = "another test reads it")]
fn print(text: &str) {
    println!("{text}");
}

#[test]
fn what_no_flag_takes_is_named_with_file_line_key_value_and_limit() {
    for (text, line, parts) in [
        (
            "size = 9\nsice = 1\n",
            2,
            ["sice is no flag", "did you mean size"],
        ),
        (
            "not_with_name = 1\n",
            1,
            ["no flag", "did you mean not-with-name"],
        ),
        ("nonsense = 1\n", 1, ["nonsense is no flag", ""]),
        ("\nsize = 101\n", 2, ["size is 101", "1..=100"]),
        ("size = \"big\"\n", 1, ["size is \"big\"", "invalid digit"]),
        (
            "size = true\n",
            1,
            ["size is true", "must be a text or a number"],
        ),
        ("size = [1]\n", 1, ["size is [1]", "one value, not a list"]),
        ("loud = 1\n", 1, ["loud is 1", "must be true or false"]),
        ("color = \"blue\"\n", 1, ["color is \"blue\"", "red, green"]),
        ("size = 1\nsize = 2\n", 2, ["duplicate key", ""]),
        ("[part]\nsize = 1\n", 1, ["part is a table", ""]),
        ("token = \"t\"\n", 1, ["token is a secret", ""]),
        ("once = 1\n", 1, ["once is for one start only", ""]),
        ("config = \"b\"\n", 1, ["config names the file", ""]),
    ] {
        let file = file(text);
        for command in ["prog --config FILE", "prog config --check FILE"] {
            let error = resolve(&file, command).map(drop).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let error = error.to_string();
            let place = format!("error: {}:{line}: ", file.path.display());
            assert!(error.starts_with(&place), "{text:?}: {error}");
            for part in parts {
                assert!(error.contains(part), "{text:?}: {error} lacks {part:?}");
            }
        }
    }
    let error = resolve(&file(""), "prog --config FILE.missing").unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("a.toml.missing: "), "{error}");
}

#[test]
fn flags_of_the_file_and_of_the_command_line_are_one_command_line() {
    let file = file("name = \"a\"\n");
    resolve(&file, "prog --config FILE --needs-name 1").unwrap();
    let error = resolve(&file, "prog --config FILE --not-with-name 1").unwrap_err();
    let place = format!("{}:1: name = \"a\"", file.path.display());
    assert!(error.to_string().contains("cannot be used with"), "{error}");
    assert!(error.to_string().contains(&place), "{error}");
    let error = resolve(&file, "prog --config FILE --size 0").unwrap_err();
    assert!(error.to_string().contains("--size"), "{error}");
    let error = resolve(&file, "prog --config FILE --nonsense").unwrap_err();
    assert!(error.to_string().contains("--nonsense"), "{error}");
    let text = resolve(&file, "prog --config FILE")
        .unwrap()
        .explain("--name is a");
    assert_eq!(text, format!("--name is a\n  {place}"));
}

#[test]
fn what_is_printed_can_be_fed_back() {
    let first = file(
        "name = 'a \"quoted\" \\ text'\ntag = ['x', '2']\nloud = true\npercentiles = [99.9, 50]\n",
    );
    let program = program("PROG_UNUSED_");
    let resolved = resolve(&first, "prog --config FILE --size 5 --token t").unwrap();
    let printed = program.print(&resolved);
    for part in [
        "size = 5  # flag",
        "color = \"red\"  # default",
        "# once = ONCE  # not set",
        "# How many. At least one",
        "## All",
        "# token is set, and a secret  # flag",
    ] {
        assert!(printed.contains(part), "{printed} lacks {part}");
    }
    let again = resolve(&file(&printed), "prog --config FILE --token t").unwrap();
    assert_eq!(
        format!(
            "{:?}",
            Flags {
                config: None,
                ..flags(&again)
            }
        ),
        {
            let first = flags(&resolved);
            format!(
                "{:?}",
                Flags {
                    config: None,
                    ..first
                }
            )
        }
    );
}

#[test]
fn changes_of_the_file_are_told() {
    let file = file("size = 9\nname = \"a\"\n");
    let before = resolve(&file, "prog --config FILE --name b").unwrap();
    fs::write(&file.path, "size = 10\nname = \"c\"\nloud = true\n").unwrap();
    let after = resolve(&file, "prog --config FILE --name b").unwrap();
    let changes = after.changes(&before);
    let told = changes.iter().map(|it| (&*it.name, it.holds));
    let told: Vec<_> = told.collect();
    assert_eq!(told, [("size", true), ("name", false), ("loud", true)]);
    assert_eq!(after.changes(&after), []);
}

#[test]
fn the_help_shows_the_values_of_the_file() {
    let file = file("size = 9\nloud = true\n");
    let all = resolve(&file, "prog --config FILE --help")
        .unwrap_err()
        .to_string();
    assert!(
        all.contains("[default: 9]") && all.contains("--loud[=<BOOL>]"),
        "{all}"
    );
    let short = resolve(&file, "prog -h --config FILE")
        .unwrap_err()
        .to_string();
    assert!(
        short.contains("[default: 9]") && !short.contains("--loud"),
        "{short}"
    );
    assert!(short.contains("How many [default: 9]"), "{short}");
    assert!(short.contains("prog --size 5"), "{short}");
}
