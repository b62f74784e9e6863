//! Waits for many sockets, with a timeout that is exact to the microsecond.
//!
//! It uses epoll through `rustix`. `mio` and `polling` round a timeout up to whole milliseconds, so a request that is
//! due in 300 microseconds would be sent late. `epoll_wait` only takes milliseconds as well, and `epoll_pwait2` needs
//! Linux 5.11. So the whole milliseconds of a timeout are spent in `epoll_wait`, and the rest in `ppoll` on epoll's own
//! descriptor, which takes nanoseconds. That costs a third call only if a socket becomes ready in the last millisecond.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;

/// The most sockets that one wait reports. The next wait reports the others.
const READY_MAX: usize = 256;

/// An epoll instance, and the sockets that its last wait reported.
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

/// A socket that can be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// The name under which the socket was added.
    pub(crate) key: u32,
    /// There are bytes to read, or the end of the stream, or an error.
    pub(crate) readable: bool,
    /// The socket accepts bytes again.
    pub(crate) writable: bool,
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(READY_MAX),
        })
    }

    /// Waits until a socket is ready, or until `timeout` has passed. `None` waits without end, 0 not at all. A signal
    /// ends the wait as if the timeout had passed.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let started = Instant::now();
        let whole = timeout.map(|timeout| Duration::from_millis(timeout.as_millis() as u64));
        self.poll(whole)?;
        if let Some(timeout) = timeout
            && self.events.is_empty()
            && let Some(rest) = timeout.checked_sub(started.elapsed())
            && self.poll_precisely(rest)?
        {
            self.poll(Some(Duration::ZERO))?;
        }
        Ok(())
    }

    /// Waits in whole milliseconds.
    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.events.clear();
        // The system cannot express the timeout: it is longer than any run.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let room = spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, room, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits in nanoseconds. Returns whether a socket is ready.
    fn poll_precisely(&self, timeout: Duration) -> io::Result<bool> {
        let timeout = Timespec::try_from(timeout).ok();
        let mut epoll = [PollFd::new(&self.epoll, PollFlags::IN)];
        match poll(&mut epoll, timeout.as_ref()) {
            Ok(count) => Ok(count > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the sockets that the last wait reported.
    pub(crate) fn ready(&self) -> impl Iterator<Item = Readiness> + '_ {
        let ends = epoll::EventFlags::IN
            | epoll::EventFlags::HUP
            | epoll::EventFlags::ERR
            | epoll::EventFlags::RDHUP;
        self.events.iter().filter_map(move |event| {
            let flags = event.flags;
            Some(Readiness {
                key: u32::try_from(event.data.u64()).ok()?,
                readable: flags.intersects(ends),
                writable: flags.contains(epoll::EventFlags::OUT),
            })
        })
    }

    pub(super) fn add(&self, socket: impl AsFd, key: u32) -> io::Result<()> {
        let data = epoll::EventData::new_u64(u64::from(key));
        Ok(epoll::add(
            &self.epoll,
            socket,
            data,
            epoll::EventFlags::IN,
        )?)
    }

    /// Begins or stops to wait for a socket to become writable.
    pub(super) fn watch_writable(
        &self,
        socket: impl AsFd,
        key: u32,
        wanted: bool,
    ) -> io::Result<()> {
        let data = epoll::EventData::new_u64(u64::from(key));
        let flags = match wanted {
            true => epoll::EventFlags::IN | epoll::EventFlags::OUT,
            false => epoll::EventFlags::IN,
        };
        Ok(epoll::modify(&self.epoll, socket, data, flags)?)
    }

    pub(super) fn remove(&self, socket: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }
}

/// Waits for one socket, at most for `timeout`: until it can be read or, if that is wanted, written. A signal ends the wait.
pub(super) fn wait_for(socket: impl AsFd, writable: bool, timeout: Duration) -> io::Result<()> {
    let flags = match writable {
        true => PollFlags::IN | PollFlags::OUT,
        false => PollFlags::IN,
    };
    let timeout = Timespec::try_from(timeout).ok();
    match poll(&mut [PollFd::new(&socket, flags)], timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shortest of many waits is below a millisecond only if timeouts are not rounded up.
    #[test]
    fn timeouts_are_not_rounded_to_milliseconds() {
        let mut poller = Poller::new().unwrap();
        let wait = Duration::from_micros(100);
        let shortest = (0..50)
            .map(|_| {
                let start = Instant::now();
                poller.wait(Some(wait)).unwrap();
                start.elapsed()
            })
            .min()
            .unwrap();
        assert!(
            (wait..Duration::from_millis(1)).contains(&shortest),
            "{shortest:?}"
        );
    }
}
