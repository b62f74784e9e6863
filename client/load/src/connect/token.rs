//! A file with a token, which may be replaced during a run.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use soloist_client::shared::read_token;
use tonic::metadata::AsciiMetadataValue;

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The token of a file.
pub(crate) struct Token {
    path: PathBuf,
    last: Mutex<Last>,
    /// Counts the tokens that the file has had.
    version: AtomicU64,
}

struct Last {
    /// When the file was looked at.
    at: Instant,
    header: AsciiMetadataValue,
}

impl Token {
    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read, or has no token.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let header =
            read(path).map_err(|error| format!("--token-file {}: {error}", path.display()))?;
        let at = Instant::now();
        Ok(Self {
            path: path.to_owned(),
            last: Mutex::new(Last { at, header }),
            version: AtomicU64::new(0),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The header with the token.
    pub(crate) fn header(&self) -> AsciiMetadataValue {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.header.clone()
    }

    /// Returns a number that changes with the token.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Reads the file again if it is time to. A file that cannot be read leaves the last token in use.
    pub(crate) fn refresh(&self, now: Instant) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(last.at) < INTERVAL {
            return;
        }
        last.at = now;
        if let Ok(header) = read(&self.path)
            && header != last.header
        {
            last.header = header;
            self.version.fetch_add(1, Ordering::Release);
        }
    }
}

fn read(path: &Path) -> io::Result<AsciiMetadataValue> {
    let header = read_token(path)?;
    let value = AsciiMetadataValue::try_from(header.as_bytes());
    let mut value = value.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Without the token.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_was_replaced_is_used_after_a_second() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "one\n").unwrap();
        let token = Token::open(&path).unwrap();
        let opened = Instant::now();
        let is = |bearer: &str| token.header().to_str().unwrap() == format!("Bearer {bearer}");
        assert!(is("one"));
        std::fs::write(&path, "two\n").unwrap();
        token.refresh(opened);
        assert!(is("one") && token.version() == 0);
        token.refresh(opened + INTERVAL);
        assert!(is("two") && token.version() == 1);
        // A file that is being replaced.
        std::fs::write(&path, "").unwrap();
        token.refresh(opened + 3 * INTERVAL);
        assert!(is("two") && token.version() == 1);
        assert!(!format!("{token:?}").contains("two"));
    }
}
