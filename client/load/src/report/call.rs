//! The part of a report that is about a method that the user named, for people.

use std::cmp::Reverse;

use crate::report::figures::summary;
use crate::report::model::{CallReport, MessagesReport, StreamReport};
use crate::report::numbers::{counted, grouped, rate};

impl MessagesReport {
    /// Returns the sizes of several reports together.
    pub(crate) fn sum(parts: impl Iterator<Item = Self>) -> Self {
        parts
            .reduce(|one, other| Self {
                messages: one.messages + other.messages,
                bytes: one.bytes + other.bytes,
                min_bytes: match (one.messages, other.messages) {
                    (0, _) => other.min_bytes,
                    (_, 0) => one.min_bytes,
                    _ => one.min_bytes.min(other.min_bytes),
                },
                max_bytes: one.max_bytes.max(other.max_bytes),
            })
            .unwrap_or_default()
    }

    /// Returns the sizes for people: `12 B`, or `10 to 14 B, 12.1 on average`.
    pub(crate) fn shown(&self) -> String {
        match (self.messages, self.min_bytes == self.max_bytes) {
            (0, _) => "none".to_owned(),
            (_, true) => format!("{} B", self.min_bytes),
            (messages, false) => format!(
                "{} to {} B, {:.1} on average",
                self.min_bytes,
                self.max_bytes,
                self.bytes as f64 / messages as f64
            ),
        }
    }
}

impl CallReport {
    /// Returns the codes for people: `OK 12, NOT_FOUND 3`, the most frequent first.
    pub(crate) fn codes_shown(&self) -> String {
        let mut codes: Vec<_> = self.codes.iter().collect();
        codes.sort_by_key(|(_, count)| Reverse(**count));
        let shown: Vec<_> = codes
            .into_iter()
            .map(|(code, count)| format!("{code} {}", grouped(*count)))
            .collect();
        match shown.is_empty() {
            true => "none".to_owned(),
            false => shown.join(", "),
        }
    }

    /// Returns what was called: `package.Service/Method (unary)`.
    pub(crate) fn name_shown(&self) -> String {
        format!("{}/{} ({})", self.service, self.method, self.kind)
    }
}

impl StreamReport {
    /// Returns the counts and latencies for people, each with a label.
    pub(crate) fn shown(&self) -> [(&'static str, String); 3] {
        let messages = counted(self.messages, "message");
        [
            (
                "stream",
                format!("{messages}, {}/s", rate(self.messages_per_second)),
            ),
            ("first message", summary(&self.first_message)),
            ("last message", summary(&self.last_message)),
        ]
    }
}
