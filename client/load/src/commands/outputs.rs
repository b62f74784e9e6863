//! Where reports go, and in which formats.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use crate::command_line::SEARCH_FORMS;
use crate::command_line::args::RunArgs;
use crate::commands::search::Probe;
use crate::report::distribution::HistogramError;
use crate::report::format::Format;
use crate::report::model::Report;
use crate::report::sweep::{Sweep, SweepPoint};
use crate::report::text::Detail;
use crate::report::wrap::{WIDTH, wrapped};
use crate::report::{csv, hdr, html, output, text};
use crate::run::error::RunError;
use soloist_flags::Style;

/// The places to which a report is written.
pub(crate) struct Outputs {
    outputs: Vec<Output>,
    /// Whether runs are not listed while they are made.
    is_quiet: bool,
}

/// Whether a text has the list of its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lists {
    Written,
    /// The same terminal has shown each run as it was done.
    SeenAlready,
}

struct Output {
    /// `None` for standard output.
    file: Option<PathBuf>,
    format: Format,
}

impl Outputs {
    /// Pairs the files of `-o` with the formats of `-O`, in the order in which they were given.
    ///
    /// # Errors
    /// If more than one report would go to standard output, or the extension of a file stands for no form.
    pub(crate) fn new(args: &RunArgs) -> Result<Self, String> {
        let (files, formats) = (&args.report.output, &args.report.format);
        let mut outputs = files
            .iter()
            .enumerate()
            .map(|(index, file)| {
                let format = match formats.get(index) {
                    Some(format) => *format,
                    None => Format::of_file(file)?,
                };
                Ok(Output {
                    file: Some(file.clone()),
                    format,
                })
            })
            .collect::<Result<Vec<_>, String>>()?;
        let to_stdout = |format| Output { file: None, format };
        match formats.get(files.len()..).unwrap_or_default() {
            [] if files.is_empty() => outputs.push(to_stdout(Format::Text)),
            [] => {}
            [format] => outputs.push(to_stdout(*format)),
            _ => {
                return Err(format!(
                    "{} forms (-O) for {} files (-o): at most one report can go to standard output",
                    formats.len(),
                    files.len()
                ));
            }
        }
        Ok(Self {
            outputs,
            is_quiet: args.report.quiet,
        })
    }

    /// As [`new`](Self::new), for the report of a search. It takes long, so everything is found out before it.
    ///
    /// # Errors
    /// Also if a form is none of a search, or a file cannot be written.
    pub(crate) fn for_search(args: &RunArgs) -> Result<Self, RunError> {
        let outputs = Self::new(args).map_err(RunError::Arguments)?;
        let is_of_search =
            |of: &&Output| matches!(of.format, Format::Text | Format::Json | Format::Html);
        if let Some(Output { file, .. }) = outputs.outputs.iter().find(|of| !is_of_search(of)) {
            let file = file.as_ref().map(|file| file.display().to_string());
            return Err(RunError::Arguments(format!(
                "--output {}: a search is reported as {}",
                file.unwrap_or_default(),
                SEARCH_FORMS.join(", ")
            )));
        }
        let checked = outputs.check();
        checked.map_err(|error| RunError::Failed(error.to_string()))?;
        Ok(outputs)
    }

    /// Whether people see the text of the report on standard output.
    pub(crate) fn print_text(&self) -> bool {
        let is_text = |of: &Output| of.file.is_none() && of.format == Format::Text;
        self.outputs.iter().any(is_text)
    }

    /// Finds out before the run whether every file can be written.
    pub(crate) fn check(&self) -> io::Result<()> {
        let mut files = self
            .outputs
            .iter()
            .filter_map(|output| output.file.as_ref());
        files.try_for_each(|file| output::check(file))
    }

    /// Writes the report everywhere. A file gets all of it; standard output gets as much as `detail` says.
    ///
    /// If a file can no longer be written, its report goes to standard output, because the run may have taken long.
    ///
    /// # Errors
    /// The first error. The report is written to the other places all the same.
    pub(crate) fn write(&self, report: &Report, detail: Detail) -> io::Result<()> {
        let mut written = Ok(());
        for Output { file, format } in &self.outputs {
            let (style, detail) = match file {
                None => (
                    Style::of(&io::stdout(), |name| std::env::var_os(name)),
                    detail,
                ),
                Some(_) => (Style::Plain, Detail::All),
            };
            let text = render(report, *format, style, detail).map_err(io::Error::other)?;
            let result = match file {
                None => output::print(&text),
                Some(file) => output::write(file, &text).inspect_err(|_| {
                    // The error of the file matters more than one of standard output.
                    let _ = output::print(&text);
                }),
            };
            written = written.and(result);
        }
        written
    }

