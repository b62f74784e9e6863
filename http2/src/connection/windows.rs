//! The window of the connection for what comes in (RFC 9113, section 5.2).

/// Counts bytes that have come, and gives them back when they were consumed.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    window: u32,
    /// Bytes that have come, and were not given back.
    received: u32,
    /// The part of it that was consumed.
    consumed: u32,
}

impl ReceiveWindow {
    pub(super) fn new(window: u32) -> Self {
        Self {
            window,
            received: 0,
            consumed: 0,
        }
    }

    /// Counts bytes that have come. `false` if the window has no room for them.
    #[inline]
    #[must_use]
    pub(super) fn receive(&mut self, bytes: u32) -> bool {
        self.received = self.received.saturating_add(bytes);
        self.received <= self.window
    }

    /// Counts bytes that were consumed. Returns what to give back to the client now: half of the window, or nothing.
    #[inline]
    #[must_use]
    pub(super) fn consume(&mut self, bytes: u32) -> Option<u32> {
        self.consumed = self.consumed.saturating_add(bytes).min(self.received);
        if self.consumed == 0 || self.consumed < self.window / 2 {
            return None;
        }
        self.received -= self.consumed;
        Some(std::mem::take(&mut self.consumed))
    }

    pub(super) fn window(&self) -> u32 {
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_window_is_given_back_at_once() {
        let mut window = ReceiveWindow::new(100);
        assert!(window.receive(80));
        assert_eq!(window.consume(49), None);
        assert_eq!(window.consume(1), Some(50));
        assert!(window.receive(70) && !window.receive(1));
        // Not more than has come.
        assert_eq!(window.consume(1_000), Some(101));
        assert_eq!(window.consume(1_000), None);
    }
}
