//! The connections of a thread.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connect::destination::Destination;
use crate::connect::nodes::{NO_OWNER, Node};
use crate::connect::route::Stop;
use crate::connect::routes::Routes;
use crate::engines::backoff::Backoff;
use crate::grpc::ANSWER_BYTES_MAX;
use crate::http2::{Config, Connection, Endpoint, Event, Poller, READ_BYTES, StreamId};
use crate::plan::settings::Settings;
use crate::record::links::Links;

/// Why an attempt failed that has taken as long as it may.
const NO_ANSWER: &str = "no answer in time";

/// How often to see whether a route has been looked up.
const LOOK_UP_TICK: Duration = Duration::from_millis(1);

/// The connections of one thread, and the poller that waits for all of them.
pub(crate) struct Connections {
    poller: Poller,
    destination: Arc<Destination>,
    routes: Routes,
    connect_timeout: Duration,
    /// By the key that the poller knows each by. `None` if the endpoint is gone: the key is free.
    endpoints: Vec<Option<OpenEndpoint>>,
    slots: Vec<ConnectionSlot>,
    /// How many slots have no connection.
    down: usize,
    /// Slots that have a connection again, since they were taken.
    restored: Vec<usize>,
    links: Arc<Links>,
    buffer: Vec<u8>,
}

struct OpenEndpoint {
    endpoint: Endpoint,
    /// The connection slot.
    slot: usize,
    node: Arc<Node>,
    /// Another node owns the store: it takes no new calls.
    is_left: bool,
}

/// A connection as the workers see it: if it ends, another one takes its place.
struct ConnectionSlot {
    /// The key of the endpoint for new calls. `None` while there is no connection.
    current: Option<u32>,
    /// What is being done to get one.
    making: Making,
    /// Whether an attempt has failed since there was a connection: then calls do not wait for the next one.
    is_out: bool,
    /// Whether the current connection was made again and has answered nothing yet.
    is_fresh: bool,
    backoff: Backoff,
    /// How many attempts were made since there was a connection.
    attempts: usize,
    /// How many nodes did not own the store since a connection has answered.
    asked: usize,
    /// Call slots that can send.
    free: VecDeque<usize>,
}

#[derive(Clone, Copy)]
enum Making {
    Nothing,
    /// Waits for the [route](Routes).
    LookUp {
        deadline: Instant,
    },
    /// Waits for the SETTINGS of the server on this endpoint.
    Attempt {
        key: u32,
        deadline: Instant,
    },
    Wait {
        until: Instant,
    },
}

/// The current connection of a slot.
pub(crate) struct Current<'a> {
    /// The key of the endpoint.
    pub(crate) endpoint: u32,
    pub(crate) connection: &'a mut Connection,
    /// Call slots that can send.
    pub(crate) free: &'a mut VecDeque<usize>,
}

/// A connection slot that has no connection any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotDown {
    pub(crate) slot: usize,
    /// The connection broke: the server has not ended it in order.
    pub(crate) is_lost: bool,
    /// An attempt to connect failed: it is not known for how long there will be no connection.
    pub(crate) is_out: bool,
}

