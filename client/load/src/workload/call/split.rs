//! Splits the text of messages: a JSON array, JSON values one after the other (JSON Lines), or one value.
//!
//! The text may have placeholders, so that it becomes JSON only later. The pieces are found by their brackets and quotes.

/// Splits a text into one text for each message. Of a text that makes no sense something is left, which cannot be parsed.
pub(super) fn split(text: &str) -> Vec<&str> {
    let text = text.trim();
    match text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inner) => pieces(inner, b','),
        None => values(text),
    }
}

/// Splits at the separators that are within no bracket, string or placeholder.
fn pieces(text: &str, separator: u8) -> Vec<&str> {
    let mut found = Vec::new();
    let mut from = 0;
    let mut scanner = Scanner::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if scanner.is_between() && bytes[at] == separator {
            found.push(text[from..at].trim());
            from = at + 1;
        }
        at += scanner.step(&bytes[at..]);
    }
    let last = text[from..].trim();
    if !last.is_empty() || !found.is_empty() {
        found.push(last);
    }
    found
}

/// Splits values that follow each other, with or without space between them.
fn values(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut from = 0;
    let mut scanner = Scanner::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let was_within = !scanner.is_between();
        at += scanner.step(&bytes[at..]);
        if was_within && scanner.is_between() && scanner.ended_bracket {
            found.push(text[from..at].trim());
            from = at;
        }
    }
    let last = text[from..].trim();
    if !last.is_empty() {
        found.push(last);
    }
    found
}

/// Follows a text, and knows whether it is within a bracket or a string.
#[derive(Default)]
struct Scanner {
    depth: usize,
    is_in_string: bool,
    ended_bracket: bool,
}

impl Scanner {
    fn is_between(&self) -> bool {
        self.depth == 0 && !self.is_in_string
    }

    /// Takes the beginning of the rest. Returns how many bytes it took.
    fn step(&mut self, rest: &[u8]) -> usize {
        self.ended_bracket = false;
        // A placeholder is one piece, whatever is in it. In JSON two braces open nothing outside of a string.
        if rest.starts_with(b"{{")
            && let Some(end) = rest.windows(2).position(|of| of == b"}}")
        {
            return end + 2;
        }
        match (rest[0], self.is_in_string) {
            (b'\\', true) => return 2.min(rest.len()),
            (b'"', _) => self.is_in_string = !self.is_in_string,
            (b'{' | b'[', false) => self.depth += 1,
            (b'}' | b']', false) => {
                self.depth = self.depth.saturating_sub(1);
                self.ended_bracket = true;
            }
            _ => {}
        }
        1
    }
}
