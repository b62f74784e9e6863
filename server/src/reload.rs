//! Reads files again when their contents have changed, or when it is told to, on a thread of its own.
//!
//! The contents are compared, and nothing watches the file system: Kubernetes replaces files by changing a symbolic link.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::{io, thread};

use tokio::sync::watch;
use tracing::{error, info};

use crate::config::TlsConfig;
use crate::transport::{Tls, TlsError, TlsFiles};

/// Makes a server look at its files at once. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reload(Option<SyncSender<Request>>);

/// Takes the outcome of a request.
type Request = SyncSender<Result<bool, String>>;

impl Reload {
    /// Makes the server look at its files, and waits until new connections use what is in them. The log tells what came of it.
    ///
    /// Returns whether the files had changed; `None` if the server has no file to look at.
    ///
    /// # Errors
    /// Why the files cannot be used: the old ones stay in use.
    pub fn now(&self) -> Option<Result<bool, String>> {
        let requests = self.0.as_ref()?;
        let (sender, outcome) = sync_channel(1);
        // The thread ends only after the last sender.
        requests.send(sender).ok()?;
        outcome.recv().ok()
    }
}

/// What is read again.
struct Reloader {
    config: TlsConfig,
    /// The files in use.
    files: TlsFiles,
    tls: watch::Sender<Arc<Tls>>,
    /// The last error that was logged: an operator need not read it every few seconds.
    logged: Option<String>,
}

/// Reads the files, and starts to look for new contents, until every [`Reload`] is dropped. None if the server speaks no TLS.
///
/// # Errors
/// `InvalidInput` if a file cannot be used. The system's error if no thread can be started.
pub(crate) fn start(config: &TlsConfig) -> io::Result<(Option<watch::Receiver<Arc<Tls>>>, Reload)> {
    let invalid = |error: TlsError| io::Error::new(io::ErrorKind::InvalidInput, error);
    let Some(files) = TlsFiles::read(config).map_err(invalid)? else {
        return Ok((None, Reload(None)));
    };
    let (tls, in_use) = watch::channel(Arc::new(files.load(config).map_err(invalid)?));
    let reloader = Reloader {
        config: config.clone(),
        files,
        tls,
        logged: None,
    };
    let (sender, requests) = sync_channel(1);
    thread::Builder::new()
        .name("reload".into())
        .spawn(move || reloader.run(&requests))?;
    Ok((Some(in_use), Reload(Some(sender))))
}

impl Reloader {
    fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let request = match requests.recv_timeout(self.config.reload_interval) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let outcome = self.look().map_err(|error| error.to_string());
            self.log(&outcome, request.is_some());
            if let Some(request) = request {
                let _ = request.send(outcome);
            }
        }
    }

    fn log(&mut self, outcome: &Result<bool, String>, asked: bool) {
        match outcome {
            Ok(true) => info!("reloaded: the certificates of --tls-cert and the other files"),
            Ok(false) if asked => info!("nothing to reload: the files have not changed"),
            Ok(false) => {}
            Err(error) if !asked && self.logged.as_ref() == Some(error) => {}
            Err(error) => error!("not reloaded, and the old files stay in use: {error}"),
        }
        self.logged = outcome.clone().err();
    }

    /// Looks at the files, and uses them if they have changed. Returns whether they have.
    fn look(&mut self) -> Result<bool, TlsError> {
        let Some(files) = TlsFiles::read(&self.config)? else {
            return Ok(false);
        };
        if files == self.files {
            return Ok(false);
        }
        let tls = files.load(&self.config)?;
        self.files = files;
        self.tls.send_replace(Arc::new(tls));
        Ok(true)
    }
}