impl Connections {
    /// # Errors
    /// If the address cannot be resolved, or the system refuses a poller.
    pub(crate) fn new(
        destination: &Arc<Destination>,
        settings: &Settings,
        links: &Arc<Links>,
    ) -> Result<Self, String> {
        let routes = Routes::new(destination);
        let address = destination.address();
        let routes = routes.map_err(|error| format!("cannot connect to {address}: {error}"))?;
        let poller =
            Poller::new().map_err(|error| format!("the system refuses a poller: {error}"))?;
        Ok(Self {
            poller,
            destination: Arc::clone(destination),
            routes,
            connect_timeout: settings.connect_timeout,
            endpoints: Vec::new(),
            slots: Vec::new(),
            down: 0,
            restored: Vec::new(),
            links: Arc::clone(links),
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Connects. Returns the number of the new connection slot.
    pub(crate) fn add_slot(&mut self, backoff: Backoff) -> io::Result<usize> {
        let slot = self.slots.len();
        let current = self.connect(slot)?;
        self.slots.push(ConnectionSlot {
            current: Some(current),
            making: Making::Nothing,
            is_out: false,
            is_fresh: false,
            backoff,
            attempts: 0,
            asked: 0,
            free: VecDeque::new(),
        });
        let open = self.endpoints[current as usize].as_ref();
        self.links.opened(open.map_or("", |open| open.node.name()));
        Ok(slot)
    }

    /// Where what happens to connections is counted.
    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    pub(crate) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// Takes a slot that has a connection again.
    pub(crate) fn take_restored(&mut self) -> Option<usize> {
        self.restored.pop()
    }

    /// Returns whether some slot has no connection.
    #[inline]
    pub(crate) fn is_any_down(&self) -> bool {
        self.down > 0
    }

    /// Returns whether no slot has a connection, nor waits for one that may be there in a moment.
    pub(crate) fn are_all_out(&self) -> bool {
        self.slots.iter().all(|slot| slot.is_out)
    }

    /// Makes a call slot free to send on a connection.
    pub(crate) fn free(&mut self, slot: usize, call_slot: usize) {
        self.slots[slot].free.push_back(call_slot);
    }

    /// Makes a call slot free to send on a connection before any other: its call is drawn already.
    pub(crate) fn free_first(&mut self, slot: usize, call_slot: usize) {
        self.slots[slot].free.push_front(call_slot);
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

    /// Waits until a connection can be read or written, at most until `until`, or until an attempt to connect is due.
    pub(crate) fn wait(&mut self, until: Instant) {
        let until = match self.is_any_down() {
            true => self.next_wake().map_or(until, |wake| wake.min(until)),
            false => until,
        };
        let timeout = until.saturating_duration_since(Instant::now());
        // If the poller fails, reading finds out what is wrong with which socket.
        let _ = self.poller.wait(Some(timeout));
    }

    fn next_wake(&self) -> Option<Instant> {
        let wakes = self.slots.iter().filter_map(|slot| match slot.making {
            Making::Nothing => None,
            // Nothing tells the poller that it is there.
            Making::LookUp { .. } => Some(Instant::now() + LOOK_UP_TICK),
            Making::Attempt { deadline, .. } => Some(deadline),
            Making::Wait { until } => Some(until),
        });
        wakes.min()
    }

    /// Returns the keys of the endpoints that can be read or written.
    pub(crate) fn ready(&self) -> Vec<u32> {
        self.poller.ready().map(|ready| ready.key).collect()
    }

    /// Reads from an endpoint, and calls `on_event` with each response or failure, and the instant at which it was read. The
    /// first argument is whether the server has ended the connection in order.
    #[inline]
    pub(crate) fn read(&mut self, key: u32, mut on_event: impl FnMut(bool, Event<'_>, Instant)) {
        if let Some(open) = &mut self.endpoints[key as usize] {
            open.endpoint
                .read(&mut self.buffer, |connection, event, now| {
                    on_event(connection.is_draining(), event, now);
                });
        }
    }

    /// Writes the output of the connections, as far as the sockets take it.
    pub(crate) fn flush(&mut self) {
        for open in self.endpoints.iter_mut().flatten() {
            if open.endpoint.has_output() {
                // If the poller fails, reading finds out what is wrong with the socket.
                let _ = open.endpoint.flush(&self.poller);
            }
        }
    }

    /// Returns whether nothing at all has been heard on an endpoint since `since`.
    pub(crate) fn is_silent(&self, endpoint: u32, since: Instant) -> bool {
        let open = self.endpoints[endpoint as usize].as_ref();
        open.is_some_and(|open| open.endpoint.last_read() < since)
    }

    /// Ends a connection whose server is silent. Calls `on_event` with each call that fails with it.
    pub(crate) fn end(&mut self, endpoint: u32, on_event: impl FnMut(&mut Connection, Event<'_>)) {
        if let Some(open) = &mut self.endpoints[endpoint as usize] {
            let why = "the server was silent for as long as a call may take";
            self.destination.nodes().leave(&open.node);
            open.endpoint.connection().close(why, on_event);
        }
    }

    /// Goes on with the node that the server of an endpoint has named: that one owns the store. It is another one if the name is
    /// empty.
    pub(crate) fn go_elsewhere(&mut self, endpoint: u32, owner: &str) {
        if let Some(open) = &mut self.endpoints[endpoint as usize] {
            self.destination.nodes().follow(&open.node, owner);
            open.is_left = true;
        }
    }

    /// Cancels a call.
    pub(crate) fn cancel(&mut self, endpoint: u32, stream: StreamId) {
        if let Some(open) = &mut self.endpoints[endpoint as usize] {
            open.endpoint.connection().cancel(stream);
        }
    }

    /// Looks after an endpoint that was read: removes it once it has ended, and begins to make another one if it takes no new
    /// calls. `has_answered` says whether a call was answered. Returns the slot if it has no connection now, and had one or
    /// tried to get one.
    pub(crate) fn look_after(&mut self, key: u32, has_answered: bool) -> Option<SlotDown> {
        let open = self.endpoints[key as usize].as_mut()?;
        let slot = open.slot;
        let state = EndpointState::of(open);
        if self.slots[slot].is_attempt(key) {
            match state {
                EndpointState {
                    is_closed: true, ..
                } => {
                    let why = why_closed(open.endpoint.connection());
                    self.give_up(key);
                    let is_out = self.attempt_failed(slot, &why, Instant::now());
                    return Some(SlotDown {
                        slot,
                        is_lost: false,
                        is_out,
                    });
                }
                EndpointState {
                    is_ready: false, ..
                } => return None,
                _ => self.made_again(slot, key),
            }
        }
        let of = &mut self.slots[slot];
        let is_current = of.current == Some(key);
        if is_current && of.is_fresh && has_answered {
            of.is_fresh = false;
            of.asked = 0;
            of.backoff.reset();
            let open = self.endpoints[key as usize].as_ref();
            let node = open.map_or("", |open| open.node.name());
            self.links.answered(node, Instant::now());
        }
        if state.is_closed || state.is_drained {
            self.remove(key);
        }
        let is_down = is_current && (state.is_closed || state.is_ending);
        is_down.then(|| self.take_down(slot, state))
    }

    /// Begins to make another connection in place of one that takes no new calls.
    fn take_down(&mut self, slot: usize, state: EndpointState) -> SlotDown {
        let now = Instant::now();
        let is_lost = state.is_closed && !state.is_draining && !state.is_left;
        match (is_lost, state.is_draining) {
            (true, _) => self.links.lost(now),
            (false, true) => self.links.goaway(now),
            // Another node owns the store, or all of its stream ids are used.
            (false, false) => self.links.replaced(now),
        }
        self.down += 1;
        let of = &mut self.slots[slot];
        of.current = None;
        let is_out = match of.is_fresh {
            true if state.is_left => {
                of.asked += 1;
                match of.asked.is_multiple_of(self.destination.nodes().round()) {
                    true => self.wait_after(slot, NO_OWNER, now),
                    false => self.begin(slot, now),
                }
            }
            // A server that ends each connection before it takes a call must not be asked for the next one at once.
            true if state.is_unused() => {
                let why = "the server ends connections before it takes a call";
                self.attempt_failed(slot, why, now)
            }
            _ => self.begin(slot, now),
        };
        SlotDown {
            slot,
            is_lost,
            is_out,
        }
    }

    /// Makes the attempts to connect that are due at `now`, and ends those that have taken too long. Calls `on_out` with each
    /// slot whose attempt failed.
    pub(crate) fn make_again(&mut self, now: Instant, mut on_out: impl FnMut(usize)) {
        if !self.is_any_down() {
            return;
        }
        let found = self.routes.found();
        for slot in 0..self.slots.len() {
            let is_out = match (self.slots[slot].making, &found) {
                (Making::Wait { until }, _) if now >= until => self.begin(slot, now),
                (Making::Attempt { key, deadline }, _) if now >= deadline => {
                    self.give_up(key);
                    self.attempt_failed(slot, NO_ANSWER, now)
                }
                (Making::LookUp { .. }, Some(Ok(()))) => self.begin_attempt(slot, now),
                (Making::LookUp { .. }, Some(Err(why))) => self.wait_after(slot, why, now),
                (Making::LookUp { deadline }, None) if now >= deadline => {
                    self.wait_after(slot, "its name is not looked up in time", now)
                }
                _ => false,
            };
            if is_out {
                on_out(slot);
            }
        }
    }

    /// Begins to get a connection: looks up the route again, if it may have changed. Returns whether an attempt has failed at
    /// once.
    fn begin(&mut self, slot: usize, now: Instant) -> bool {
        self.slots[slot].attempts = 0;
        match self.routes.look_up() {
            true => {
                let deadline = now + self.connect_timeout;
                self.slots[slot].making = Making::LookUp { deadline };
                false
            }
            false => self.begin_attempt(slot, now),
        }
    }

    /// Begins to connect to the next address. Returns whether that, and with it an attempt, has failed at once.
    fn begin_attempt(&mut self, slot: usize, now: Instant) -> bool {
        let key = self.free_key();
        let of = &mut self.slots[slot];
        let route = self.routes.latest();
        let stop = &route.places[of.attempts % route.places.len()];
        of.attempts += 1;
        let (tls, node) = (stop.tls.as_ref(), Arc::clone(&stop.node));
        match Endpoint::begin_to_connect(&stop.place, tls, config(), &self.poller, key) {
            Ok(endpoint) => {
                self.put(key, endpoint, slot, node);
                let deadline = now + self.connect_timeout;
                self.slots[slot].making = Making::Attempt { key, deadline };
                false
            }
            Err(error) => {
                self.destination.nodes().leave(&node);
                self.attempt_failed(slot, &error.to_string(), now)
            }
        }
    }

    /// Goes on after an address did not answer: with the next one at once, and after the last one with a wait. Returns whether
    /// it was the last one, so that the attempt has failed.
    fn attempt_failed(&mut self, slot: usize, why: &str, now: Instant) -> bool {
        let places = self.routes.latest().places.len();
        match self.slots[slot].attempts.is_multiple_of(places) {
            true => self.wait_after(slot, why, now),
            false => self.begin_attempt(slot, now),
        }
    }

    /// Waits after an attempt has failed. Returns true.
    fn wait_after(&mut self, slot: usize, why: &str, now: Instant) -> bool {
        self.links.attempt_failed(why);
        let of = &mut self.slots[slot];
        let until = now + of.backoff.wait();
        of.making = Making::Wait { until };
        of.is_out = true;
        true
    }

    fn made_again(&mut self, slot: usize, key: u32) {
        let of = &mut self.slots[slot];
        of.current = Some(key);
        of.making = Making::Nothing;
        of.is_out = false;
        of.is_fresh = true;
        self.down -= 1;
        self.restored.push(slot);
        self.links.made_again();
    }

    /// Connects, and waits until the server has said something.
    fn connect(&mut self, slot: usize) -> io::Result<u32> {
        let key = self.free_key();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for stop in self.routes.latest().places.clone() {
            match self.connect_to(&stop, key) {
                Ok(endpoint) => {
                    self.put(key, endpoint, slot, stop.node);
                    return Ok(key);
                }
                Err(error) => {
                    self.destination.nodes().leave(&stop.node);
                    last = error;
                }
            }
        }
        Err(last)
    }

    fn connect_to(&self, stop: &Stop, key: u32) -> io::Result<Endpoint> {
        let (timeout, tls) = (self.connect_timeout, stop.tls.as_ref());
        let end = Instant::now() + timeout;
        let mut endpoint =
            Endpoint::connect(&stop.place, tls, timeout, config(), &self.poller, key)?;
        match endpoint.until_ready(end, &self.poller) {
            Ok(()) => Ok(endpoint),
            Err(error) => {
                endpoint.remove(&self.poller)?;
                Err(error)
            }
        }
    }

    /// Returns a key that no endpoint has.
    fn free_key(&self) -> u32 {
        let free = self.endpoints.iter().position(Option::is_none);
        let key = free.unwrap_or(self.endpoints.len());
        u32::try_from(key).expect("fewer than 2^32 connections")
    }

    fn put(&mut self, key: u32, endpoint: Endpoint, slot: usize, node: Arc<Node>) {
        let open = Some(OpenEndpoint {
            endpoint,
            slot,
            node,
            is_left: false,
        });
        match self.endpoints.get_mut(key as usize) {
            Some(free) => *free = open,
            None => self.endpoints.push(open),
        }
    }

    /// Removes an endpoint whose server does not answer.
    fn give_up(&mut self, key: u32) {
        if let Some(open) = &self.endpoints[key as usize] {
            self.destination.nodes().leave(&open.node);
        }
        self.remove(key);
    }

    fn remove(&mut self, key: u32) {
        if let Some(open) = self.endpoints[key as usize].take() {
            // Dropping the endpoint closes its socket in any case.
            let _ = open.endpoint.remove(&self.poller);
        }
    }
}

/// How far an endpoint is.
#[derive(Clone, Copy)]
struct EndpointState {
    /// The SETTINGS of the server have arrived.
    is_ready: bool,
    is_closed: bool,
    /// The server has ended it in order.
    is_draining: bool,
    /// Another node owns the store.
    is_left: bool,
    /// It takes no new calls.
    is_ending: bool,
    /// It takes no new calls, and all its calls have ended.
    is_drained: bool,
}

impl EndpointState {
    /// Returns whether the server has ended the connection without having taken a call, if it has answered none.
    fn is_unused(self) -> bool {
        self.is_closed || self.is_drained
    }

    fn of(open: &mut OpenEndpoint) -> Self {
        let is_left = open.is_left;
        let connection = open.endpoint.connection();
        let is_draining = connection.is_draining();
        let is_ending = is_left || is_draining || connection.is_exhausted();
        Self {
            is_left,
            is_ready: connection.is_ready(),
            is_closed: connection.closed().is_some(),
            is_draining,
            is_ending,
            is_drained: is_ending && connection.open_calls() == 0,
        }
    }
}

impl ConnectionSlot {
    fn is_attempt(&self, key: u32) -> bool {
        matches!(self.making, Making::Attempt { key: attempt, .. } if attempt == key)
    }
}

fn why_closed(connection: &Connection) -> String {
    let closed = connection.closed();
    closed.map(|closed| closed.0.clone()).unwrap_or_default()
}

fn config() -> Config {
    Config {
        message_bytes_max: ANSWER_BYTES_MAX,
        ..Config::default()
    }
}
