//! What the programs of Soloist do with their flags besides reading them from the command line: `--config FILE`, one
//! screen of help, manual pages, and completions; and the colours of what they print.
//!
//! A flag is taken from the command line, or from its environment variable, or from the file, or from its default, in this
//! order. [`Program::resolve`] finds out which, and [`Resolved`] knows where each value came from. Everything else about
//! a flag is what clap knows: its name, its type and its range are the same in a file as on the command line.

mod file;
mod help;
mod pages;
mod print;
mod program;
mod resolve;
mod style;

pub use pages::{CompletionsArgs, ManArgs};
pub use program::Program;
pub use resolve::{Change, Resolved, Source};
pub use style::Style;
