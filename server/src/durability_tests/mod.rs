//! Owner and journal together, on a simulated disk that loses power, fills up, rots, and gets files of other times.

mod at_rest;
mod disk_full;
mod faulty_journal;
mod format_1;
mod full_state;
mod kills;
mod mixed_files;
mod node;
mod power_loss;
mod progress;
mod workload;