    /// Writes the result of `find-max` or `sweep` everywhere.
    ///
    /// # Errors
    /// The first error. The result is written to the other places all the same, unless a format is not one for it.
    pub(crate) fn write_sweep(
        &self,
        headline: &str,
        highest: Option<f64>,
        probes: &[Probe],
    ) -> io::Result<()> {
        let mut written = Ok(());
        let lists = match io::stdout().is_terminal() && io::stderr().is_terminal() && !self.is_quiet
        {
            true => Lists::SeenAlready,
            false => Lists::Written,
        };
        for Output { file, format } in &self.outputs {
            let lists = match file {
                None => lists,
                Some(_) => Lists::Written,
            };
            let text = render_sweep(headline, highest, probes, *format, lists);
            let text = text.map_err(io::Error::other)?;
            let result = match file {
                None => output::print(&text),
                Some(file) => output::write(file, &text),
            };
            written = written.and(result);
        }
        written
    }
}

fn render(report: &Report, format: Format, style: Style, detail: Detail) -> Result<String, String> {
    let described = |error: HistogramError| error.to_string();
    Ok(match format {
        Format::Text => text::render(report, style, detail),
        Format::Json => report.to_json(),
        Format::Csv => csv::render(report),
        Format::Html => html::render(report, None),
        Format::Hdr => {
            let all = report.latency.get("all").ok_or("nothing was measured")?;
            hdr::percentiles(&all.response).map_err(described)?
        }
        Format::Hlog => hdr::interval_log(report).map_err(described)?,
    })
}

fn render_sweep(
    headline: &str,
    highest: Option<f64>,
    probes: &[Probe],
    format: Format,
    lists: Lists,
) -> Result<String, String> {
    let points = probes.iter().map(|probe| SweepPoint::of(&probe.report));
    let sweep = Sweep {
        points: points.collect(),
    };
    let best = best(highest, probes).ok_or("there was no run")?;
    Ok(match format {
        Format::Text => {
            let headline = wrapped(headline.split(' ').map(str::to_owned), " ", WIDTH).join("\n");
            let lines: Vec<String> = probes.iter().map(ToString::to_string).collect();
            match lists {
                Lists::Written => format!("{}\n\n{headline}\n", lines.join("\n")),
                Lists::SeenAlready => format!("\n{headline}\n"),
            }
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
        Format::Csv | Format::Hdr | Format::Hlog => {
            return Err("find-max and sweep write text, json or html".to_owned());
        }
    })
}

/// Returns the run whose charts are shown: the last that held the result; of a sweep, which has no result, that of the highest
/// rate that held. If none did, the first one: the lowest rate of a sweep.
fn best(highest: Option<f64>, probes: &[Probe]) -> Option<&Probe> {
    let held = probes.iter().filter(|probe| probe.holds());
    let held = held.filter(|probe| highest.is_none_or(|highest| probe.rate == highest));
    held.max_by(|one, other| one.rate.total_cmp(&other.rate))
        .or(probes.first())
}

/// Prints a result on standard output. Returns the exit code 0.
pub(crate) fn print(text: &str) -> Result<i32, RunError> {
    output::print(text).map_err(|error| RunError::Failed(error.to_string()))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// A sweep whose last two rates were too much.
    fn probes() -> Vec<Probe> {
        let probe = |rate: f64, completed: f64| {
            let mut report = sample::empty_report();
            report.ops_per_second = completed;
            Probe::new(rate, report)
        };
        [
            (100.0, 100.0),
            (200.0, 200.0),
            (300.0, 210.0),
            (400.0, 190.0),
        ]
        .map(|(rate, completed)| probe(rate, completed))
        .into()
    }

    #[test]
    fn the_charts_are_those_of_the_highest_rate_that_held() {
        let probes = probes();
        let rate = |highest, probes: &[Probe]| best(highest, probes).map(|probe| probe.rate);
        assert_eq!(rate(None, &probes), Some(200.0));
        assert_eq!(rate(Some(100.0), &probes), Some(100.0));
        // If none held, the lowest.
        assert_eq!(rate(None, &probes[2..]), Some(300.0));
        assert_eq!(rate(None, &[]), None);
    }

    #[test]
    fn a_list_that_the_terminal_has_shown_is_not_written_again() {
        let text = |lists| render_sweep("4 rates", None, &probes(), Format::Text, lists).unwrap();
        assert_eq!(text(Lists::SeenAlready), "\n4 rates\n");
        let whole = text(Lists::Written);
        assert_eq!(whole.matches("/s  p99").count(), 4, "{whole}");
        assert!(whole.ends_with("\n\n4 rates\n"), "{whole}");
    }
}
