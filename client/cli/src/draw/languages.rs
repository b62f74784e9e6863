//! Machines in the languages of programs that draw them.

use std::fmt::Write as _;

use soloist::v1::Machine;

use super::layout::order;
use crate::output::escape::{key, quoted};
use crate::output::text::wire_duration;

/// A state diagram of Mermaid. Its names of states have no spaces or dashes, so each state has a number.
pub(crate) fn mermaid(machine: &Machine) -> String {
    let order = order(machine);
    let number = |name: &str| order.iter().position(|&of| of == name).unwrap_or_default();
    let mut text = String::from("stateDiagram-v2\n");
    for (at, name) in order.iter().enumerate() {
        // There is no escape for a quote in Mermaid.
        let label = key(name).replace('"', "'");
        let _ = writeln!(text, "    state \"{label}\" as s{at}");
    }
    let _ = writeln!(text, "    [*] --> s{}", number(&machine.initial));
    for (from, name) in order.iter().enumerate() {
        let state = &machine.states[*name];
        for next in &state.next {
            let _ = writeln!(text, "    s{from} --> s{}", number(next));
        }
        if state.timeout.is_some() {
            let (to, after) = (
                number(&state.timeout_next),
                wire_duration(state.timeout.as_ref()),
            );
            let _ = writeln!(text, "    s{from} --> s{to} : after {after}");
        }
        if state.next.is_empty() && state.timeout.is_none() {
            let _ = writeln!(text, "    s{from} --> [*]");
        }
    }
    text
}

/// A graph of Graphviz.
pub(crate) fn dot(machine: &Machine) -> String {
    let mut text = format!("digraph {} {{\n", quoted(&machine.name));
    text.push_str("  node [shape=box, style=rounded];\n  \"\" [shape=point];\n");
    let _ = writeln!(text, "  \"\" -> {};", quoted(&machine.initial));
    for name in order(machine) {
        let state = &machine.states[name];
        let from = quoted(name);
        match state.next.is_empty() && state.timeout.is_none() {
            true => _ = writeln!(text, "  {from} [peripheries=2];"),
            false => _ = writeln!(text, "  {from};"),
        }
        for next in &state.next {
            let _ = writeln!(text, "  {from} -> {};", quoted(next));
        }
        if state.timeout.is_some() {
            let (to, after) = (
                quoted(&state.timeout_next),
                wire_duration(state.timeout.as_ref()),
            );
            let _ = writeln!(
                text,
                "  {from} -> {to} [style=dashed, label=\"after {after}\"];"
            );
        }
    }
    text.push_str("}\n");
    text
}
