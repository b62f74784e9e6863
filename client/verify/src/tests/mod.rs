//! The checker against histories by hand, against trying every order, and against itself on what it made small.

mod deadline;
mod differential;
mod file;
mod large;
mod recorder;
mod shrink;
mod tables;
mod text;
