//! `info --watch`: the numbers of the server as they change.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use soloist::v1::Info;

use crate::command_line::connection::Form;
use crate::commands::server::{bytes, grouped};
use crate::connect::Target;
use crate::failure::Failure;
use crate::output::{Out, say};
use crate::process::signals::Signals;
use soloist_flags::Style;

/// How many rates the line of rates shows.
const RATES: usize = 60;

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left corner. Each line is cleared to its end, and what is below the last.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// One look at the server.
struct Look {
    info: Info,
    at: Instant,
    took: Duration,
}

pub(super) async fn watch(target: &Target, interval: Duration, out: &Out) -> Result<i32, Failure> {
    let signals = Signals::new();
    let mut signals = signals.map_err(|error| Failure::other(format!("signals: {error}")))?;
    let client = target.connect_patiently(say).await?;
    let is_live = out.is_terminal && out.form == Form::Text;
    if is_live {
        out.raw(ENTER.as_bytes())?;
    }
    let looking = async {
        let mut before: Option<Look> = None;
        let mut rates = VecDeque::new();
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let at = Instant::now();
            match client.info().await {
                Ok(info) => {
                    let took = at.elapsed();
                    let look = Look { info, at, took };
                    show(target, &look, before.as_ref(), &mut rates, out, is_live)?;
                    before = Some(look);
                }
                Err(error) if !is_live => return Err(Failure::from(error)),
                Err(error) => {
                    let why = out.style.bad(error.message());
                    out.raw(format!("{HOME}{why}{CLEAR_LINE}\n").as_bytes())?;
                }
            }
        }
    };
    let done = tokio::select! {
        done = looking => done,
        _ = signals.next() => Ok(0),
    };
    if is_live {
        out.raw(LEAVE.as_bytes())?;
    }
    done
}

fn show(
    target: &Target,
    look: &Look,
    before: Option<&Look>,
    rates: &mut VecDeque<f64>,
    out: &Out,
    is_live: bool,
) -> Result<(), Failure> {
    if out.form == Form::Json {
        return out.json("Info", &look.info);
    }
    let rate = before.map(|before| changes(before, look));
    rates.extend(rate);
    while rates.len() > RATES {
        rates.pop_front();
    }
    if !is_live {
        return out.line(&line(look, rate));
    }
    let mut screen = String::from(HOME);
    for line in page(&target.server, look, before, rates, out.style).lines() {
        let _ = write!(screen, "{line}{CLEAR_LINE}\r\n");
    }
    screen.push_str(CLEAR_BELOW);
    out.raw(screen.as_bytes())
}

/// Changes a second between two looks.
fn changes(before: &Look, look: &Look) -> f64 {
    let seconds = look.at.duration_since(before.at).as_secs_f64();
    per_second(look.info.revision - before.info.revision, seconds)
}

fn per_second(count: i64, seconds: f64) -> f64 {
    match seconds > 0.0 {
        true => count.max(0) as f64 / seconds,
        false => 0.0,
    }
}

/// One look on one line.
fn line(look: &Look, rate: Option<f64>) -> String {
    let info = &look.info;
    let rate = rate.map_or(String::new(), |rate| format!("  {rate:.0} changes/s"));
    format!(
        "revision {}{rate}  keys {}  used {}  sessions {}  watches {}",
        info.revision,
        info.key_count,
        bytes(info.used_bytes),
        info.session_count,
        info.watch_count
    )
}

