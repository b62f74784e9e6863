//! Fuzz tests of what decodes the bytes of clients. `soloist_fuzz` tells how inputs are made and replayed.

mod bodies;
mod frames;
mod headers;
mod requests;
mod seeds;
