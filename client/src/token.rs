//! The token of a client, which is in a file and may be replaced at any time.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::HeaderValue;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::Error;
use crate::files::{FileError, off_the_runtime, read, shutting_down};

/// How often the file of a token is looked at, while there are calls.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a call waits for the file. A file system that does not answer must not end calls whose token is still good.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// The largest file that is read: servers take no longer headers by default (`Limits.max_header_bytes`).
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// The method of the builder that names the file.
const TOKEN_FILE: &str = "token_file";

/// A token that calls bear, read again from its file while there are calls. Cheap to clone.
pub(crate) struct Token {
    file: Arc<TokenFile>,
    /// What a call waits for, because the file is being read again.
    reading: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

struct TokenFile {
    path: PathBuf,
    last: watch::Sender<Last>,
    /// The file is being read: by one thread, even if that never ends.
    under_way: AtomicBool,
}

/// What was last read.
struct Last {
    at: Instant,
    /// The header with the token.
    header: HeaderValue,
}

impl Token {
    /// Reads the file.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a file that cannot be used.
    pub(crate) async fn open(path: PathBuf) -> Result<Self, Error> {
        let reading = off_the_runtime({
            let path = path.clone();
            move || read_token(&path)
        });
        let header = reading.await.map_err(|error| shutting_down(&error))??;
        let at = Instant::now();
        let file = Arc::new(TokenFile {
            path,
            last: watch::Sender::new(Last { at, header }),
            under_way: AtomicBool::new(false),
        });
        Ok(Self {
            file,
            reading: None,
        })
    }

    /// Waits until the token is that of the file, as of a second ago or less.
    pub(crate) fn poll_fresh(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.reading.is_none() && self.file.is_due() {
            self.reading = Some(Box::pin(Arc::clone(&self.file).read_again()));
        }
        if let Some(reading) = &mut self.reading {
            ready!(reading.as_mut().poll(cx));
            self.reading = None;
        }
        Poll::Ready(())
    }

    /// The header with the token.
    pub(crate) fn header(&self) -> HeaderValue {
        self.file.last.borrow().header.clone()
    }
}

impl Clone for Token {
    fn clone(&self) -> Self {
        Self {
            file: Arc::clone(&self.file),
            reading: None,
        }
    }
}

/// Without the token.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.file.path.display())
    }
}

impl TokenFile {
    fn is_due(&self) -> bool {
        self.last.borrow().at.elapsed() >= INTERVAL
    }

    /// Waits until the file has been read again, by a thread of its own. A file that cannot be read leaves the last token in
    /// use.
    async fn read_again(self: Arc<Self>) {
        let mut last = self.last.subscribe();
        if !self.is_due() {
            return;
        }
        if !self.under_way.swap(true, Ordering::AcqRel) {
            let file = Arc::clone(&self);
            spawn_blocking(move || {
                let read = read_token(&file.path);
                file.now_is(read.ok());
                file.under_way.store(false, Ordering::Release);
            });
        }
        if timeout(READ_TIMEOUT, last.changed()).await.is_err() {
            self.now_is(None);
        }
    }

    fn now_is(&self, header: Option<HeaderValue>) {
        self.last.send_modify(|last| {
            last.at = Instant::now();
            if let Some(header) = header {
                last.header = header;
            }
        });
    }
}

/// Reads the header with the token of a file.
///
/// # Errors
/// If the file cannot be read, or has no token. The error does not name the file.
pub fn read_token_file(path: &Path) -> io::Result<HeaderValue> {
    read_token(path).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.why()))
}

fn read_token(path: &Path) -> Result<HeaderValue, FileError> {
    let bad = |why| FileError::new(TOKEN_FILE, path, why);
    let contents = read(TOKEN_FILE, path, FILE_BYTES_MAX)?;
    let text = std::str::from_utf8(&contents).unwrap_or("\n").trim();
    if contents.trim_ascii().is_empty() {
        return Err(bad("the file is empty: it must hold one token"));
    }
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err(bad(
            "not a token: it must be one line of text without spaces",
        ));
    }
    let header = HeaderValue::from_str(&format!("Bearer {text}"));
    let mut header = header.map_err(|_| bad("not a token: it must be one line of text"))?;
    header.set_sensitive(true);
    Ok(header)
}
