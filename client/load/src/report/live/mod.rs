//! Shows a run while it lasts: as a view on a terminal, and elsewhere as a line each second.
//!
//! The view is drawn on the alternate screen of standard error, so standard output is free for the report. Nothing is
//! read from the terminal, so it never enters raw mode: Ctrl-C is still a signal, and a run that crashes leaves a
//! usable terminal.

mod line;
mod progress;
mod screen;
mod view;
mod work;

pub(crate) use line::line;
pub(crate) use progress::{INTERVALS_MAX, Progress};
pub(crate) use screen::{Screen, restore};
pub(crate) use work::{Step, Work};

#[cfg(test)]
mod tests;
