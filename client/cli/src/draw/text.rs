//! The picture for the terminal, of characters for boxes.

use super::layout::{Layout, Placed};

/// What a cell is joined to.
const UP: u8 = 1;
const DOWN: u8 = 2;
const LEFT: u8 = 4;
const RIGHT: u8 = 8;

/// The columns before a box: of the arrow at the initial state.
const MARGIN: usize = 4;
/// The columns of a lane.
const LANE: usize = 3;

/// What is in a cell beside the boxes.
#[derive(Clone, Copy, Default)]
struct Cell {
    joins: u8,
    /// Whether something other than a timeout passes.
    is_solid: bool,
}

pub(super) fn draw(layout: &Layout) -> String {
    let labels = layout.states.iter().flat_map(|state| {
        let timeout = state.timeout.as_ref().map(|(_, label)| label);
        [Some(&state.name), timeout].into_iter().flatten()
    });
    let inner = labels
        .map(|label| label.chars().count())
        .max()
        .unwrap_or_default();
    let lanes = lanes(layout);
    let mut text = String::new();
    for state in &layout.states {
        draw_state(&mut text, state, inner, &lanes);
    }
    text.truncate(text.trim_end().len());
    text
}

/// What is right of the boxes.
fn lanes(layout: &Layout) -> Vec<Vec<Cell>> {
    let width = LANE * (layout.lanes + 1);
    let mut cells = vec![vec![Cell::default(); width]; layout.lines];
    for arrow in &layout.arrows {
        let column = LANE * (arrow.lane + 1) - 1;
        let mut join = |line: usize, column: usize, joins: u8| {
            let cell = &mut cells[line][column];
            cell.joins |= joins;
            cell.is_solid |= !arrow.is_timeout;
        };
        let (first, last) = (arrow.from.min(arrow.to), arrow.from.max(arrow.to));
        for line in [first, last] {
            for before in 0..column {
                join(line, before, LEFT | RIGHT);
            }
            join(line, column, LEFT);
        }
        join(first, column, DOWN);
        join(last, column, UP);
        for between in first + 1..last {
            join(between, column, UP | DOWN);
        }
    }
    cells
}

fn draw_state(text: &mut String, state: &Placed, inner: usize, lanes: &[Vec<Cell>]) {
    let [left_top, flat, right_top, side, left_bottom, right_bottom] = match state.is_final() {
        true => ['╔', '═', '╗', '║', '╚', '╝'],
        false => ['┌', '─', '┐', '│', '└', '┘'],
    };
    let flat: String = std::iter::repeat_n(flat, inner + 2).collect();
    for (line, cells) in lanes
        .iter()
        .enumerate()
        .take(state.bottom + 1)
        .skip(state.top)
    {
        let start = if line == state.entry() && state.is_initial {
            "  ▶ "
        } else {
            ""
        };
        text.push_str(&format!("{start:MARGIN$}"));
        let is_exit = state.moves == Some(line)
            || state
                .timeout
                .as_ref()
                .is_some_and(|(exit, _)| *exit == line);
        if line == state.top {
            text.push(left_top);
            text.push_str(&flat);
            text.push(right_top);
        } else if line == state.bottom {
            text.push(left_bottom);
            text.push_str(&flat);
            text.push(right_bottom);
        } else {
            let label = match &state.timeout {
                _ if line == state.entry() => state.name.as_str(),
                Some((exit, label)) if *exit == line => label,
                _ => "",
            };
            let missing = " ".repeat(inner - label.chars().count());
            text.push_str(&format!("{side} {label}{missing} "));
            text.push(if is_exit { '├' } else { side });
        }
        let mut cells = cells.as_slice();
        if line == state.entry() && cells[0].joins != 0 {
            text.push('◀');
            cells = &cells[1..];
        }
        text.extend(cells.iter().map(|cell| shown(*cell)));
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
}

fn shown(Cell { joins, is_solid }: Cell) -> char {
    let is = |parts: u8| joins == parts;
    match joins {
        0 => ' ',
        _ if is(UP | DOWN) => {
            if is_solid {
                '│'
            } else {
                '┆'
            }
        }
        _ if is(LEFT | RIGHT) => {
            if is_solid {
                '─'
            } else {
                '╌'
            }
        }
        _ if is(LEFT | DOWN) => '╮',
        _ if is(LEFT | UP) => '╯',
        _ if is(LEFT | RIGHT | DOWN) => '┬',
        _ if is(LEFT | RIGHT | UP) => '┴',
        _ => '┼',
    }
}
