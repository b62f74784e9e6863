//! A comparison as Markdown, for issues and pull requests: GitHub's flavour, with tables.

use std::fmt::{self, Write};

use crate::report::compare::model::{Comparison, MetricVerdict};
use crate::report::printable::printable;

impl Comparison {
    /// Writes the comparison as Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let mut markdown = String::new();
        self.write_markdown(&mut markdown)
            .expect("a String takes everything");
        markdown
    }

    fn write_markdown(&self, out: &mut String) -> fmt::Result {
        let (verdict, explanation) = self.conclusion();
        writeln!(out, "**{verdict}{explanation}**\n")?;
        for difference in &self.differences {
            writeln!(
                out,
                "> [!WARNING]\n> different: {}\n",
                escaped(&difference.to_string())
            )?;
        }
        for warning in &self.warnings {
            writeln!(out, "> [!WARNING]\n> {}\n", escaped(warning))?;
        }
        head(
            out,
            &[
                "median",
                "verdict",
                "A",
                "B",
                "change",
                "95% confidence",
                "p",
            ],
            2,
        )?;
        for metric in &self.metrics {
            let verdict = match metric.verdict {
                MetricVerdict::Better | MetricVerdict::Worse => {
                    format!("**{}**", self.verdict_text(metric))
                }
                _ => self.verdict_text(metric),
            };
            let cells = [
                escaped(&metric.metric),
                verdict,
                metric.value(metric.median_a),
                metric.value(metric.median_b),
                metric.change_text(),
                metric.interval_text(),
                metric.p_text(),
            ];
            row(out, cells)?;
        }
        let method = self.method().join(" ").replace("<=", "&le;");
        writeln!(out, "\n<sub>{}. {method}</sub>", self.sides())
    }
}

/// Writes the head of a table. The first `texts` columns have texts, the others have numbers.
fn head(out: &mut String, columns: &[&str], texts: usize) -> fmt::Result {
    row(out, columns.iter().map(|column| (*column).to_owned()))?;
    let rule = |index| match index < texts {
        true => "---",
        false => "---:",
    };
    row(out, (0..columns.len()).map(|index| rule(index).to_owned()))
}

fn row(out: &mut String, cells: impl IntoIterator<Item = String>) -> fmt::Result {
    for cell in cells {
        write!(out, "| {cell} ")?;
    }
    writeln!(out, "|")
}

/// Puts a text on one line, and escapes everything that has a meaning in Markdown or HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in printable(text).chars() {
        match char {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(char);
            }
            // Otherwise GitHub would notify the person whose name follows.
            '@' => escaped.push_str("@\u{200b}"),
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::compare::{Options, compare};
    use crate::report::sample;

    fn comparison() -> Comparison {
        let mut other = sample::report();
        other.settings.insert("a|b".to_owned(), "c\n| d".into());
        other.warnings.push("<script>alert(1)</script>".to_owned());
        let options = Options {
            resamples: 10,
            ..Options::default()
        };
        compare(&[sample::report()], &[other], &options).unwrap()
    }

    #[test]
    fn every_row_of_a_table_has_as_many_cells_as_its_head() {
        let markdown = comparison().to_markdown();
        let mut columns = None;
        let mut tables = 0;
        for line in markdown.lines() {
            let cells = line.replace("\\|", "").matches('|').count();
            match (cells, columns) {
                (0, _) => columns = None,
                (cells, None) => {
                    columns = Some(cells);
                    tables += 1;
                }
                (cells, Some(head)) => assert_eq!(cells, head, "{line}"),
            }
        }
        assert_eq!(tables, 1, "{markdown}");
    }

    #[test]
    fn texts_from_elsewhere_are_escaped() {
        let markdown = comparison().to_markdown();
        assert!(markdown.contains("&lt;script&gt;alert"), "{markdown}");
        assert!(!markdown.contains("<script>"), "{markdown}");
        assert_eq!(
            escaped("`a` [x](y) @me\n# no"),
            "\\`a\\` \\[x\\](y) @\u{200b}me \\# no"
        );
    }
}
