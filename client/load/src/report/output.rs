//! Where the report goes.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;

/// Finds out before a run whether the report could be written to `path` after it. Leaves no trace.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    let checked = Destination::of(path).and_then(|destination| match destination {
        Destination::File(path) => check_file(&path),
        // Opening a pipe would wait for its reader.
        Destination::Special => Ok(()),
        Destination::Directory => Err(io::ErrorKind::IsADirectory.into()),
    });
    checked.map_err(|error| named(&path.display().to_string(), error))
}

fn check_file(path: &Path) -> io::Result<()> {
    // A file that must not be written to is not to be replaced either.
    if path.exists() {
        OpenOptions::new().append(true).open(path)?;
    }
    // Gone at once: no way in which the run may end leaves it behind.
    Temporary::create(path).map(drop)
}

/// Writes all of `text` to the file, or leaves what is there as it is.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let written = Destination::of(path).and_then(|destination| match destination {
        Destination::File(path) => Temporary::create(&path)?.replace(&path, text),
        Destination::Special | Destination::Directory => fs::write(path, text),
    });
    written.map_err(|error| named(&path.display().to_string(), error))
}

/// Writes to standard output. A reader that has left is no error.
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

/// What a path stands for.
enum Destination {
    /// A file, there already or not. Behind symbolic links, so that these stay.
    File(PathBuf),
    /// A pipe or device: it is written to, not replaced.
    Special,
    Directory,
}

impl Destination {
    fn of(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(Self::Directory),
            Ok(metadata) if metadata.is_file() => Ok(Self::File(path.canonicalize()?)),
            Ok(_) => Ok(Self::Special),
            // Whether it can be created is found out by doing it.
            Err(_) => Ok(Self::File(path.to_owned())),
        }
    }
}

/// A file beside the one that is to be written. Dropped, it is removed.
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
        // Already renamed, or there is nothing more to be done about it.
        let _ = fs::remove_file(&self.path);
    }
}
