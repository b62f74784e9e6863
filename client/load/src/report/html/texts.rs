//! Texts and figures as HTML.

use std::fmt;

use crate::report::numbers;

/// As elsewhere, but a page can have the sign that a terminal may not.
pub(super) fn latency(us: Option<f64>) -> String {
    with_sign(&numbers::latency(us))
}

pub(super) fn with_sign(text: &str) -> String {
    text.replace(" us", " \u{b5}s")
}

/// As text between tags, and within quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            char => escaped.push(char),
        }
    }
    escaped
}

/// Shown as it is, escaped.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(self.0))
    }
}
