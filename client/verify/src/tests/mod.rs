//! The checker against histories by hand, against trying every order, and against itself on what it made small.

mod differential;
mod files;
mod large;
mod patience;
mod recorded;
mod smallest;
mod tables;
mod text;
