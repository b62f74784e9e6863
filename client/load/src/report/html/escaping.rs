//! Texts and latencies in HTML.

use std::fmt;

use crate::report::numbers;

/// Formats a latency, with a proper sign for microseconds.
pub(super) fn latency(us: Option<f64>) -> String {
    with_micro_sign(&numbers::latency(us))
}

/// Gives microseconds their proper sign, which a terminal may not have.
pub(super) fn with_micro_sign(text: &str) -> String {
    text.replace(" us", " \u{b5}s")
}

/// Escapes a text, for use between tags and in quoted attributes.
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

/// A text that is escaped when it is formatted.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(self.0))
    }
}
