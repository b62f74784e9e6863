//! Texts from elsewhere, such as keys, on a terminal.

use std::fmt::Write as _;

/// Whether a terminal shows a character as it is: neither a control character, nor one that changes the direction of what follows.
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(to: &mut String, c: char) {
    match c {
        '\n' => to.push_str("\\n"),
        '\r' => to.push_str("\\r"),
        '\t' => to.push_str("\\t"),
        c if u32::from(c) < 0x100 => {
            let _ = write!(to, "\\x{:02x}", u32::from(c));
        }
        c => {
            let _ = write!(to, "\\u{{{:x}}}", u32::from(c));
        }
    }
}

/// A text on one line: as it is, or in quotes and escaped if it would be mistaken for something else.
pub(crate) fn on_one_line(text: &str) -> String {
    let is_plain = !text.is_empty()
        && text.chars().all(is_shown)
        && !text.starts_with(['"', ' '])
        && !text.ends_with(' ')
        && !text.starts_with("0x")
        && text.parse::<i64>().is_err();
    if is_plain {
        return text.to_owned();
    }
    quoted(text)
}

/// A text in quotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if is_shown(c) => quoted.push(c),
            c => escape(&mut quoted, c),
        }
    }
    quoted.push('"');
    quoted
}

/// A key: its name, with control characters escaped.
pub(crate) fn key(text: &str) -> String {
    match text.chars().all(is_shown) {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// A text with its lines, and everything else that controls a terminal escaped.
pub(crate) fn lines(text: &str) -> String {
    let mut lines = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\t' => lines.push(c),
            c if is_shown(c) => lines.push(c),
            c => escape(&mut lines, c),
        }
    }
    lines
}

/// Bytes that may be text.
pub(crate) fn bytes_on_terminal(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        shown.push_str(&lines(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// The first bytes in hexadecimal, and how many there are if these are not all.
pub(crate) fn hex(bytes: &[u8], most: usize) -> String {
    let mut hex = String::from("0x");
    for byte in bytes.iter().take(most) {
        let _ = write!(hex, "{byte:02x}");
    }
    if bytes.len() > most {
        let _ = write!(hex, "… ({} bytes)", bytes.len());
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_elsewhere_controls_a_terminal() {
        for text in ["a\x1b[31m", "a\nb", "a\u{202e}b", "\u{9b}1m", "a\u{7f}"] {
            for shown in [key(text), on_one_line(text), quoted(text)] {
                assert!(shown.chars().all(is_shown), "{shown:?}");
            }
            let shown = bytes_on_terminal(text.as_bytes());
            assert!(shown.replace('\n', "").chars().all(is_shown), "{shown:?}");
        }
        assert_eq!(bytes_on_terminal(b"a\xff\x1b"), "a\\xff\\x1b");
    }

    #[test]
    fn a_text_is_in_quotes_where_it_could_be_something_else() {
        for (text, shown) in [
            ("green", "green"),
            ("two words", "two words"),
            ("42", "\"42\""),
            ("-7", "\"-7\""),
            ("", "\"\""),
            (" a", "\" a\""),
            ("0x00", "\"0x00\""),
            ("\"a\"", "\"\\\"a\\\"\""),
            ("a\tb", "\"a\\tb\""),
        ] {
            assert_eq!(on_one_line(text), shown);
        }
    }

    #[test]
    fn long_bytes_are_cut() {
        assert_eq!(hex(&[0, 255], 2), "0x00ff");
        assert_eq!(hex(&[0, 255, 1], 2), "0x00ff… (3 bytes)");
    }
}
