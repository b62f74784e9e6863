//! Tests of the checker: histories written by hand, every order tried on small random histories, and large histories.

mod deadline;
mod differential;
mod file;
mod fuzz_tests;
mod large;
mod notation;
mod recorder;
mod shrink;
mod tables;
