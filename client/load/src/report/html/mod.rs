//! The report as one HTML file with plots: nothing is fetched, by whoever opens it, from anywhere.
//!
//! What can be read stands in tables, written here. The plots are drawn in the browser by `report.js`, from figures that
//! are written into the page.

mod data;
mod overview;
mod tables;
mod texts;

use crate::report::model::Report;
use crate::report::sweep::Sweep;
use overview::{notices, plots, subtitle, tiles};
use texts::escaped;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// The whole page. With a `sweep` it also has its curve; `report` is then the run that it is about.
pub(crate) fn render(report: &Report, sweep: Option<&Sweep>) -> String {
    let title = match &report.name {
        Some(name) => format!("{name} - soloist-load"),
        None => "soloist-load".to_owned(),
    };
    let heading = report.name.as_deref().unwrap_or("soloist-load");
    let parts = [
        ("{{title}}", escaped(&title)),
        ("{{style}}", STYLE.to_owned()),
        ("{{heading}}", escaped(heading)),
        ("{{subtitle}}", subtitle(report)),
        ("{{tiles}}", tiles(report)),
        ("{{notices}}", notices(report)),
        ("{{plots}}", plots(report, sweep)),
        ("{{tables}}", tables::render(report, sweep)),
        ("{{data}}", data::json(report, sweep)),
        ("{{script}}", SCRIPT.to_owned()),
    ];
    fill(PAGE, &parts)
}

/// Puts each part where its name stands, in one go: what a part says is never taken for a name.
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
            .expect("the page names only parts that there are");
        filled.push_str(part);
        rest = &rest[name.len()..];
    }
    filled + rest
}

#[cfg(test)]
mod tests;
