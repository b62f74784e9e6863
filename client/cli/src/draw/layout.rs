//! Where states and arrows are.
//!
//! The states stand below each other, by how many moves they are away from the initial one. An arrow leaves its state on a line of
//! its kind, permitted moves or the timeout, goes along a lane beside the states, and comes in on the first line of its target. Two
//! arrows of a lane never touch, so each can be followed.

use soloist::v1::Machine;
use soloist::v1::machine::State;

use crate::output::escape;
use crate::output::text::wire_duration;

/// A machine with a place for everything, in lines from the top.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) states: Vec<Placed>,
    pub(super) arrows: Vec<Arrow>,
    pub(super) lanes: usize,
    /// The lines of everything together.
    pub(super) lines: usize,
}

/// A state. Its upper border is at `top`, and its name on the next line.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) name: String,
    pub(super) top: usize,
    pub(super) bottom: usize,
    /// The line on which permitted moves leave.
    pub(super) moves: Option<usize>,
    /// The line on which the timeout leaves, and what it says.
    pub(super) timeout: Option<(usize, String)>,
    pub(super) is_initial: bool,
}

impl Placed {
    pub(super) fn is_final(&self) -> bool {
        self.moves.is_none() && self.timeout.is_none()
    }

    /// The line on which arrows come in.
    pub(super) fn entry(&self) -> usize {
        self.top + 1
    }
}

/// An arrow: from a line to a line, along a lane.
#[derive(Debug)]
pub(super) struct Arrow {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) lane: usize,
    pub(super) is_timeout: bool,
}

impl Arrow {
    fn first(&self) -> usize {
        self.from.min(self.to)
    }

    fn last(&self) -> usize {
        self.from.max(self.to)
    }
}

/// The names of the states, the initial one first, and the others by how far they are from it.
pub(super) fn order(machine: &Machine) -> Vec<&str> {
    let mut names: Vec<&str> = machine.states.keys().map(String::as_str).collect();
    names.sort_by_key(|&name| (name != machine.initial, name));
    let mut order: Vec<&str> = Vec::new();
    for root in names {
        if order.contains(&root) {
            continue;
        }
        let mut at = order.len();
        order.push(root);
        while let Some(&name) = order.get(at) {
            at += 1;
            let Some(state) = machine.states.get(name) else {
                continue;
            };
            let timeout = state.timeout.is_some().then_some(&state.timeout_next);
            let mut nexts: Vec<&String> = state.next.iter().chain(timeout).collect();
            // What ends stands below what goes on.
            nexts.sort_by_key(|&next| (machine.states.get(next).is_none_or(is_final), next));
            for next in nexts {
                // A definition that was not checked may name a state that it does not have.
                if machine.states.contains_key(next) && !order.contains(&next.as_str()) {
                    order.push(next);
                }
            }
        }
    }
    order
}

fn is_final(state: &State) -> bool {
    state.next.is_empty() && state.timeout.is_none()
}

/// Places everything.
pub(super) fn place(machine: &Machine) -> Layout {
    let order = order(machine);
    let mut line = 0;
    let mut states = Vec::new();
    for &name in &order {
        let state = &machine.states[name];
        let top = line;
        line += 2;
        let mut next_line = || {
            line += 1;
            line - 1
        };
        let moves = (!state.next.is_empty()).then(&mut next_line);
        let timeout = state.timeout.as_ref().map(|after| {
            let label = format!("after {}", wire_duration(Some(after)));
            (next_line(), label)
        });
        states.push(Placed {
            name: escape::key(name),
            top,
            bottom: line,
            moves,
            timeout,
            is_initial: name == machine.initial,
        });
        line += 1;
    }
    let mut arrows = arrows(machine, &order, &states);
    let lanes = give_lanes(&mut arrows);
    Layout {
        states,
        arrows,
        lanes,
        lines: line,
    }
}

fn arrows(machine: &Machine, order: &[&str], states: &[Placed]) -> Vec<Arrow> {
    let entry_of = |name: &str| {
        let at = order.iter().position(|&of| of == name)?;
        Some(states[at].entry())
    };
    let mut arrows = Vec::new();
    for (&name, placed) in order.iter().zip(states) {
        let state = &machine.states[name];
        let moves = placed.moves.into_iter();
        let moves = moves.flat_map(|line| state.next.iter().map(move |next| (line, next, false)));
        let timeout = placed.timeout.iter();
        let timeout = timeout.map(|(line, _)| (*line, &state.timeout_next, true));
        for (from, next, is_timeout) in moves.chain(timeout) {
            if let Some(to) = entry_of(next) {
                arrows.push(Arrow {
                    from,
                    to,
                    lane: 0,
                    is_timeout,
                });
            }
        }
    }
    arrows
}

/// Gives each arrow the first lane that is free where it goes, the shortest arrows first. Returns how many lanes there are.
fn give_lanes(arrows: &mut [Arrow]) -> usize {
    let mut by_length: Vec<usize> = (0..arrows.len()).collect();
    by_length.sort_by_key(|&at| (arrows[at].last() - arrows[at].first(), arrows[at].first()));
    let mut taken: Vec<Vec<(usize, usize)>> = Vec::new();
    for at in by_length {
        let (first, last) = (arrows[at].first(), arrows[at].last());
        let is_free = |lane: &Vec<(usize, usize)>| lane.iter().all(|&(f, l)| last < f || l < first);
        let lane = taken.iter().position(is_free).unwrap_or_else(|| {
            taken.push(Vec::new());
            taken.len() - 1
        });
        taken[lane].push((first, last));
        arrows[at].lane = lane;
    }
    taken.len()
}
