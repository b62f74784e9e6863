//! The view on a terminal. It is a function of a [`Progress`].

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph};

use crate::report::live::progress::Progress;
use crate::report::model::IntervalReport;
use crate::report::numbers::{clock, grouped, latency, percent, rate};
use crate::report::printable::printable;

/// A lower chart is not worth its axis.
const CHART_HEIGHT_MIN: u16 = 7;

const LABEL_WIDTH: u16 = 11;

/// The width of "p99.9 1.09 ms", and a blank.
const LATENCY_WIDTH: u16 = 14;

/// Draws the figures, and charts of them over time as far as there is room.
pub(crate) fn draw(progress: &Progress, frame: &mut Frame<'_>) {
    let figures = figures(progress, frame.area().width);
    let [title, gauge, text, charts] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(figures.len() as u16 + 1),
        Constraint::Fill(1),
    ])
    .areas(frame.area());
    draw_title(progress, frame, title);
    draw_gauge(progress, frame, gauge);
    frame.render_widget(Paragraph::new(figures), text);
    draw_charts(progress, frame, charts);
}

fn draw_title(progress: &Progress, frame: &mut Frame<'_>, area: Rect) {
    let phase = match progress.phase.as_str() {
        "warmup" => Span::styled("warm-up", Color::Yellow),
        "drain" => Span::styled("draining", Color::Yellow),
        phase => Span::styled(printable(phase), Color::Green),
    };
    let line = Line::from(vec![
        Span::styled("soloist-load ", Style::new().add_modifier(Modifier::BOLD)),
        phase,
        Span::raw("  "),
        Span::raw(printable(&progress.title)),
    ]);
    frame.render_widget(line, area);
}

/// Draws how much is done, and beside it how long it takes: on the bar the text would have the colour of its other half.
fn draw_gauge(progress: &Progress, frame: &mut Frame<'_>, area: Rect) {
    let time = progress.time();
    let Some(done) = progress.done() else {
        frame.render_widget(Line::from(time), area);
        return;
    };
    let text = format!("{time}  {:.0}%", done * 100.0);
    let width = text.chars().count() as u16 + 2;
    let [label, bar] =
        Layout::horizontal([Constraint::Length(width), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Line::from(text), label);
    let gauge = Gauge::default()
        .ratio(done)
        .label("")
        .use_unicode(true)
        .gauge_style(Style::new().fg(Color::Blue).bg(Color::DarkGray));
    frame.render_widget(gauge, bar);
}

/// Makes a line of a label and a text.
fn row(name: &'static str, text: impl Into<String>, style: impl Into<Style>) -> Line<'static> {
    Line::from(vec![
        Span::styled(
            format!("{name:<width$}", width = usize::from(LABEL_WIDTH)),
            Style::new().add_modifier(Modifier::DIM),
        ),
        Span::styled(text.into(), style),
    ])
}

fn figures(progress: &Progress, width: u16) -> Vec<Line<'static>> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut now = format!("{}/s", rate(progress.ops_per_second));
    if let Some(requested) = progress.requested_per_second {
        now += &format!(" of {}/s", rate(requested));
    }
    let mut lines = vec![
        row("rate", now, bold),
        row("completed", grouped(progress.completed), Style::new()),
        row("in flight", grouped(progress.in_flight), Style::new()),
    ];
    let failed = progress.failed_ops();
    let tried = progress.completed + failed;
    lines.push(match failed {
        0 => row("failed", "0", Style::new()),
        _ => row("failed", failures(progress), bold.fg(Color::Red)),
    });
    if progress.requested_per_second.is_some() {
        let share = percent(progress.dropped, tried + progress.dropped);
        let text = format!("{} ({share})", grouped(progress.dropped));
        let style = match progress.dropped {
            0 => Style::new(),
            _ => bold.fg(Color::Yellow),
        };
        lines.push(row("dropped", text, style));
    }
    if !progress.connections.is_empty() {
        lines.push(row(
            "server",
            progress.connections.clone(),
            bold.fg(Color::Red),
        ));
    }
    if let Some(last) = progress.intervals.last() {
        let values = [
            ("p50", last.p50_us),
            ("p90", last.p90_us),
            ("p99", last.p99_us),
            ("p99.9", last.p99_9_us),
            ("max", last.max_us),
        ];
        // On as many lines as needed, so that none is cut off.
        let each = usize::from(width.saturating_sub(LABEL_WIDTH) / LATENCY_WIDTH).max(1);
        for (index, values) in values.chunks(each).enumerate() {
            let texts = values.iter().map(|(name, us)| {
                let text = format!("{name} {}", latency(*us));
                format!("{text:<width$}", width = usize::from(LATENCY_WIDTH))
            });
            let label = if index == 0 { "response" } else { "" };
            lines.push(row(
                label,
                texts.collect::<String>().trim_end(),
                Style::new(),
            ));
        }
    }
    lines
}

/// Lists the failures, the most frequent first, because the end may not fit.
fn failures(progress: &Progress) -> String {
    let mut codes: Vec<_> = progress
        .failed
        .iter()
        .filter(|(_, ops)| **ops > 0)
        .collect();
    codes.sort_by_key(|(_, ops)| std::cmp::Reverse(**ops));
    let texts = codes
        .iter()
        .map(|(code, ops)| format!("{} {}", grouped(**ops), printable(code)));
    texts.collect::<Vec<_>>().join(", ")
}

fn draw_charts(progress: &Progress, frame: &mut Frame<'_>, area: Rect) {
    if area.height < CHART_HEIGHT_MIN || progress.intervals.is_empty() {
        return;
    }
    if area.height < 2 * CHART_HEIGHT_MIN {
        // Beside each other if there is room.
        let half = Constraint::Fill(1);
        let [left, right] = Layout::horizontal([half, half]).areas(area);
        if left.width < 40 {
            return draw_throughput(progress, frame, area);
        }
        draw_throughput(progress, frame, left);
        return draw_latency(progress, frame, right);
    }
    let [above, below] = Layout::vertical([Constraint::Fill(2), Constraint::Fill(3)]).areas(area);
    draw_throughput(progress, frame, above);
    draw_latency(progress, frame, below);
}

fn draw_throughput(progress: &Progress, frame: &mut Frame<'_>, area: Rect) {
    let points: Vec<_> = progress
        .intervals
        .iter()
        .map(|one| (one.start_seconds, one.ops_per_second))
        .collect();
    let requested: Vec<_> = progress
        .requested_per_second
        .into_iter()
        .flat_map(|requested| ends(progress).map(|at| (at, requested)))
        .collect();
    let highest = points
        .iter()
        .chain(&requested)
        .fold(0.0, |high: f64, (_, rate)| high.max(*rate));
    let top = match highest > 0.0 {
        true => round_up(highest * 1.05),
        false => 1.0,
    };
    let sets = vec![line(&requested, Color::Magenta), line(&points, Color::Cyan)];
    let mut legend = vec![("completed", Color::Cyan)];
    if !requested.is_empty() {
        legend.push(("requested", Color::Magenta));
    }
    let labels = ["0".to_owned(), rate(top / 2.0), rate(top)];
    chart(
        progress,
        title("operations per second", &legend),
        sets,
        (0.0, top),
        &labels,
        frame,
        area,
    );
}

/// Makes the title of a chart, with a legend: each name has the colour of its line, after a piece of the line.
fn title(of: &'static str, legend: &[(&'static str, Color)]) -> Line<'static> {
    let mut spans = vec![Span::styled(format!("{of}:"), Modifier::BOLD)];
    for (name, color) in legend {
        spans.push(Span::styled(format!(" ━ {name}"), *color));
    }
    Line::from(spans)
}

