//! The inputs that are kept in the repository.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// Inputs of one file. With more, reading a diff of it is no work for people any more.
const INPUTS_MAX: usize = 120;

/// Longest input that is kept.
const INPUT_BYTES_MAX: usize = 160;

/// The corpus of one target.
pub(crate) struct Corpus {
    path: PathBuf,
    text: String,
    pub(crate) inputs: Vec<Vec<u8>>,
}

impl Corpus {
    /// Reads the file of a target; a target without one has no inputs yet.
    pub(crate) fn read(target: &str) -> Self {
        let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"));
        let path = path.join(format!("{target}.txt"));
        let text = fs::read_to_string(&path).unwrap_or_default();
        let inputs = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim())
            .filter(|line| !line.is_empty())
            .map(|line| {
                from_hex(line)
                    .unwrap_or_else(|| panic!("{}: not hexadecimal: {line}", path.display()))
            })
            .collect();
        Self { path, text, inputs }
    }

    /// Adds inputs, the shortest first, as long as there is room.
    pub(crate) fn keep(mut self, mut found: Vec<Vec<u8>>) {
        found.retain(|input| input.len() <= INPUT_BYTES_MAX && !input.is_empty());
        found.sort_by_key(Vec::len);
        found.dedup();
        let room = INPUTS_MAX.saturating_sub(self.inputs.len());
        for input in found
            .iter()
            .filter(|input| !self.inputs.contains(input))
            .take(room)
        {
            self.text.push_str(&hex(input));
            self.text.push('\n');
        }
        if let Err(error) = fs::write(&self.path, self.text) {
            panic!("cannot write {}: {error}", self.path.display());
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

pub(crate) fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex
        .chars()
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|two| two[0] << 4 | two[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_goes_both_ways() {
        assert_eq!(from_hex(&hex(&[0, 0x7f, 0xff])), Some(vec![0, 0x7f, 0xff]));
        assert_eq!(from_hex("123"), None);
        assert_eq!(from_hex("1x"), None);
    }
}
