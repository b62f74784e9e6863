//! Manual pages and completions.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use clap::{Args, CommandFactory as _, Parser};
use soloist_flags::{CompletionsArgs, ManArgs, Program};

/// Does something.
#[derive(Parser)]
#[command(name = "prog", version = "1.2")]
enum Prog {
    /// Runs. And runs.
    Run {
        /// A file: "quoted" 'text' with \ and -dashes.
        #[arg(long, help_heading = "All")]
        config: Option<PathBuf>,
        /// How many.
        #[arg(long, default_value_t = 3, help_heading = "All")]
        size: u64,
    },
    Man(ManArgs),
    Completions(CompletionsArgs),
}

fn program() -> Program {
    Program {
        command: Prog::command(),
        variables: "PROG_",
        only_typed: &[],
        short_help: &[],
        examples: "Examples:\n  prog run --size 4",
    }
}

fn parse<T: Args>(subcommand: &str, words: &[&str]) -> T {
    let matches = Prog::command()
        .try_get_matches_from([&["prog", subcommand], words].concat())
        .unwrap();
    T::from_arg_matches(matches.subcommand_matches(subcommand).unwrap()).unwrap()
}

fn text(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_page_has_the_flags_and_the_examples() {
    let page = text(|out| program().man(&parse("man", &["run"]), out));
    for part in [".TH", ".SH NAME", "prog\\-run", "\\-\\-size", "prog run"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // A line that begins with a dot or a quote would be a request.
    for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
        let request = line.split(' ').next().unwrap();
        let known = [
            ".TH", ".SH", ".TP", ".br", ".RE", ".RS", ".ie", ".el", ".PP",
        ];
        assert!(known.contains(&request), "{line}");
    }
    let error = program().man(&parse("man", &["nonsense"]), &mut Vec::new());
    assert!(error.unwrap_err().to_string().contains("nonsense"));
}

#[test]
fn every_page_goes_into_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    program()
        .man(&parse("man", &["--dir", dir]), &mut Vec::new())
        .unwrap();
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for page in ["prog.1", "prog-run.1", "prog-man.1"] {
        assert!(names.contains(&page.to_owned()), "{names:?}");
    }
}

#[test]
fn bash_completes_the_flags() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("prog.bash");
    let completions = text(|out| program().completions(&parse("completions", &["bash"]), out));
    fs::write(&script, completions).unwrap();
    let line = "source \"$1\"; COMP_WORDS=(prog run --si); COMP_CWORD=2; _prog prog --si run; echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    let output = bash
        .args(["-c", line, "bash"])
        .arg(&script)
        .output()
        .unwrap();
    let (shown, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(shown.trim(), "--size", "{error}");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = text(|out| program().completions(&parse("completions", &[shell]), out));
        assert!(script.contains("size"), "{shell}: {script}");
    }
}
