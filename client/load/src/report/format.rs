//! The forms of a report, and of a comparison.

use std::path::Path;

use clap::ValueEnum;

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON object.
    Json,
    /// A line for each interval.
    Csv,
    /// One page with plots, in a single file.
    Html,
    /// Percentiles, as HdrHistogram's plotter reads them.
    Hdr,
    /// A histogram for each interval, as HdrHistogram's log readers read them.
    Hlog,
}

impl Format {
    /// Returns the form that the extension of a file's name stands for. A name without an extension stands for text.
    ///
    /// # Errors
    /// If the extension stands for no form. The text names the file.
    pub(crate) fn of_file(path: &Path) -> Result<Self, String> {
        let Some(extension) = path.extension() else {
            return Ok(Self::Text);
        };
        match &*extension.to_string_lossy().to_ascii_lowercase() {
            "txt" | "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            "html" | "htm" => Ok(Self::Html),
            "hgrm" | "hdr" => Ok(Self::Hdr),
            "hlog" => Ok(Self::Hlog),
            other => Err(format!(
                "--output {}: no form of report has the extension .{other}; use .txt, .json, .csv, .html, .hgrm, .hdr or \
                 .hlog, or name the form with -O",
                path.display()
            )),
        }
    }
}

/// The form of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ComparisonFormat {
    /// For people.
    Text,
    /// For programs: one JSON object.
    Json,
    /// Tables, for issues and pull requests.
    Markdown,
}

/// The form of a calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CalibrationFormat {
    /// For people.
    Text,
    /// For programs: one JSON object.
    Json,
}
