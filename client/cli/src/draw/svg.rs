//! The picture as an SVG file.

use std::fmt::Write as _;

use super::layout::{Arrow, Layout, Placed};

/// Pixels of a line, of a character, of a lane, of the space around, and of the corner of an arrow.
const LINE: usize = 20;
const CHARACTER: usize = 9;
const LANE: usize = 18;
const MARGIN: usize = 34;
const CORNER: usize = 6;

const STYLE: &str = "\
.s{fill:#f6f8fa;stroke:#57606a}.a{fill:none;stroke:#57606a}.t{stroke-dasharray:5 4}.h{fill:#57606a}\
text{font:14px ui-monospace,monospace;fill:#1f2328}.l{fill:#57606a}\
@media(prefers-color-scheme:dark){.s{fill:#161b22;stroke:#8b949e}.a{stroke:#8b949e}.h,.l{fill:#8b949e}text{fill:#e6edf3}}";

pub(super) fn draw(layout: &Layout, title: &str) -> String {
    let labels = layout.states.iter().flat_map(|state| {
        let timeout = state.timeout.as_ref().map(|(_, label)| label);
        [Some(&state.name), timeout].into_iter().flatten()
    });
    let characters = labels
        .map(|label| label.chars().count())
        .max()
        .unwrap_or_default();
    let width = characters * CHARACTER + 24;
    let right = MARGIN + width;
    let (all_width, all_height) = (right + LANE * (layout.lanes + 2), layout.lines * LINE + 20);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all_width}\" height=\"{all_height}\" \
         viewBox=\"0 0 {all_width} {all_height}\">\n<title>{}</title>\n<style>{STYLE}</style>\n",
        escaped(title)
    );
    for arrow in &layout.arrows {
        draw_arrow(&mut svg, arrow, right);
    }
    for state in &layout.states {
        draw_state(&mut svg, state, width);
    }
    svg.push_str("</svg>\n");
    svg
}

/// The middle of a line.
fn middle(line: usize) -> usize {
    line * LINE + LINE / 2
}

fn draw_arrow(svg: &mut String, arrow: &Arrow, right: usize) {
    let lane = right + LANE * (arrow.lane + 1);
    let (from, to) = (middle(arrow.from), middle(arrow.to));
    let turn = lane - CORNER;
    let (after, before) = match from < to {
        true => (from + CORNER, to - CORNER),
        false => (from - CORNER, to + CORNER),
    };
    let class = if arrow.is_timeout { "a t" } else { "a" };
    let _ = writeln!(
        svg,
        "<path class=\"{class}\" d=\"M{right} {from}H{turn}Q{lane} {from} {lane} {after}V{before}Q{lane} {to} {turn} {to}H{}\"/>",
        right + 7
    );
    let _ = writeln!(svg, "<path class=\"h\" d=\"M{right} {to}l8 -4v8z\"/>");
}

fn draw_state(svg: &mut String, state: &Placed, width: usize) {
    let (top, bottom) = (middle(state.top), middle(state.bottom));
    let height = bottom - top;
    let mut rect = |inset: usize| {
        let _ = writeln!(
            svg,
            "<rect class=\"s\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"6\"/>",
            MARGIN + inset,
            top + inset,
            width - 2 * inset,
            height - 2 * inset
        );
    };
    rect(0);
    if state.is_final() {
        rect(3);
    }
    let mut label = |line: usize, class: &str, text: &str| {
        let (x, y) = (MARGIN + 12, middle(line) + 5);
        let text = escaped(text);
        let _ = writeln!(svg, "<text{class} x=\"{x}\" y=\"{y}\">{text}</text>");
    };
    label(state.entry(), "", &state.name);
    if let Some((line, text)) = &state.timeout {
        label(*line, " class=\"l\"", text);
    }
    if state.is_initial {
        let (x, y) = (MARGIN - 26, middle(state.entry()));
        let _ = writeln!(svg, "<path class=\"a\" d=\"M{x} {y}h20\"/>");
        let _ = writeln!(svg, "<path class=\"h\" d=\"M{MARGIN} {y}l-8 -4v8z\"/>");
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}
