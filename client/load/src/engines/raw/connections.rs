//! The connections of a thread.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use crate::grpc::ANSWER_BYTES_MAX;
use crate::http2::{Config, Connection, Endpoint, Event, Poller, READ_BYTES, StreamId};

/// The connections of one thread, and the poller that waits for all of them.
pub(crate) struct Connections {
    poller: Poller,
    addresses: Vec<SocketAddr>,
    connect_timeout: Duration,
    /// By the key that the poller knows each by. `None` if the endpoint is gone.
    endpoints: Vec<Option<OpenEndpoint>>,
    slots: Vec<ConnectionSlot>,
    buffer: Vec<u8>,
}

struct OpenEndpoint {
    endpoint: Endpoint,
    /// The connection slot.
    slot: usize,
}

/// A connection as the workers see it: if the server ends a connection in order, another one takes its place.
struct ConnectionSlot {
    /// The key of the endpoint for new calls. `None` if the connection is gone.
    current: Option<u32>,
    /// Call slots that can send.
    free: VecDeque<usize>,
}

/// The current connection of a slot.
pub(crate) struct Current<'a> {
    /// The key of the endpoint.
    pub(crate) endpoint: u32,
    pub(crate) connection: &'a mut Connection,
    /// Call slots that can send.
    pub(crate) free: &'a mut VecDeque<usize>,
}

impl Connections {
    /// # Errors
    /// If the address cannot be resolved, or the system refuses a poller.
    pub(crate) fn new(address: &str, connect_timeout: Duration) -> Result<Self, String> {
        let addresses = address
            .to_socket_addrs()
            .map_err(|error| format!("cannot connect to {address}: {error}"))?;
        let poller =
            Poller::new().map_err(|error| format!("the system refuses a poller: {error}"))?;
        Ok(Self {
            poller,
            addresses: addresses.collect(),
            connect_timeout,
            endpoints: Vec::new(),
            slots: Vec::new(),
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Connects. Returns the number of the new connection slot.
    pub(crate) fn add_slot(&mut self) -> io::Result<usize> {
        let slot = self.slots.len();
        let current = self.connect(slot)?;
        self.slots.push(ConnectionSlot {
            current: Some(current),
            free: VecDeque::new(),
        });
        Ok(slot)
    }

    pub(crate) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// Makes a call slot free to send on a connection.
    pub(crate) fn free(&mut self, slot: usize, call_slot: usize) {
        self.slots[slot].free.push_back(call_slot);
    }

    /// Returns the current connection of a slot, if there is one.
    #[inline]
    pub(crate) fn current(&mut self, slot: usize) -> Option<Current<'_>> {
        let slot = &mut self.slots[slot];
        let endpoint = slot.current?;
        let open = self.endpoints[endpoint as usize].as_mut()?;
        Some(Current {
            endpoint,
            connection: open.endpoint.connection(),
            free: &mut slot.free,
        })
    }

    /// Waits until a connection can be read or written, at most until `until`.
    pub(crate) fn wait(&mut self, until: Instant) {
        let timeout = until.saturating_duration_since(Instant::now());
        // If the poller fails, reading finds out what is wrong with which socket.
        let _ = self.poller.wait(Some(timeout));
    }

    /// Returns the keys of the endpoints that can be read or written.
    pub(crate) fn ready(&self) -> Vec<u32> {
        self.poller.ready().map(|ready| ready.key).collect()
    }

    /// Reads from an endpoint, and calls `on_event` with each response or failure, and the instant at which it was read.
    #[inline]
    pub(crate) fn read(&mut self, key: u32, mut on_event: impl FnMut(Event<'_>, Instant)) {
        if let Some(open) = &mut self.endpoints[key as usize] {
            open.endpoint
                .read(&mut self.buffer, |_, event, now| on_event(event, now));
        }
    }

    /// Writes the output of the connections, as far as the sockets take it.
    pub(crate) fn flush(&mut self) {
        for open in self.endpoints.iter_mut().flatten() {
            if !open.endpoint.connection().output().is_empty() {
                // If the poller fails, reading finds out what is wrong with the socket.
                let _ = open.endpoint.flush(&self.poller);
            }
        }
    }

    /// Cancels a call.
    pub(crate) fn cancel(&mut self, endpoint: u32, stream: StreamId) {
        if let Some(open) = &mut self.endpoints[endpoint as usize] {
            open.endpoint.connection().cancel(stream);
        }
    }

    /// Looks after an endpoint that was read: removes it once it has ended, and connects another one if the server ends it
    /// in order and `may_connect`. A connection that broke is not replaced, as with the other engines.
    ///
    /// Returns the connection slot if it has no connection from now on.
    pub(crate) fn look_after(&mut self, key: u32, may_connect: bool) -> Option<usize> {
        let open = self.endpoints[key as usize].as_mut()?;
        let slot = open.slot;
        let connection = open.endpoint.connection();
        let is_closed = connection.closed().is_some();
        let is_ending = connection.is_draining() || connection.is_exhausted();
        let is_drained = is_ending && connection.open_calls() == 0;
        let is_current = self.slots[slot].current == Some(key);
        if is_closed || is_drained && !is_current {
            self.remove(key);
        }
        if !is_current || !is_closed && !is_ending {
            return None;
        }
        self.slots[slot].current = match is_ending && may_connect {
            true => self.connect(slot).ok(),
            false => None,
        };
        if self.slots[slot].current.is_some() {
            return None;
        }
        self.slots[slot].free.clear();
        Some(slot)
    }

    fn connect(&mut self, slot: usize) -> io::Result<u32> {
        let key = u32::try_from(self.endpoints.len()).expect("fewer than 2^32 connections");
        let config = Config {
            message_bytes_max: ANSWER_BYTES_MAX,
            ..Config::default()
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in &self.addresses {
            let timeout = self.connect_timeout;
            match Endpoint::connect(*address, timeout, config.clone(), &self.poller, key) {
                Ok(endpoint) => {
                    self.endpoints.push(Some(OpenEndpoint { endpoint, slot }));
                    return Ok(key);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn remove(&mut self, key: u32) {
        if let Some(open) = self.endpoints[key as usize].take() {
            // Dropping the endpoint closes its socket in any case.
            let _ = open.endpoint.remove(&self.poller);
        }
    }
}
