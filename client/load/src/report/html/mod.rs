//! The report as one HTML file with plots. The page fetches nothing from anywhere.
//!
//! Tables and all other texts are written here. In the browser `report.js` draws the plots, from data in the page.

mod data;
mod escaping;
mod overview;
mod tables;

use crate::report::model::Report;
use crate::report::sweep::Sweep;
use escaping::escaped;
use overview::{notices, plots, subtitle, tiles, what, which};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// Writes the page of a run. With a `sweep` the page also has its curve, and `report` is the best of its runs.
pub(crate) fn render(report: &Report, sweep: Option<&Sweep>) -> String {
    let of = what(report, sweep);
    let (title, heading) = match &report.name {
        Some(name) => (format!("{name}: {of} - soloist-load"), name.clone()),
        None => (format!("{of} - soloist-load"), of),
    };
    let parts = [
        ("{{title}}", escaped(&title)),
        ("{{style}}", STYLE.to_owned()),
        ("{{heading}}", escaped(&heading)),
        ("{{subtitle}}", subtitle(report)),
        ("{{which}}", which(report, sweep)),
        ("{{tiles}}", tiles(report)),
        ("{{notices}}", notices(report)),
        ("{{plots}}", plots(report, sweep)),
        ("{{tables}}", tables::render(report, sweep)),
        ("{{data}}", data::json(report, sweep)),
        ("{{script}}", SCRIPT.to_owned()),
    ];
    fill(PAGE, &parts)
}

/// Replaces each name in the page by its part, in one pass, so that a name inside a part is not replaced.
fn fill(page: &str, parts: &[(&str, String)]) -> String {
    let mut filled =
        String::with_capacity(page.len() + parts.iter().map(|(_, part)| part.len()).sum::<usize>());
    let mut rest = page;
    while let Some(start) = rest.find("{{") {
        filled.push_str(&rest[..start]);
        rest = &rest[start..];
        let (name, part) = parts
            .iter()
            .find(|(name, _)| rest.starts_with(name))
            .expect("the page only has names of parts");
        filled.push_str(part);
        rest = &rest[name.len()..];
    }
    filled + rest
}

#[cfg(test)]
mod tests;
