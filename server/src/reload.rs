//! Reads files again when their contents have changed, or when it is told to, on a thread of its own.
//!
//! The contents are compared, and nothing watches the file system: Kubernetes replaces files by changing a symbolic link.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use std::{fs, io, thread};

use tokio::sync::watch;
use tracing::{error, info};

use crate::access::Access;
use crate::config::{Config, TlsConfig};
use crate::metrics::{ReloadCells, Reloads};
use crate::transport::{Tls, TlsFiles};

/// Makes a server look at its files at once. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reload(Option<SyncSender<Request>>);

/// Takes the outcome of a request.
type Request = SyncSender<Result<bool, String>>;

impl Reload {
    /// Makes the server look at its files, and waits until new calls and connections use what is in them. The log tells what
    /// came of it.
    ///
    /// Returns whether any file had changed; `None` if the server has no file to look at.
    ///
    /// # Errors
    /// Why files cannot be used: the old ones stay in use.
    pub fn now(&self) -> Option<Result<bool, String>> {
        let requests = self.0.as_ref()?;
        let (sender, outcome) = sync_channel(1);
        // The thread ends only after the last sender.
        requests.send(sender).ok()?;
        outcome.recv().ok()
    }
}

/// What the files say, and what they say next.
#[derive(Debug)]
pub(crate) struct Files {
    /// None if the server speaks no TLS.
    pub(crate) tls: Option<watch::Receiver<Arc<Tls>>>,
    /// None if there is no access file.
    pub(crate) access: Option<watch::Receiver<Arc<Access>>>,
}

/// Files that are taken together, or not at all.
trait Source: Send {
    /// What to log when they were taken.
    fn taken(&self) -> String;

    /// Looks at the files, and uses them if they have changed. Returns whether they have.
    fn look(&mut self) -> Result<bool, String>;
}

/// A source, and what its files say.
type Started<S, T> = (S, watch::Receiver<Arc<T>>);

/// The files of the TLS flags.
struct TlsSource {
    config: TlsConfig,
    /// The files in use.
    files: TlsFiles,
    tls: watch::Sender<Arc<Tls>>,
}

/// The access file.
struct AccessSource {
    path: PathBuf,
    /// The contents in use.
    contents: String,
    access: watch::Sender<Arc<Access>>,
}

/// A source, and the last of its errors that was logged: an operator need not read it every few seconds.
struct Watched {
    source: Box<dyn Source>,
    cells: Arc<ReloadCells>,
    logged: Option<String>,
}

/// Reads the files, and starts to look for new contents, until every [`Reload`] is dropped.
///
/// # Errors
/// `InvalidInput` if a file cannot be used. The system's error if no thread can be started.
pub(crate) fn start(config: &Config, reloads: &Reloads) -> io::Result<(Files, Reload)> {
    let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidInput, error);
    let mut watched = Vec::new();
    let mut add = |what, source: Box<dyn Source>| {
        watched.push(Watched {
            source,
            cells: reloads.add(what),
            logged: None,
        });
    };
    let tls = TlsSource::start(&config.tls).map_err(invalid)?;
    let tls = tls.map(|(source, in_use)| {
        add("certificates", Box::new(source));
        in_use
    });
    let access = config.access.file.as_deref().map(AccessSource::start);
    let access = access.transpose().map_err(invalid)?;
    let access = access.map(|(source, in_use)| {
        add("access_file", Box::new(source));
        in_use
    });
    let files = Files { tls, access };
    if watched.is_empty() {
        return Ok((files, Reload(None)));
    }
    let interval = config.tls.reload_interval;
    let (sender, requests) = sync_channel(1);
    thread::Builder::new()
        .name("reload".into())
        .spawn(move || run(&mut watched, interval, &requests))?;
    Ok((files, Reload(Some(sender))))
}

/// Checks that the files that the configuration names can be read, and used.
///
/// # Errors
/// What is wrong with the first that cannot be used, with its flag and its path.
pub fn check_files(config: &Config) -> Result<(), String> {
    TlsSource::start(&config.tls)?;
    let access = config.access.file.as_deref().map(AccessSource::start);
    access.transpose().map(drop)
}

fn run(watched: &mut [Watched], interval: Duration, requests: &Receiver<Request>) {
    loop {
        let request = match requests.recv_timeout(interval) {
            Ok(request) => Some(request),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let asked = request.is_some();
        // Each is looked at, even if another cannot be used.
        let outcomes: Vec<_> = watched.iter_mut().map(|it| it.look(asked)).collect();
        let outcome = outcomes
            .into_iter()
            .try_fold(false, |any, outcome| Ok(any | outcome?));
        if asked && outcome == Ok(false) {
            info!("nothing to reload: the files have not changed");
        }
        if let Some(request) = request {
            let _ = request.send(outcome);
        }
    }
}

impl Watched {
    fn look(&mut self, asked: bool) -> Result<bool, String> {
        let outcome = self.source.look();
        match &outcome {
            Ok(true) => self.cells.taken(),
            Ok(false) => self.cells.success.set(1),
            Err(_) => self.cells.success.set(0),
        }
        match &outcome {
            Ok(true) => info!(target: "audit", "{}", self.source.taken()),
            Ok(false) => {}
            Err(error) if !asked && self.logged.as_ref() == Some(error) => {}
            Err(error) => error!("not reloaded, and the old files stay in use: {error}"),
        }
        self.logged = outcome.clone().err();
        outcome
    }
}

impl TlsSource {
    fn start(config: &TlsConfig) -> Result<Option<Started<Self, Tls>>, String> {
        let files = TlsFiles::read(config).map_err(|error| error.to_string())?;
        let Some(files) = files else {
            return Ok(None);
        };
        let tls = files.load(config).map_err(|error| error.to_string())?;
        let (tls, in_use) = watch::channel(Arc::new(tls));
        let config = config.clone();
        let source = Self { config, files, tls };
        Ok(Some((source, in_use)))
    }
}

impl Source for TlsSource {
    fn taken(&self) -> String {
        "reloaded: the certificates of --tls-cert and the other files".into()
    }

    fn look(&mut self) -> Result<bool, String> {
        let files = TlsFiles::read(&self.config).map_err(|error| error.to_string())?;
        let Some(files) = files.filter(|files| *files != self.files) else {
            return Ok(false);
        };
        let tls = files
            .load(&self.config)
            .map_err(|error| error.to_string())?;
        self.files = files;
        self.tls.send_replace(Arc::new(tls));
        Ok(true)
    }
}

impl AccessSource {
    fn start(path: &Path) -> Result<Started<Self, Access>, String> {
        let contents = read(path)?;
        let (access, in_use) = watch::channel(Arc::new(parse(path, &contents)?));
        let path = path.to_path_buf();
        let source = Self {
            path,
            contents,
            access,
        };
        Ok((source, in_use))
    }
}

impl Source for AccessSource {
    fn taken(&self) -> String {
        let count = self.access.borrow().credential_count();
        format!("access reloaded: --access-file has {count} tokens and names of certificates")
    }

    fn look(&mut self) -> Result<bool, String> {
        let contents = read(&self.path)?;
        if contents == self.contents {
            return Ok(false);
        }
        let access = parse(&self.path, &contents)?;
        self.contents = contents;
        self.access.send_replace(Arc::new(access));
        Ok(true)
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("--access-file {}: {error}", path.display()))
}

fn parse(path: &Path, contents: &str) -> Result<Access, String> {
    Access::parse(contents).map_err(|error| format!("--access-file {}: {error}", path.display()))
}
