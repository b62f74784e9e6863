//! Writes reports to files and to standard output.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;

/// Checks, before a run, that the report can be written to `path` after it. Leaves no trace.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    let checked = Destination::of(path).and_then(|destination| match destination {
        Destination::File(path) => check_file(&path),
        // Opening a pipe would block until it has a reader.
        Destination::Special => Ok(()),
        Destination::Directory => Err(io::ErrorKind::IsADirectory.into()),
    });
    checked.map_err(|error| named(&path.display().to_string(), error))
}

fn check_file(path: &Path) -> io::Result<()> {
    // A file without write permission must not be replaced either.
    if path.exists() {
        OpenOptions::new().append(true).open(path)?;
    }
    // Removed at once: the run must not leave it behind, however it ends.
    Temporary::create(path).map(drop)
}

/// Writes `text` to the file. If that fails, an existing file stays as it was.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let written = Destination::of(path).and_then(|destination| match destination {
        Destination::File(path) => Temporary::create(&path)?.replace(&path, text),
        Destination::Special | Destination::Directory => fs::write(path, text),
    });
    written.map_err(|error| named(&path.display().to_string(), error))
}

/// Writes to standard output. It is not an error if the reader has closed the pipe.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| named("standard output", error)),
    }
}

fn named(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {what}: {error}"))
}

/// What a path names.
enum Destination {
    /// A regular file, which may not exist yet. Symbolic links are resolved, so that they stay.
    File(PathBuf),
    /// A pipe or a device, which is written to and not replaced.
    Special,
    Directory,
}

impl Destination {
    fn of(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(Self::Directory),
            Ok(metadata) if metadata.is_file() => Ok(Self::File(path.canonicalize()?)),
            Ok(_) => Ok(Self::Special),
            // Creating the file will tell whether that is possible.
            Err(_) => Ok(Self::File(path.to_owned())),
        }
    }
}

/// A file beside the one to write. Dropping this removes it.
struct Temporary {
    file: File,
    path: PathBuf,
}

impl Temporary {
    fn create(target: &Path) -> io::Result<Self> {
        let mut name = OsString::from(".");
        name.push(target.file_name().ok_or(io::ErrorKind::InvalidFilename)?);
        name.push(format!(".{}.tmp", process::id()));
        let path = target.with_file_name(name);
        let file = File::create_new(&path)?;
        Ok(Self { file, path })
    }

    fn replace(mut self, target: &Path, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        fs::rename(&self.path, target)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It was renamed already, or cannot be removed, and nobody could do anything about that.
        let _ = fs::remove_file(&self.path);
    }
}
