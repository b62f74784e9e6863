//! Lines that fit a terminal.

/// The width of all texts for people, in columns.
pub(crate) const WIDTH: usize = 80;

/// Joins `parts` with `between` into lines of at most `width` columns. A longer part has a line of its own.
pub(crate) fn wrapped(
    parts: impl Iterator<Item = String>,
    between: &str,
    width: usize,
) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in parts {
        let line = lines.last_mut().expect("there is always a line");
        let longer = line.chars().count() + between.len() + part.chars().count();
        if line.is_empty() {
            line.push_str(&part);
        } else if longer + between.trim_end().len() <= width {
            line.push_str(between);
            line.push_str(&part);
        } else {
            line.push_str(between.trim_end());
            lines.push(part);
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// Breaks a line that is wider than `width` columns at blanks. The following lines have its indent, and two columns more.
pub(crate) fn broken(line: &str, width: usize) -> Vec<String> {
    if line.chars().count() <= width {
        return vec![line.to_owned()];
    }
    let text = line.trim_start();
    let indent = &line[..line.len() - text.len()];
    let words = text.split_whitespace().map(str::to_owned);
    let lines = wrapped(words, " ", width.saturating_sub(indent.len() + 2));
    let lines = lines.iter().enumerate().map(|(index, line)| match index {
        0 => format!("{indent}{line}"),
        _ => format!("{indent}  {line}"),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_and_keep_their_indent() {
        assert_eq!(broken("  a  short line", 20), ["  a  short line"]);
        assert_eq!(broken("  one two three", 12), ["  one two", "    three"]);
        assert_eq!(broken("unbreakable", 4), ["unbreakable"]);
    }
}
