//! The forms of a report, and of a comparison.

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
    /// Returns the form that the extension of a file's name stands for.
    pub(crate) fn of_file(path: &std::path::Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "txt" => Some(Self::Text),
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "html" | "htm" => Some(Self::Html),
            "hgrm" => Some(Self::Hdr),
            "hlog" => Some(Self::Hlog),
            _ => None,
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