fn page(
    server: &str,
    look: &Look,
    before: Option<&Look>,
    rates: &VecDeque<f64>,
    style: Style,
) -> String {
    let info = &look.info;
    let limits = info.limits.unwrap_or_default();
    let mut page = format!(
        "{}  {}\n\n",
        style.bold(format!("soloist {} at {server}", info.version)),
        style.dim(format!("store {}", info.store_id))
    );
    let mut row = |name: &str, value: String, more: String| {
        let _ = writeln!(
            page,
            "  {}{value:>18}  {more}",
            style.dim(format!("{name:14}"))
        );
    };
    let rate = rates
        .back()
        .map_or(String::new(), |rate| format!("{rate:.0} changes/s"));
    row("revision", grouped(info.revision), rate);
    row(
        "keys",
        grouped(info.key_count),
        difference(before, look, |info| info.key_count),
    );
    let used = info.used_bytes as f64 / limits.max_store_bytes.max(1) as f64;
    row(
        "used",
        bytes(info.used_bytes),
        format!("{} {:.1} %", bar(used), used * 100.0),
    );
    row(
        "sessions",
        grouped(info.session_count),
        difference(before, look, |info| info.session_count),
    );
    row(
        "watches",
        grouped(info.watch_count),
        difference(before, look, |info| info.watch_count),
    );
    row("machines", grouped(info.machine_count), String::new());
    row("request ids", grouped(info.request_id_count), String::new());
    let cpu = before.and_then(|before| cpu(before, look));
    row(
        "cpu",
        cpu.map_or(String::new(), |cpu| format!("{cpu:.0} %")),
        String::new(),
    );
    row(
        "round trip",
        format!("{:.2} ms", look.took.as_secs_f64() * 1e3),
        String::new(),
    );
    let _ = writeln!(
        page,
        "\n  {}\n  {}",
        style.dim("changes a second"),
        style.name(sparks(rates))
    );
    let most = rates.iter().copied().fold(0.0, f64::max);
    let _ = writeln!(
        page,
        "  {}",
        style.dim(format!("most {most:.0}; Ctrl-C ends"))
    );
    page
}

/// How a number has changed.
fn difference(before: Option<&Look>, look: &Look, of: impl Fn(&Info) -> i64) -> String {
    let difference = before.map_or(0, |before| of(&look.info) - of(&before.info));
    match difference {
        0 => String::new(),
        difference if difference > 0 => format!("+{}", grouped(difference)),
        difference => grouped(difference),
    }
}

/// The share of one core that the server has used.
fn cpu(before: &Look, look: &Look) -> Option<f64> {
    let seconds = |info: &Info| {
        let time = info.cpu_time.as_ref()?;
        Some(time.seconds as f64 + f64::from(time.nanos) * 1e-9)
    };
    let used = seconds(&look.info)? - seconds(&before.info)?;
    let passed = look.at.duration_since(before.at).as_secs_f64();
    (passed > 0.0 && used >= 0.0).then(|| used / passed * 100.0)
}

fn bar(part: f64) -> String {
    const WIDTH: usize = 20;
    let full = (part.clamp(0.0, 1.0) * WIDTH as f64).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(WIDTH - full))
}

/// A column for each rate, the highest as high as a line.
fn sparks(rates: &VecDeque<f64>) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = rates.iter().copied().fold(0.0, f64::max);
    let level = |rate: &f64| match most > 0.0 {
        true => LEVELS[((rate / most * 7.0).round() as usize).min(7)],
        false => LEVELS[0],
    };
    rates.iter().map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_shares() {
        let start = Instant::now();
        let look = |revision, seconds, cpu| Look {
            info: Info {
                revision,
                cpu_time: Some(prost_types::Duration {
                    seconds: cpu,
                    nanos: 500_000_000,
                }),
                ..Info::default()
            },
            at: start + Duration::from_secs(seconds),
            took: Duration::ZERO,
        };
        let (before, after) = (look(10, 0, 1), look(30, 2, 2));
        assert_eq!(changes(&before, &after), 10.0);
        assert_eq!(cpu(&before, &after), Some(50.0));
        // Another store, whose revisions begin anew.
        assert_eq!(changes(&after, &look(1, 4, 2)), 0.0);
        assert_eq!(sparks(&[0.0, 5.0, 10.0].into()), "▁▅█");
        assert_eq!(bar(0.5).chars().filter(|&c| c == '█').count(), 10);
    }

    #[test]
    fn a_page_fits_a_screen() {
        let look = Look {
            info: Info::default(),
            at: Instant::now(),
            took: Duration::from_micros(300),
        };
        let rates = (0..RATES).map(|rate| rate as f64).collect();
        let page = page("127.0.0.1:50051", &look, None, &rates, Style::Plain);
        assert!(page.lines().count() <= 20, "{page}");
        for line in page.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
