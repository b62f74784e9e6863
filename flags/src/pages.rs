//! Manual pages and completions, made of what clap knows.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::program::Program;

/// Which manual page to print.
#[derive(Args, Clone, Debug)]
pub struct ManArgs {
    /// The subcommand whose page to print. Without it: the page of the program.
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
    /// Write the page of the program, and a page for each subcommand, into this directory instead, which must exist.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

/// Which completions to print.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

impl Program {
    /// Prints a manual page in the form that `man` reads, or writes all pages into a directory.
    ///
    /// # Errors
    /// The system's error. `InvalidInput` if there is no such subcommand.
    pub fn man(&self, args: &ManArgs, out: &mut dyn Write) -> io::Result<()> {
        let mut command = self.with_variables();
        if let Some(dir) = &args.dir {
            return clap_mangen::generate_to(command, dir);
        }
        command.build();
        let page = match &args.command {
            None => Some(&command),
            Some(name) => command.find_subcommand(name),
        };
        let page = page.ok_or_else(|| {
            let name = args.command.as_deref().unwrap_or_default();
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} has no subcommand {name}", command.get_name()),
            )
        })?;
        Man::new(page.clone()).render(out)
    }

    /// Prints what makes a shell complete the flags of the program.
    ///
    /// # Errors
    /// The system's error.
    pub fn completions(&self, args: &CompletionsArgs, out: &mut dyn Write) -> io::Result<()> {
        let mut command = self.with_variables();
        let name = command.get_name().to_owned();
        // It panics if it cannot write.
        let mut script = Vec::new();
        clap_complete::generate(args.shell, &mut command, name, &mut script);
        out.write_all(&script)
    }
}
