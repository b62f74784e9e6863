//! Where reports go, and in which forms.

use std::io;
use std::path::PathBuf;

use crate::command_line::args::RunArgs;
use crate::commands::find_max::Probe;
use crate::report::distribution::HistogramError;
use crate::report::format::Format;
use crate::report::model::Report;
use crate::report::style::Style;
use crate::report::sweep::{Sweep, SweepPoint};
use crate::report::text::Detail;
use crate::report::{csv, hdr, html, output, text};
use crate::run::error::RunError;
use crate::run::view::{self, View, ViewKind};

/// Where the report goes, and in which form.
pub(crate) struct Outputs(Vec<(Option<PathBuf>, Format)>);

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
    pub(crate) fn check(&self) -> io::Result<()> {
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
    /// taken long. A file has everything; standard output has as much as `detail` says.
    pub(crate) fn write(&self, report: &Report, detail: Detail) -> io::Result<()> {
        let mut written = Ok(());
        for (file, form) in &self.0 {
            let (style, detail) = match file {
                None => (
                    Style::of(&io::stdout(), |name| std::env::var_os(name)),
                    detail,
                ),
                Some(_) => (Style::Plain, Detail::All),
            };
            let text = render(report, *form, style, detail).map_err(io::Error::other)?;
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

fn render(report: &Report, form: Format, style: Style, detail: Detail) -> Result<String, String> {
    let said = |error: HistogramError| error.to_string();
    Ok(match form {
        Format::Text => text::render(report, style, detail),
        Format::Json => report.to_json(),
        Format::Csv => csv::render(report),
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

/// Prints a result. Returns the exit code.
pub(crate) fn print(text: &str) -> Result<i32, RunError> {
    output::print(text).map_err(|error| RunError::Failed(error.to_string()))?;
    Ok(0)
}

/// What is shown of a run on standard error.
pub(crate) fn live_view(args: &RunArgs) -> Box<dyn View> {
    let show = match (args.report.quiet, args.report.no_tui) {
        (true, _) => ViewKind::Nothing,
        (false, true) => ViewKind::Lines,
        (false, false) => ViewKind::View,
    };
    let address = args.address.clone();
    let title = args.report.name.clone().or(address);
    view::view(
        show,
        title.unwrap_or_else(|| "a server of its own".to_owned()),
    )
}
