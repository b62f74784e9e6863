//! Owner and journal together, on a simulated disk that loses power, fills up, and rots.

mod at_rest;
mod disk_full;
mod faulty_journal;
mod format_1;
mod full_state;
mod node;
mod power_loss;
mod workload;
