//! How answers look: [`text`] for people, [`json`] as grpcurl prints it, or the value alone.
//!
//! [`escape`] keeps texts from elsewhere from controlling a terminal.

pub(crate) mod escape;
pub(crate) mod json;
pub(crate) mod text;

use std::io::{self, IsTerminal as _, Write as _};

use prost::Message;
use soloist::v1;

use crate::command_line::connection::Form;
use crate::failure::Failure;
use escape::bytes_on_terminal;
use soloist_flags::Style;

/// Where answers go.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) form: Form,
    pub(crate) style: Style,
    pub(crate) is_terminal: bool,
}

impl Out {
    pub(crate) fn new(form: Form) -> Self {
        let stdout = io::stdout();
        Self {
            form,
            style: Style::of(&stdout, |name| std::env::var_os(name)),
            is_terminal: stdout.is_terminal(),
        }
    }

    /// Prints a message of the contract: as JSON, or in the form that `text` or `value` give it.
    pub(crate) fn message(
        &self,
        name: &str,
        message: &impl Message,
        text: impl FnOnce(Style) -> String,
        value: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.form {
            Form::Json => self.json(name, message),
            Form::Text => self.line(&text(self.style)),
            Form::Value => self.line(&value()),
        }
    }

    /// Prints a message of the contract as JSON.
    pub(crate) fn json(&self, name: &str, message: &impl Message) -> Result<(), Failure> {
        self.line(&json::pretty(&format!("soloist.v1.{name}"), message)?)
    }

    /// Prints a text and ends its line. Nothing for an empty text.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        self.raw(format!("{text}\n").as_bytes())
    }

    /// Prints a value exactly as it is stored. On a terminal, control characters are escaped and the line is ended.
    pub(crate) fn value(&self, value: Option<&v1::Value>) -> Result<(), Failure> {
        use v1::value::Kind;
        let kind = value.and_then(|value| value.kind.as_ref());
        let bytes = match kind {
            Some(Kind::Int(int)) => int.to_string().into_bytes(),
            Some(Kind::Text(text)) => text.clone().into_bytes(),
            Some(Kind::Bytes(bytes)) => bytes.clone(),
            None => return Ok(()),
        };
        match self.is_terminal {
            true => self.line(&bytes_on_terminal(&bytes)),
            false => self.raw(&bytes),
        }
    }

    /// A key or a name on a line of its own for scripts: escaped on a terminal alone.
    pub(crate) fn name(&self, name: &str) -> String {
        match self.is_terminal {
            true => bytes_on_terminal(name.as_bytes()),
            false => name.to_owned(),
        }
    }

    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()?;
        Ok(())
    }
}

/// Says something beside the answers. If standard error is closed, there is nobody to read it.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "soloist: {}", escape::lines(text));
}
