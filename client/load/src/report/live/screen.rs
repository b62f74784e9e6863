//! The terminal on which the view is drawn.

use std::io::{self, Stderr, Write};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};

use crate::report::live::progress::Progress;
use crate::report::live::view::draw;

/// Whether the alternate screen is on. It is global for the hook of panics, which has no `Screen`.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// The alternate screen of the terminal of standard error, until this is dropped. A panic restores the terminal before
/// its message is printed, even if panics abort.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stderr>>,
}

impl Screen {
    /// Switches to the alternate screen.
    ///
    /// # Errors
    ///
    /// If standard error is not a terminal, or the terminal is gone.
    pub(crate) fn enter() -> io::Result<Self> {
        restore_on_panic();
        let terminal = Terminal::new(CrosstermBackend::new(io::stderr()))?;
        // Before the switch: to restore the terminal once too often does no harm.
        ENTERED.store(true, Ordering::SeqCst);
        let screen = Self { terminal };
        execute!(io::stderr(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Draws the view.
    ///
    /// # Errors
    ///
    /// If the terminal is gone. That is no reason to stop the run.
    pub(crate) fn draw(&mut self, progress: &Progress) -> io::Result<()> {
        self.terminal
            .draw(|frame| draw(progress, frame))
            .map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore(&mut io::stderr());
    }
}

/// Leaves the alternate screen if it is on, and shows the cursor again. Code that ends the process without dropping the
/// [`Screen`], such as at a second Ctrl-C, must call this before, with standard error.
pub(crate) fn restore(out: &mut impl Write) {
    if ENTERED.swap(false, Ordering::SeqCst) {
        // A terminal that is gone need not be restored.
        let _ = execute!(out, LeaveAlternateScreen, Show);
    }
}

/// Restores the terminal at a panic, whose message would vanish with the alternate screen.
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
