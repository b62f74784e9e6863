//! The program: what is asked for on the command line, done, reported, and turned into an exit code.

mod calibrate;
mod compare;
mod find_max;
mod search;

use std::ffi::OsString;
use std::io::{self, Write as _};

use clap::{Parser, Subcommand};
use tokio::signal::unix::SignalKind;

use crate::agents;
use crate::command_line::args::{Format, RunArgs};
use crate::command_line::config_file;
use crate::commands::calibrate::CalibrateArgs;
use crate::commands::compare::CompareArgs;
use crate::commands::find_max::Probe;
use crate::commands::search::{FindMaxArgs, SweepArgs};
use crate::plan::settings::Settings;
use crate::report::distribution::HistogramError;
use crate::report::model::Report;
use crate::report::output;
use crate::report::style::Style;
use crate::report::sweep::{Sweep, SweepPoint};
use crate::report::{csv, hdr, html, markdown, schema, text};
use crate::run::measure::RunError;
use crate::run::session::Session;
use crate::run::summary::Labels;
use crate::run::verdict::{self, CheckArgs, Keeping};
use crate::run::view::{self, Show, View};

/// Exit code: operations failed, or the server could not be reached.
pub(crate) const FAILED: i32 = 1;
/// Exit code: the arguments cannot be used.
const BAD_ARGUMENTS: i32 = 2;
/// Exit code: the answers cannot all be true.
pub(crate) const NOT_LINEARIZABLE: i32 = 3;
/// Exit code: whether the answers can all be true was too much to find out.
pub(crate) const NOT_DECIDED: i32 = 4;
/// Exit code: an objective was not met.
pub(crate) const NOT_MET: i32 = 99;

/// Measures a state server: many concurrent workers, each sending its next operation when the previous one is answered,
/// or all together so many operations per second (--rps).
///
/// Without HOST:PORT it starts a server of its own on a free loopback port, on threads of its own, and drives that
/// over TCP like any other.
///
/// Exit codes: 0 done; 1 the server could not be reached, or operations failed; 2 bad arguments; 3 the answers cannot
/// all be true (--verify); 4 whether they can was not found out in time (--search-timeout); 99 an objective was not met (--slo); 130 interrupted by Ctrl-C or 143 by SIGTERM, after
/// reporting what was measured.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "soloist-load",
    version,
    max_term_width = 110,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Finds the highest rate that meets every --slo: doubles it until one is missed, halves the distance until it is
    /// small, and repeats what it has found.
    FindMax(Box<FindMaxArgs>),
    /// Measures latency at several rates.
    Sweep(Box<SweepArgs>),
    /// Compares the runs in two files, or repeats both and compares those.
    Compare(CompareArgs),
    /// Does runs for others, that lead several agents with --agents.
    Agent(AgentArgs),
    /// Checks a history that --verify has kept: whether its answers can all be true.
    Check(CheckArgs),
    /// Measures this tool itself, against servers of known behaviour.
    Calibrate(CalibrateArgs),
    /// Prints the JSON schema of reports.
    Schema,
}

/// Does what the command line says. Returns the exit code.
pub fn main(words: impl IntoIterator<Item = OsString>) -> i32 {
    let words = match config_file::expand(words.into_iter().collect()) {
        Ok(words) => words,
        Err(error) => return complain(&error, BAD_ARGUMENTS),
    };
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            let code = error.exit_code();
            let _ = error.print();
            return code;
        }
    };
    let done = match &cli.command {
        None => run(&cli.run),
        Some(Command::FindMax(args)) => search::find_max(args),
        Some(Command::Sweep(args)) => search::sweep(args),
        Some(Command::Compare(args)) => compare::compare_files(args),
        Some(Command::Agent(args)) => agent(args),
        Some(Command::Check(args)) => verdict::check_file(args),
        Some(Command::Schema) => print(schema::SCHEMA_TEXT),
        Some(Command::Calibrate(args)) => calibrate::calibrate(args),
    };
    match done {
        Ok(code) => code,
        Err(RunError::Arguments(error)) => complain(&error, BAD_ARGUMENTS),
        Err(RunError::Target(error)) => complain(&error, FAILED),
    }
}

/// Prints a result. Returns the exit code.
pub(crate) fn print(text: &str) -> Result<i32, RunError> {
    output::print(text).map_err(|error| RunError::Target(error.to_string()))?;
    Ok(0)
}

