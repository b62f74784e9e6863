//! Who may do what: the access file, and what is shown without it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ConfigError;

/// Identities and rights.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Access")]
pub struct AccessConfig {
    /// Who may do what, in TOML: identities with tokens and certificates, and roles. Without it everybody who can connect may
    /// do everything. It is read again when it changes, as the files of TLS are.
    #[arg(long = "access-file", value_name = "FILE", env = "SOLOIST_ACCESS_FILE")]
    pub file: Option<PathBuf>,
    /// Who may ask for the contract by server reflection: everybody (open), who is in the access file (identified), or nobody
    /// (off). [default: identified with --access-file, otherwise open]
    #[arg(long = "reflection", value_name = "WHO", env = "SOLOIST_REFLECTION")]
    pub reflection: Option<Reflection>,
}

/// Who may use server reflection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reflection {
    /// Everybody.
    Open,
    /// Callers that the access file names.
    Identified,
    /// Nobody.
    Off,
}

impl AccessConfig {
    /// Who may use server reflection.
    #[must_use]
    pub fn reflection(&self) -> Reflection {
        self.reflection.unwrap_or(match self.file {
            Some(_) => Reflection::Identified,
            None => Reflection::Open,
        })
    }

    /// Checks that the flags fit together.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.reflection == Some(Reflection::Identified) && self.file.is_none() {
            return Err(ConfigError(
                "--reflection is identified, but --access-file is not set: nobody is identified without it".into(),
            ));
        }
        Ok(())
    }
}
