//! What is shown while a run lasts: a view on a terminal, a line a second elsewhere.
//!
//! It only shows. Nothing is read from the terminal, so that it never enters raw mode: Ctrl-C stays a signal, which the
//! run handles as ever, and a run that dies leaves a terminal that works. The view is drawn on standard error, in the
//! alternate screen; standard output is free for the report.

mod line;
mod progress;
mod screen;
mod view;

pub(crate) use line::line;
pub(crate) use progress::{INTERVALS_MAX, Live};
pub(crate) use screen::Screen;

#[cfg(test)]
mod tests;
