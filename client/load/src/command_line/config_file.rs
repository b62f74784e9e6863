//! Flags from a file: each `name = value` of a TOML file becomes the flag of that name, before those of the command line,
//! which so have the last word.

use std::ffi::OsString;
use std::fs;

/// The largest file that is read: flags take some hundred bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Puts the flags of the file that `--config` names, if there is one, in front of the others.
pub(crate) fn expand(words: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let Some(path) = file_of(&words) else {
        return Ok(words);
    };
    let named =
        |error: &dyn std::fmt::Display| format!("--config {}: {error}", path.to_string_lossy());
    let bytes = fs::metadata(&path).map_err(|error| named(&error))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(named(&format!(
            "it has {bytes} bytes, and at most {FILE_BYTES_MAX} are read"
        )));
    }
    let text = fs::read_to_string(&path).map_err(|error| named(&error))?;
    let flags = flags_of(&text).map_err(|error| named(&error))?;
    // A subcommand stays first.
    let is_command = words
        .get(1)
        .and_then(|word| word.to_str())
        .is_some_and(|word| !word.starts_with('-') && !word.contains(':'));
    let at = if is_command { 2 } else { 1 };
    let (before, after) = words.split_at(at.min(words.len()));
    let flags = flags.into_iter().map(OsString::from);
    Ok(before
        .iter()
        .cloned()
        .chain(flags)
        .chain(after.iter().cloned())
        .collect())
}

fn file_of(words: &[OsString]) -> Option<OsString> {
    words.iter().enumerate().find_map(|(index, word)| {
        let word = word.to_str()?;
        match word.strip_prefix("--config") {
            Some("") => words.get(index + 1).cloned(),
            Some(rest) => rest.strip_prefix('=').map(OsString::from),
            None => None,
        }
    })
}

fn flags_of(text: &str) -> Result<Vec<String>, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // Its own form has several lines, with a picture.
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
                _ => return Err(format!("{name} is none of text, number, true or false")),
            }
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_a_file_come_before_those_of_the_line() {
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
    fn what_is_no_flag_is_named() {
        for (text, part) in [
            ("a = {b = 1}", "a is none of"),
            ("a = [[1]]", "a is none of"),
            ("a 1", ""),
        ] {
            assert!(flags_of(text).unwrap_err().contains(part), "{text}");
        }
    }
}
