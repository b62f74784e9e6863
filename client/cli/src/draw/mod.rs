//! Pictures of machines.
//!
//! [`layout`] places the states below each other and gives each arrow a lane beside them. [`text`] and [`svg`] draw that;
//! [`languages`] writes what Mermaid and Graphviz lay out themselves.

mod languages;
mod layout;
mod svg;
mod text;

use soloist::v1::Machine;

pub(crate) use languages::{dot, mermaid};

/// A picture for the terminal.
pub(crate) fn text(machine: &Machine) -> String {
    text::draw(&layout::place(machine))
}

/// An SVG file.
pub(crate) fn svg(machine: &Machine) -> String {
    svg::draw(&layout::place(machine), &machine.name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use soloist::v1::machine::State;

    use super::*;

    fn state(next: &[&str], timeout: Option<(i64, &str)>) -> State {
        State {
            next: next.iter().map(|&name| name.to_owned()).collect(),
            timeout: timeout.map(|(seconds, _)| prost_types::Duration { seconds, nanos: 0 }),
            timeout_next: timeout.map_or(String::new(), |(_, next)| next.to_owned()),
        }
    }

    pub(super) fn machine(states: &[(&str, State)]) -> Machine {
        let states: HashMap<_, _> = states
            .iter()
            .map(|(name, state)| ((*name).to_owned(), state.clone()))
            .collect();
        Machine {
            name: "connections".into(),
            key_prefix: "connections/".into(),
            initial: "idle".into(),
            states,
            revision: 1,
        }
    }

    fn connections() -> Machine {
        machine(&[
            ("idle", state(&["inflight", "closing"], None)),
            (
                "inflight",
                state(&["idle", "closing"], Some((600, "closing"))),
            ),
            ("closing", state(&[], None)),
        ])
    }

    #[test]
    fn a_picture_for_the_terminal() {
        let picture = text(&connections());
        let expected = [
            "    ┌───────────┐",
            "  ▶ │ idle      │◀───────╮",
            "    │           ├──┬─────┼──╮",
            "    └───────────┘  │     │  │",
            "    ┌───────────┐  │     │  │",
            "    │ inflight  │◀─╯     │  │",
            "    │           ├─────┬──╯  │",
            "    │ after 10m ├╌╌╮  │     │",
            "    └───────────┘  ┆  │     │",
            "    ╔═══════════╗  ┆  │     │",
            "    ║ closing   ║◀─┴──┴─────╯",
            "    ╚═══════════╝",
        ];
        assert_eq!(picture.lines().collect::<Vec<_>>(), expected, "\n{picture}");
        assert_eq!(followed(&picture), arrows(&connections()), "\n{picture}");
    }

    #[test]
    fn every_arrow_can_be_followed_to_its_end() {
        // Machines of all sizes, with arrows by a simple rule.
        for count in 1..=9_usize {
            for rule in 1..=40_usize {
                let name = |number: usize| match number {
                    0 => "idle".to_owned(),
                    number => format!("s{number}"),
                };
                let mut states = Vec::new();
                for from in 0..count {
                    let next: Vec<_> = (0..count)
                        .filter(|to| {
                            (from * 7 + to * 5 + from * to * rule + rule).is_multiple_of(3)
                        })
                        .map(name)
                        .collect();
                    let next: Vec<&str> = next.iter().map(String::as_str).collect();
                    let after = name((from * rule + 1) % count);
                    let timeout = (rule + from)
                        .is_multiple_of(4)
                        .then_some((9, after.as_str()));
                    states.push((name(from), state(&next, timeout)));
                }
                let states: Vec<_> = states
                    .iter()
                    .map(|(name, state)| (name.as_str(), state.clone()))
                    .collect();
                let machine = machine(&states);
                let picture = text(&machine);
                assert_eq!(followed(&picture), arrows(&machine), "\n{picture}");
            }
        }
    }

    /// The arrows of a machine: from, to, and whether it is a timeout.
    fn arrows(machine: &Machine) -> Vec<(String, String, bool)> {
        let mut arrows = Vec::new();
        for (from, state) in &machine.states {
            for to in &state.next {
                arrows.push((from.clone(), to.clone(), false));
            }
            if state.timeout.is_some() {
                arrows.push((from.clone(), state.timeout_next.clone(), true));
            }
        }
        arrows.sort();
        arrows
    }

    /// The arrows of a picture, found by following its lines as a reader does.
    fn followed(picture: &str) -> Vec<(String, String, bool)> {
        let grid: Vec<Vec<char>> = picture.lines().map(|line| line.chars().collect()).collect();
        let at = |x: usize, y: usize| *grid.get(y).and_then(|row| row.get(x)).unwrap_or(&' ');
        let name_of = |y: usize| {
            // Up to the line below the upper border.
            let top = (0..=y).rev().find(|&y| "┌╔".contains(at(4, y))).unwrap();
            let row: String = grid[top + 1][5..].iter().collect();
            row.split(['│', '║']).next().unwrap().trim().to_owned()
        };
        let mut found = Vec::new();
        for (y, row) in grid.iter().enumerate() {
            let Some(start) = row
                .iter()
                .position(|&c| c == '├')
                .filter(|_| at(4, y) == '│')
            else {
                continue;
            };
            let is_timeout = row[5..start].iter().collect::<String>().contains("after");
            let mut x = start + 1;
            while "─╌┬┴┼╮╯".contains(at(x, y)) {
                let turn = match at(x, y) {
                    '┬' | '╮' => 1,
                    '┴' | '╯' => -1,
                    _ => 0_isize,
                };
                if turn != 0 {
                    let mut row = y.checked_add_signed(turn).unwrap();
                    while "│┆┼".contains(at(x, row)) {
                        row = row.checked_add_signed(turn).unwrap();
                    }
                    // The other end of the lane is at a line that comes in.
                    let ends = if turn > 0 { "┴╯" } else { "┬╮" };
                    assert!(ends.contains(at(x, row)), "{x} {row}\n{picture}");
                    assert!(grid[row].contains(&'◀'), "{x} {row}\n{picture}");
                    found.push((name_of(y), name_of(row), is_timeout));
                }
                if "╮╯".contains(at(x, y)) {
                    break;
                }
                x += 1;
            }
        }
        found.sort();
        found
    }

    #[test]
    fn an_svg_has_every_state_and_arrow() {
        let svg = svg(&connections());
        assert!(
            svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
            "{svg}"
        );
        // With that at the initial state.
        assert_eq!(svg.matches("<path class=\"a\"").count(), 5, "{svg}");
        assert_eq!(svg.matches("<path class=\"a t\"").count(), 1, "{svg}");
        for name in ["idle", "inflight", "closing", "after 10m"] {
            assert!(svg.contains(&format!(">{name}</text>")), "{name} in {svg}");
        }
        let mut odd = connections();
        odd.name = "<&".into();
        assert!(super::svg(&odd).contains("<title>&lt;&amp;</title>"));
    }

    #[test]
    fn mermaid_and_graphviz() {
        let mermaid = mermaid(&connections());
        for line in [
            "stateDiagram-v2",
            "    [*] --> s0",
            "    s0 --> s1",
            "    s1 --> s2 : after 10m",
            "    s2 --> [*]",
            "    state \"idle\" as s0",
        ] {
            assert!(
                mermaid.lines().any(|of| of == line),
                "{line:?} in\n{mermaid}"
            );
        }
        let dot = dot(&connections());
        for line in [
            "digraph \"connections\" {",
            "  \"idle\" -> \"inflight\";",
            "  \"inflight\" -> \"closing\" [style=dashed, label=\"after 10m\"];",
            "  \"closing\" [peripheries=2];",
            "}",
        ] {
            assert!(dot.lines().any(|of| of == line), "{line:?} in\n{dot}");
        }
    }
}
