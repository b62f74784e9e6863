//! Texts from elsewhere, which must not control the terminal.

/// Replaces control characters by blanks.
pub(crate) fn printable(text: &str) -> String {
    let keep = |char: char| match char.is_control() {
        true => ' ',
        false => char,
    };
    text.trim_end().chars().map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(printable("red\x1b[31m\nnext\r\n"), "red [31m next");
    }
}
