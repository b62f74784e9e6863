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
