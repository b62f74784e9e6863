//! The commands about machines.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

/// What to do with machines.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum MachineCommand {
    /// Creates or replaces a machine.
    Define {
        /// A file with the JSON of a Machine, such as {"name":"jobs","key_prefix":"jobs/","initial":"queued","states":{"queued":{}}}; -
        /// for standard input.
        #[arg(value_name = "FILE|-")]
        file: PathBuf,
        /// Only check the definition.
        #[arg(long)]
        check: bool,
    },
    /// Shows a machine.
    Get {
        /// The name.
        name: String,
    },
    /// Lists the machines.
    List,
    /// Deletes a machine. Its keys stay.
    Delete {
        /// The name.
        name: String,
        /// Delete it although keys are in states that are not final.
        #[arg(long)]
        force: bool,
    },
    /// Draws a machine: its states, the moves between them, and timeouts.
    Draw {
        /// The name.
        #[arg(required_unless_present = "file")]
        name: Option<String>,
        /// Draw the definition in this file, which `define` takes, without a server; - for standard input.
        #[arg(long, value_name = "FILE|-", conflicts_with = "name")]
        file: Option<PathBuf>,
        /// The kind of picture.
        #[arg(long = "as", value_name = "KIND", default_value = "text")]
        picture: Picture,
    },
}

/// The kind of picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum Picture {
    /// For the terminal.
    Text,
    /// An SVG file.
    Svg,
    /// A state diagram of Mermaid, which Markdown pages show.
    Mermaid,
    /// A graph of Graphviz.
    Dot,
}
