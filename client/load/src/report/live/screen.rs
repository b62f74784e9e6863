//! The terminal that a view is drawn on.

use std::io::{self, Stderr, Write};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};

use crate::report::live::progress::Live;
use crate::report::live::view::draw;

/// Whether the alternate screen is on. A panic does not know which `Screen` there is.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// The alternate screen of the terminal behind standard error, from `enter` until it is dropped. After a panic the
/// terminal is as it was before the message is printed, also where panics abort.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stderr>>,
}

impl Screen {
    /// # Errors
    ///
    /// If standard error is no terminal, or has gone.
    pub(crate) fn enter() -> io::Result<Self> {
        restore_on_panic();
        let terminal = Terminal::new(CrosstermBackend::new(io::stderr()))?;
        // Before it is on: restoring once too often does no harm.
        ENTERED.store(true, Ordering::SeqCst);
        let screen = Self { terminal };
        execute!(io::stderr(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// # Errors
    ///
    /// If the terminal has gone, which is no reason to stop measuring.
    pub(crate) fn draw(&mut self, live: &Live) -> io::Result<()> {
        self.terminal.draw(|frame| draw(live, frame)).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore(&mut io::stderr());
    }
}

/// Leaves the alternate screen, if it is on, and shows the cursor again. Who ends the process without dropping its
/// [`Screen`] (at a second Ctrl-C, say) calls this first, with standard error.
pub(crate) fn restore(out: &mut impl Write) {
    if ENTERED.swap(false, Ordering::SeqCst) {
        // A terminal that has gone needs no restoring.
        let _ = execute!(out, LeaveAlternateScreen, Show);
    }
}

/// The message of a panic would vanish with the alternate screen.
fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore(&mut io::stderr());
            next(panic);
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_restored_once_and_only_if_it_was_changed() {
        let mut out = Vec::new();
        restore(&mut out);
        assert!(out.is_empty());
        ENTERED.store(true, Ordering::SeqCst);
        restore(&mut out);
        restore(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "\x1b[?1049l\x1b[?25h");
    }
}