/// Serves those who lead.
#[derive(Clone, Debug, clap::Args)]
struct AgentArgs {
    /// Where to listen. Whoever reaches it can have it put load on any server.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7411")]
    listen: std::net::SocketAddr,
    /// End after one run.
    #[arg(long)]
    once: bool,
}

fn agent(args: &AgentArgs) -> Result<i32, RunError> {
    let runs = match args.once {
        true => agents::Runs::One,
        false => agents::Runs::Many,
    };
    agents::serve(args.listen, runs).map(|()| 0)
}

/// Says what is wrong, if anyone listens.
fn complain(error: &str, code: i32) -> i32 {
    let _ = writeln!(io::stderr(), "error: {error}");
    code
}

/// A run, or several of the same.
fn run(args: &RunArgs) -> Result<i32, RunError> {
    let outputs = Outputs::new(args).map_err(RunError::Arguments)?;
    let kept = args.report.save_baseline.iter();
    let checked = kept
        .map(|file| output::check(file))
        .find(|checked| checked.is_err());
    if let Err(error) = outputs.check().and(checked.unwrap_or(Ok(()))) {
        return Ok(complain(&error.to_string(), FAILED));
    }
    let baseline = args.report.baseline.as_deref();
    let baseline = baseline.map(compare::read).transpose()?;
    let settings = Settings::new(args).map_err(RunError::Arguments)?;
    let mut session = Session::open(args.address.as_deref(), &settings)?;
    let labels = labels(args);
    let mut reports = Vec::new();
    for _ in 0..args.report.runs {
        let settings = settings.clone();
        let report = match &args.how.agents {
            None => session.run(settings, &labels, &mut *live_view(args), None)?,
            Some(agents) => session.lead(settings, &labels, agents)?,
        };
        let is_interrupted = report.interrupted.is_some();
        reports.push(report);
        if is_interrupted {
            break;
        }
    }
    session.close()?;
    let mut code = 0;
    if let Some(report) = reports.last() {
        if let Err(error) = outputs.write(report) {
            return Ok(complain(&error.to_string(), FAILED));
        }
        code = exit_code(args, report);
        if let (FAILED, Some(why)) = (code, report.why_nothing()) {
            return Ok(complain(&why, FAILED));
        }
    }
    if let Some(file) = &args.report.save_baseline
        && let Err(error) = compare::save(file, &reports)
    {
        return Ok(complain(&error.to_string(), FAILED));
    }
    if let Some(baseline) = baseline {
        let compared = compare::against(&baseline, &reports, args.report.fail_on_regression)?;
        // Whatever else is wrong comes first.
        code = if code == 0 { compared } else { code };
    }
    Ok(code)
}

/// What is shown of a run on standard error.
pub(crate) fn live_view(args: &RunArgs) -> Box<dyn View> {
    let show = match (args.report.quiet, args.report.no_tui) {
        (true, _) => Show::Nothing,
        (false, true) => Show::Lines,
        (false, false) => Show::View,
    };
    let address = args.address.clone();
    let title = args.report.name.clone().or(address);
    view::view(
        show,
        title.unwrap_or_else(|| "a server of its own".to_owned()),
    )
}

pub(crate) fn labels(args: &RunArgs) -> Labels {
    Labels {
        name: args.report.name.clone(),
        tags: args.report.tag.iter().cloned().collect(),
        slos: args.report.slo.clone(),
        keeping: Keeping {
            history: args.report.history.clone(),
            search_timeout: args.report.search_timeout,
        },
    }
}

/// What became of the run.
fn exit_code(args: &RunArgs, report: &Report) -> i32 {
    // What is not true matters more than what failed.
    let verified = report.verify.as_ref().map_or(0, verdict::exit_code);
    if verified == NOT_LINEARIZABLE {
        return verified;
    }
    let failed = report.failed_ops() > 0 && !args.report.allow_errors;
    if failed || report.completed == 0 {
        return FAILED;
    }
    if verified != 0 {
        return verified;
    }
    if report.slos.iter().any(|slo| !slo.met) {
        return NOT_MET;
    }
    report.interrupted.map_or(0, |signal| 128 + signal)
}

/// Where the report goes, and in which form.
pub(crate) struct Outputs(Vec<(Option<std::path::PathBuf>, Format)>);

