//! The method that the user named, and its messages.

use std::fmt;

use crate::report::printable::printable;
use crate::report::text::page::{Page, plain};

impl Page<'_> {
    pub(super) fn call(&mut self) -> fmt::Result {
        let Some(call) = &self.report.call else {
            return Ok(());
        };
        self.lines("method", &printable(&call.name_shown()), plain)?;
        self.lines("codes", &call.codes_shown(), plain)?;
        let (sent, received) = (call.requests.shown(), call.responses.shown());
        self.lines(
            "messages",
            &format!("sent {sent}; received {received}"),
            plain,
        )?;
        for (label, text) in call.stream.iter().flat_map(|stream| stream.shown()) {
            // `first message` fills the margin, without a blank after it.
            self.lines(&label.replace("message", "msg"), &text, plain)?;
        }
        Ok(())
    }
}
