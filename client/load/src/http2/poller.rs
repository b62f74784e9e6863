//! Waits for many sockets and a time, all at once.
//!
//! epoll through `rustix`, and not `mio` or `polling`: those round a wait up to whole milliseconds, and a request that is
//! due in 300 microseconds would go out late. epoll's own call rounds too, and the exact `epoll_pwait2` needs Linux 5.11. So
//! the part of a wait that is no whole millisecond is waited for with `ppoll`, of which epoll's descriptor is the only one:
//! it counts in nanoseconds, and costs a second call only when something comes in that last millisecond.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;

/// Sockets told of by one wait; the others are told of by the next.
const READY_MAX: usize = 256;

/// Waits for many sockets, and a time.
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

/// A socket that something can be done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) key: u32,
    /// There is something to read, or its end.
    pub(crate) readable: bool,
    /// It has room again.
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

    /// Waits until a socket is ready, or the time is over; `None` waits without end, 0 not at all.
    ///
    /// A signal ends it too: as if the time were over.
    ///
    /// # Errors
    ///
    /// Those of the system.
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
        // A time that the system cannot say is as good as none.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let room = spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, room, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits in nanoseconds. Tells whether there is something.
    fn poll_precisely(&self, timeout: Duration) -> io::Result<bool> {
        let timeout = Timespec::try_from(timeout).ok();
        let mut epoll = [PollFd::new(&self.epoll, PollFlags::IN)];
        match poll(&mut epoll, timeout.as_ref()) {
            Ok(count) => Ok(count > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The sockets that the last wait found.
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

    /// Watches for room in a socket, or no longer.
    pub(super) fn watch_writable(&self, socket: impl AsFd, key: u32, full: bool) -> io::Result<()> {
        let data = epoll::EventData::new_u64(u64::from(key));
        let flags = match full {
            true => epoll::EventFlags::IN | epoll::EventFlags::OUT,
            false => epoll::EventFlags::IN,
        };
        Ok(epoll::modify(&self.epoll, socket, data, flags)?)
    }

    pub(super) fn remove(&self, socket: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least of many waits is short of a millisecond only if waits are not rounded up to one.
    #[test]
    fn waits_are_not_rounded_to_milliseconds() {
        let mut poller = Poller::new().unwrap();
        let wait = Duration::from_micros(100);
        let least = (0..50)
            .map(|_| {
                let start = Instant::now();
                poller.wait(Some(wait)).unwrap();
                start.elapsed()
            })
            .min()
            .unwrap();
        assert!(
            (wait..Duration::from_millis(1)).contains(&least),
            "{least:?}"
        );
    }
}
