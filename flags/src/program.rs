//! A program, as this crate needs to know it.

use clap::{Arg, ArgAction, Command};

/// The flag that names the file.
pub(crate) const CONFIG: &str = "config";

/// The subcommand that prints what holds, and its flag that names a file to check.
pub(crate) const CHECK: &str = "check";

/// A program, and how it takes its flags.
#[derive(Clone, Debug)]
pub struct Program {
    /// The command line. It takes a file where it has a flag `--config`: in the program itself, or in subcommands. A subcommand
    /// with `--config` may have a flag `--check FILE`, too: it stands for `--config FILE`.
    pub command: Command,
    /// What the environment variables begin with, such as `SOLOIST_`, of flags that name none themselves.
    pub variables: &'static str,
    /// Flags that are for the command line alone, each with the reason.
    pub only_typed: &'static [(&'static str, &'static str)],
    /// What `-h` shows, where there is a flag `--config`: flags, each with a short text. A name may have a subcommand before it,
    /// as in "call data", and a positional argument has its id for a name.
    pub short_help: &'static [(&'static str, &'static str)],
    /// Command lines, for the end of the help.
    pub examples: &'static str,
}

impl Program {
    /// The command line, with a variable for each flag that may have one, and with the examples.
    #[must_use]
    pub fn with_variables(&self) -> Command {
        self.variables_of(self.command.clone())
    }

    fn variables_of(&self, command: Command) -> Command {
        let command = command.mut_subcommands(|subcommand| self.variables_of(subcommand));
        if !takes_file(&command) {
            return command;
        }
        let command = command.mut_args(|arg| {
            let Some(name) = arg.get_long().filter(|_| self.may_have_variable(&arg)) else {
                return arg;
            };
            let variable = format!("{}{}", self.variables, name.replace('-', "_"));
            arg.env(variable.to_ascii_uppercase()).hide_env(true)
        });
        match self.examples {
            "" => command,
            examples => command.after_help(examples),
        }
    }

    fn may_have_variable(&self, arg: &Arg) -> bool {
        let name = arg.get_long().unwrap_or_default();
        name != CHECK
            && arg.get_env().is_none()
            && !arg.is_hide_set()
            && self.why_typed(arg).is_none()
    }

    /// Why a flag must be on the command line.
    pub(crate) fn why_typed(&self, arg: &Arg) -> Option<&'static str> {
        let name = arg.get_long()?;
        if name == CONFIG || name == CHECK {
            return Some("names the file");
        }
        if arg.is_hide_env_values_set() {
            return Some("is a secret, which does not belong into this file");
        }
        let known = self.only_typed.iter().find(|(only, _)| *only == name);
        known.map(|(_, why)| *why)
    }
}

/// Whether a command takes a file.
pub(crate) fn takes_file(command: &Command) -> bool {
    command
        .get_arguments()
        .any(|arg| arg.get_long() == Some(CONFIG))
}

/// The flags of a command: neither positional arguments, nor what clap adds.
pub(crate) fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| {
        arg.get_long()
            .is_some_and(|name| name != "help" && name != "version")
    })
}

/// Whether a flag is on or off, without a value.
pub(crate) fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// Whether a flag takes several values.
pub(crate) fn takes_several(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append) || arg.get_value_delimiter().is_some()
}
