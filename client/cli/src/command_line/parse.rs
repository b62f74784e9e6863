//! Values of flags.

use std::time::Duration;

/// Reads a time, such as 10s, 1m30s or 500ms.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; it must be a time, such as 10s, 1m30s or 500ms"))
}

/// Reads a time that is not 0.
pub(crate) fn positive(text: &str) -> Result<Duration, String> {
    let time = time(text)?;
    match time.is_zero() {
        true => Err("it must be more than 0".to_owned()),
        false => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(time("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(positive("500ms"), Ok(Duration::from_millis(500)));
        for (text, part) in [
            ("10", "such as 10s"),
            ("", "such as 10s"),
            ("0s", "more than 0"),
        ] {
            let error = positive(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
