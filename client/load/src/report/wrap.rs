//! Lines that fit into a terminal.

/// Columns of a terminal that the text fits into.
pub(crate) const WIDTH: usize = 80;

/// `parts` with `between` between them, on lines of at most `width` unless a part alone is longer.
pub(crate) fn wrapped(
    parts: impl Iterator<Item = String>,
    between: &str,
    width: usize,
) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in parts {
        let line = lines.last_mut().expect("there is one from the beginning");
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