impl Outputs {
    /// Pairs files and forms in the order in which they were given.
    pub(crate) fn new(args: &RunArgs) -> Result<Self, String> {
        let (files, forms) = (&args.report.output, &args.report.format);
        let mut outputs: Vec<_> = files
            .iter()
            .enumerate()
            .map(|(index, file)| {
                let by_name = || Format::of_file(file).unwrap_or(Format::Text);
                (
                    Some(file.clone()),
                    forms.get(index).copied().unwrap_or_else(by_name),
                )
            })
            .collect();
        match forms.get(files.len()..).unwrap_or_default() {
            [] if files.is_empty() => outputs.push((None, Format::Text)),
            [] => {}
            [form] => outputs.push((None, *form)),
            more => {
                return Err(format!(
                    "{} forms (-O) for {} files (-o): one at most can go to standard output",
                    files.len() + more.len(),
                    files.len()
                ));
            }
        }
        Ok(Self(outputs))
    }

    /// Finds out, before the run, whether the report can be written where it is to go.
    fn check(&self) -> io::Result<()> {
        let mut files = self.0.iter().filter_map(|(file, _)| file.as_ref());
        files.try_for_each(|file| output::check(file))
    }

    /// Writes what a search has found.
    pub(crate) fn write_sweep(
        &self,
        headline: &str,
        highest: Option<f64>,
        probes: &[Probe],
    ) -> io::Result<()> {
        let mut written = Ok(());
        for (file, form) in &self.0 {
            let text = render_sweep(headline, highest, probes, *form).map_err(io::Error::other)?;
            let one = match file {
                None => output::print(&text),
                Some(file) => output::write(file, &text),
            };
            written = written.and(one);
        }
        written
    }

    /// Writes the report everywhere; to standard output if a file cannot be written any more, since a run may have
    /// taken long.
    fn write(&self, report: &Report) -> io::Result<()> {
        let mut written = Ok(());
        for (file, form) in &self.0 {
            let style = match file {
                None => Style::of(&io::stdout(), |name| std::env::var_os(name)),
                Some(_) => Style::Plain,
            };
            let text = render(report, *form, style).map_err(io::Error::other)?;
            let one = match file {
                None => output::print(&text),
                Some(file) => output::write(file, &text).inspect_err(|_| {
                    // The file's error is the one to tell.
                    let _ = output::print(&text);
                }),
            };
            written = written.and(one);
        }
        written
    }
}

fn render(report: &Report, form: Format, style: Style) -> Result<String, String> {
    let said = |error: HistogramError| error.to_string();
    Ok(match form {
        Format::Text => text::render(report, style),
        Format::Json => report.to_json(),
        Format::Csv => csv::render(report),
        Format::Markdown => markdown::render(report),
        Format::Html => html::render(report, None),
        Format::Hdr => {
            let all = report.latency.get("all").ok_or("nothing was measured")?;
            hdr::percentiles(&all.response).map_err(said)?
        }
        Format::Hlog => hdr::interval_log(report).map_err(said)?,
    })
}

fn render_sweep(
    headline: &str,
    highest: Option<f64>,
    probes: &[Probe],
    form: Format,
) -> Result<String, String> {
    let points = probes.iter().map(|probe| SweepPoint::of(&probe.report));
    let sweep = Sweep {
        points: points.collect(),
    };
    let best = probes
        .iter()
        .rfind(|probe| highest.is_none_or(|highest| probe.rate == highest))
        .ok_or("there was no run")?;
    Ok(match form {
        Format::Text => {
            let lines: Vec<String> = probes.iter().map(ToString::to_string).collect();
            format!("{}\n\n{headline}\n", lines.join("\n"))
        }
        Format::Json => {
            let json = serde_json::json!({
                "schema": "soloist-load-sweep/1",
                "highest": highest,
                "headline": headline,
                "points": sweep.points,
                "reports": probes.iter().map(|probe| &probe.report).collect::<Vec<_>>(),
            });
            format!("{json:#}\n")
        }
        Format::Html => html::render(&best.report, Some(&sweep)),
        _ => return Err("a search can be written as text, json and html".to_owned()),
    })
}

/// Exit code: ended by a signal, as shells count it. 130 for Ctrl-C, 143 for SIGTERM.
pub(crate) fn interrupted(signal: SignalKind) -> i32 {
    128 + signal.as_raw_value()
}
