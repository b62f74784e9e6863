//! The settings of this process: from flags, the environment and the file, at the start and at SIGHUP.

use std::ffi::OsString;

use clap::FromArgMatches as _;
use clap::error::ErrorKind;
use soloist_flags::{Program, Resolved};
use soloist_server::check_files;
use tracing::{error, info, warn};

use crate::arguments::{Arguments, ConfigArgs, Instead, ServeArgs, program};
use crate::logging::SetFilter;

/// The flag that takes a new value while the server runs.
const LOG: &str = "log";

/// Where the arguments came from, to look there again.
pub(crate) struct Settings {
    words: Vec<OsString>,
    program: Program,
    resolved: Resolved,
}

impl Settings {
    /// Reads the words of a command line, and checks what they say.
    ///
    /// # Errors
    /// Help is an error, too; see [`Program::resolve`]. If limits contradict each other.
    pub(crate) fn read(
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<(Self, Arguments), clap::Error> {
        let words: Vec<_> = words.into_iter().collect();
        let program = program();
        let (resolved, arguments) = read(&program, &words)?;
        let settings = Self {
            words,
            program,
            resolved,
        };
        Ok((settings, arguments))
    }

    /// What holds, as a file that can be fed back.
    pub(crate) fn print(&self) -> String {
        self.program.print(&self.resolved)
    }

    /// An error about the arguments, with the lines of the file that it is about.
    pub(crate) fn refusal(&self, error: &str) -> clap::Error {
        refusal(&self.resolved, error)
    }

    /// Reads the file again, and takes from it what a running server can take. The log tells what has changed. None if there is
    /// no file.
    pub(crate) fn reload(&mut self, filter: &SetFilter) -> Option<Result<(), String>> {
        let file = self.resolved.file()?.display().to_string();
        Some(self.reload_from(&file, filter))
    }

    fn reload_from(&mut self, file: &str, filter: &SetFilter) -> Result<(), String> {
        let (resolved, arguments) = match read(&self.program, &self.words) {
            Ok(read) => read,
            Err(error) => {
                let text = error.to_string();
                let text = text.trim_start_matches("error: ").trim_end();
                error!("not reloaded, and the old values stay in use: {text}");
                return Err(text.to_owned());
            }
        };
        let changes = resolved.changes(&self.resolved);
        if changes.is_empty() {
            info!("nothing to reload: --config {file} has not changed");
        }
        let mut log = None;
        for change in changes {
            match &*change.name {
                name if !change.holds => info!(
                    "{name} has changed in {file}, but the value in use stays: it came from {}",
                    change.source
                ),
                LOG => log = Some(arguments.serve.log.clone()),
                name => warn!("{name} has changed in {file}, and needs a restart"),
            }
        }
        if let Some(log) = log {
            let text = log.to_string();
            filter.set(log)?;
            info!("reloaded: log is {text}");
        }
        // What needs a restart is told once.
        self.resolved = resolved;
        Ok(())
    }
}

fn read(program: &Program, words: &[OsString]) -> Result<(Resolved, Arguments), clap::Error> {
    let resolved = program.resolve(words)?;
    let arguments = Arguments::from_arg_matches(&resolved.matches)?;
    let checked = match &arguments.command {
        None => validate(&arguments.serve),
        Some(Instead::Config(it)) => check(it),
        Some(Instead::Data(_) | Instead::Man(_) | Instead::Completions(_)) => Ok(()),
    };
    match checked {
        Ok(()) => Ok((resolved, arguments)),
        Err(error) => Err(refusal(&resolved, &error)),
    }
}

fn refusal(resolved: &Resolved, error: &str) -> clap::Error {
    let text = format!("{}\n", resolved.explain(error));
    clap::Error::raw(ErrorKind::ValueValidation, text)
}

fn validate(serve: &ServeArgs) -> Result<(), String> {
    serve.config.validate().map_err(|error| error.to_string())
}

fn check(args: &ConfigArgs) -> Result<(), String> {
    let serve = &args.serve;
    validate(serve)?;
    serve.listen.check(&serve.config.tls)?;
    if let Some(http) = &serve.http_listen {
        http.check_http(&serve.config.tls)?;
    }
    match args.check {
        Some(_) => check_files(&serve.config),
        None => Ok(()),
    }
}
