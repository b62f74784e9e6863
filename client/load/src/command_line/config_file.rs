//! Flags from a TOML file: each `name = value` becomes the flag of that name. They stand before the flags of the command
//! line, which therefore override them.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs;

/// The largest file that is read, in bytes. The flags of a run take some hundred.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Inserts the flags of the file that `--config` names, if there is one, before the other flags.
///
/// # Errors
/// If the file cannot be read, is too large, or has a value that no flag takes. The text names the file.
pub(crate) fn expand(words: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let Some(path) = path_of(&words) else {
        return Ok(words);
    };
    let flags =
        read(&path).map_err(|error| format!("--config {}: {error}", path.to_string_lossy()))?;
    // The program's name and a subcommand stay in front.
    let is_command = words
        .get(1)
        .and_then(|word| word.to_str())
        .is_some_and(|word| !word.starts_with('-') && !word.contains(':'));
    let front = if is_command { 2 } else { 1 };
    let mut expanded = words;
    let at = front.min(expanded.len());
    expanded.splice(at..at, flags.into_iter().map(OsString::from));
    Ok(expanded)
}

/// Returns the value of `--config`.
fn path_of(words: &[OsString]) -> Option<OsString> {
    words.iter().enumerate().find_map(|(index, word)| {
        let word = word.to_str()?;
        match word.strip_prefix("--config") {
            Some("") => words.get(index + 1).cloned(),
            Some(rest) => rest.strip_prefix('=').map(OsString::from),
            None => None,
        }
    })
}

fn read(path: &OsStr) -> Result<Vec<String>, String> {
    let text = |error: &dyn Display| error.to_string();
    let bytes = fs::metadata(path).map_err(|error| text(&error))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!(
            "the file must have at most {FILE_BYTES_MAX} bytes, not {bytes}"
        ));
    }
    let toml = fs::read_to_string(path).map_err(|error| text(&error))?;
    flags_of(&toml)
}

/// Returns a word `--name=value` for each value. An array repeats its flag, `true` is a flag without a value, and `false`
/// is no flag.
fn flags_of(toml: &str) -> Result<Vec<String>, String> {
    let table: toml::Table = toml.parse().map_err(|error: toml::de::Error| {
        // The message alone: the Display of the error has several lines, with an excerpt of the file.
        error.message().to_owned()
    })?;
    let mut flags = Vec::new();
    for (name, value) in table {
        let values = match value {
            toml::Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            match value {
                toml::Value::Boolean(true) => flags.push(format!("--{name}")),
                toml::Value::Boolean(false) => {}
                toml::Value::String(text) => flags.push(format!("--{name}={text}")),
                toml::Value::Integer(number) => flags.push(format!("--{name}={number}")),
                toml::Value::Float(number) => flags.push(format!("--{name}={number}")),
                _ => return Err(format!("{name} must be text, a number, true or false")),
            }
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_a_file_come_before_flags_of_the_command_line() {
        let path = std::env::temp_dir().join(format!("soloist-load-{}.toml", std::process::id()));
        fs::write(
            &path,
            "rps = 1000\nslo = [\"p99<5ms\", \"max<1s\"]\nverify = true\nquiet = false\n",
        )
        .unwrap();
        let file = path.to_str().unwrap();
        let expand = |line: String| -> Vec<String> {
            let words = line.split(' ').map(OsString::from).collect();
            let words = super::expand(words).unwrap().into_iter();
            words.map(|word| word.into_string().unwrap()).collect()
        };
        let flags = ["--rps=1000", "--slo=p99<5ms", "--slo=max<1s", "--verify"];
        let line = expand(format!("load --config {file} -r 5"));
        assert_eq!(line[1..5], flags);
        assert_eq!(line[5..], ["--config", file, "-r", "5"]);
        let line = expand(format!("load find-max --config={file}"));
        assert_eq!(
            (line[1].as_str(), &line[2..6]),
            ("find-max", &flags.map(str::to_owned)[..])
        );
        let line = expand(format!("load a:1 --config={file}"));
        assert_eq!(line[5], "a:1");
        fs::remove_file(&path).unwrap();
        let words = vec!["load".into(), format!("--config={file}").into()];
        assert!(super::expand(words).unwrap_err().contains(file));
    }

    #[test]
    fn a_value_that_no_flag_takes_is_refused() {
        for (text, part) in [
            ("a = {b = 1}", "a must be text"),
            ("a = [[1]]", "a must be text"),
            ("a 1", ""),
        ] {
            assert!(flags_of(text).unwrap_err().contains(part), "{text}");
        }
    }
}