/// Rounds up to two digits, so that an axis ends with a short number.
fn round_up(value: f64) -> f64 {
    let step = 10_f64.powf(value.log10().floor() - 1.0);
    (value / step).ceil() * step
}

/// Draws latencies on a log axis, which shows both the tail and the median.
fn draw_latency(progress: &Progress, frame: &mut Frame<'_>, area: Rect) {
    let log = |us: f64| us.max(0.1).log10();
    let points = |of: fn(&IntervalReport) -> Option<f64>| -> Vec<(f64, f64)> {
        let intervals = progress.intervals.iter();
        intervals
            .filter_map(|one| Some((one.start_seconds, log(of(one)?))))
            .collect()
    };
    let lines = [
        (points(|one| one.p50_us), Color::Cyan),
        (points(|one| one.p99_us), Color::Yellow),
        (points(|one| one.max_us), Color::Red),
    ];
    let legend: Vec<_> = ["p50", "p99", "max"]
        .into_iter()
        .zip(lines.iter().map(|(_, color)| *color))
        .collect();
    let values = || {
        lines
            .iter()
            .flat_map(|(points, _)| points)
            .map(|(_, value)| *value)
    };
    let (Some(low), Some(high)) = (values().reduce(f64::min), values().reduce(f64::max)) else {
        return;
    };
    let (low, high) = (low - 0.1, high + 0.1);
    let label = |at: f64| latency(Some(10_f64.powf(low + (high - low) * at)));
    let sets = lines
        .iter()
        .map(|(points, color)| line(points, *color))
        .collect();
    let labels = [label(0.0), label(0.5), label(1.0)];
    chart(
        progress,
        title("response", &legend),
        sets,
        (low, high),
        &labels,
        frame,
        area,
    );
}

fn line(points: &[(f64, f64)], color: Color) -> Dataset<'_> {
    Dataset::default()
        .data(points)
        .marker(Marker::Braille)
        .graph_type(GraphType::Line)
        .style(color)
}

/// Returns when the first and the last interval begin.
fn ends(progress: &Progress) -> [f64; 2] {
    let start = progress
        .intervals
        .first()
        .map_or(0.0, |one| one.start_seconds);
    let end = progress
        .intervals
        .last()
        .map_or(0.0, |one| one.start_seconds);
    [start, end.max(start + 1.0)]
}

fn chart(
    progress: &Progress,
    title: Line<'static>,
    sets: Vec<Dataset<'_>>,
    bounds: (f64, f64),
    labels: &[String; 3],
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let ends = ends(progress);
    let dim = Style::new().add_modifier(Modifier::DIM);
    // All charts begin in the same column.
    let labels = labels.iter().map(|label| format!("{label:>9}"));
    let x = Axis::default()
        .bounds(ends)
        .labels(ends.map(clock))
        .style(dim);
    let y = Axis::default()
        .bounds([bounds.0, bounds.1])
        .labels(labels)
        .style(dim);
    let chart = Chart::new(sets)
        .block(Block::new().title(title))
        .x_axis(x)
        .y_axis(y)
        .legend_position(None);
    frame.render_widget(chart, area);
}
