//! Commands of the user: [`group`] runs one that can be killed with all its children, [`signals`] has what comes meanwhile.

pub(crate) mod group;
pub(crate) mod signals;

use std::io;

use crate::failure::{Failure, NO_COMMAND, NOT_RUNNABLE};

/// Why a command cannot be started, with the exit code that shells have for it.
pub(crate) fn not_started(command: &std::ffi::OsStr, error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::NotFound => NO_COMMAND,
        _ => NOT_RUNNABLE,
    };
    Failure::Other(format!("{}: {error}", command.display()), code)
}
