//! A connection of a thread of the engines `unary` and `pipeline`, which is made again when it ends.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tonic::Status;

use crate::connect::destination::Destination;
use crate::connect::nodes::{NO_OWNER, other_owner};
use crate::engines::backoff::Backoff;
use crate::engines::connection::Connection;
use crate::record::links::Links;

/// A connection as the workers see it: if it ends, another one takes its place. All workers of the connection share it.
#[derive(Debug)]
pub(crate) struct Link {
    destination: Arc<Destination>,
    connect_timeout: Duration,
    /// `None` while there is no connection that takes operations.
    connection: RefCell<Option<Connection>>,
    /// Counts the connections.
    generation: Cell<u64>,
    /// Whether an attempt has failed since there was a connection: then operations do not wait for the next one.
    is_out: Cell<bool>,
    /// Whether the connection was made again and has answered nothing yet.
    is_fresh: Cell<bool>,
    /// Operations that were sent on the connection.
    operations: Cell<u64>,
    /// How many nodes did not own the store, or were not there, since a connection has answered.
    asked: Cell<usize>,
    backoff: RefCell<Backoff>,
    changed: Notify,
    links: Arc<Links>,
}

impl Link {
    /// Connects, and waits until the server has said something.
    ///
    /// # Errors
    /// If that fails. The text names the address.
    pub(crate) async fn open(
        destination: &Arc<Destination>,
        connect_timeout: Duration,
        backoff: Backoff,
        links: &Arc<Links>,
    ) -> Result<Rc<Self>, String> {
        let mut attempts = destination.nodes().count();
        let connection = loop {
            attempts -= 1;
            match Connection::open(destination, connect_timeout).await {
                Ok(connection) => break connection,
                Err(error) if attempts == 0 => return Err(destination.explain(error).await),
                Err(_) => {}
            }
        };
        links.opened(connection.node().name());
        Ok(Rc::new(Self {
            destination: Arc::clone(destination),
            connect_timeout,
            connection: RefCell::new(Some(connection)),
            generation: Cell::new(0),
            is_out: Cell::new(false),
            is_fresh: Cell::new(false),
            operations: Cell::new(0),
            asked: Cell::new(0),
            backoff: RefCell::new(backoff),
            changed: Notify::new(),
            links: Arc::clone(links),
        }))
    }

    /// Makes the connection again whenever it ends. Never returns.
    pub(crate) async fn maintain(self: Rc<Self>) {
        loop {
            let connection = self.connection.borrow().clone();
            let (mut is_lost, mut is_left) = (true, false);
            if let Some(connection) = connection {
                connection.ended().await;
                is_left = connection.is_left();
                is_lost = !connection.is_draining() && !is_left;
                self.take_down(&connection);
            }
            // A server that ends each connection before it takes an operation must not be asked for the next one at once.
            let is_unused = is_lost || self.operations.get() == 0;
            match self.is_fresh.replace(false) {
                true if is_left => self.ask_another(NO_OWNER).await,
                true if is_unused => {
                    self.wait("the server ends connections before it takes an operation")
                        .await;
                }
                _ => {}
            }
            loop {
                match Connection::open(&self.destination, self.connect_timeout).await {
                    Ok(connection) => {
                        self.put_up(connection);
                        break;
                    }
                    Err(why) => self.ask_another(&why).await,
                }
            }
        }
    }

    /// Goes on with another node at once, and waits when all of them were asked in vain.
    async fn ask_another(&self, why: &str) {
        let nodes = self.destination.nodes();
        self.asked.set(self.asked.get() + 1);
        if nodes.count() == 1 || self.asked.get().is_multiple_of(nodes.round()) {
            self.wait(why).await;
        }
    }

    fn take_down(&self, connection: &Connection) {
        let now = Instant::now();
        match (connection.is_left(), connection.is_draining()) {
            (true, _) => self.links.replaced(now),
            (false, true) => self.links.goaway(now),
            (false, false) => self.links.lost(now),
        }
        *self.connection.borrow_mut() = None;
        self.changed.notify_waiters();
    }

    fn put_up(&self, connection: Connection) {
        self.links.made_again();
        *self.connection.borrow_mut() = Some(connection);
        self.generation.set(self.generation.get() + 1);
        self.is_out.set(false);
        self.is_fresh.set(true);
        self.operations.set(0);
        self.changed.notify_waiters();
    }

    /// Waits after an attempt that failed.
    async fn wait(&self, why: &str) {
        self.links.attempt_failed(why);
        self.is_out.set(true);
        self.changed.notify_waiters();
        let wait = self.backoff.borrow_mut().wait();
        tokio::time::sleep(wait).await;
    }

    /// Returns the number of the connection, counted from 0. While there is none, it is that of the last one.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// Returns the connection, if there is one that takes operations.
    pub(crate) fn connection(&self) -> Option<Connection> {
        self.connection.borrow().clone()
    }

    /// Notes that the server has refused the stream of a call, which is made again.
    pub(crate) fn refused(&self) {
        self.links.refused(1);
    }

    /// Looks whether an error says that another node owns the store. If so, another connection is made to that node.
    pub(crate) fn is_elsewhere(&self, generation: u64, status: &Status) -> bool {
        let connection = self.connection.borrow();
        match &*connection {
            Some(connection) if generation == self.generation.get() => {
                connection.is_elsewhere(status.code(), status.details())
            }
            // The connection was given up already.
            _ => {
                self.destination.is_searched()
                    && other_owner(status.code(), status.details()).is_some()
            }
        }
    }

    /// Returns whether another node may own the store.
    pub(crate) fn may_go_elsewhere(&self) -> bool {
        self.destination.is_searched()
    }

    /// Returns whether there is a connection that takes operations.
    pub(crate) fn is_up(&self) -> bool {
        self.connection.borrow().is_some()
    }

    /// Returns whether there is no connection, nor one that may be there in a moment.
    pub(crate) fn is_out(&self) -> bool {
        self.is_out.get()
    }

    /// Notes that an operation is sent on the connection.
    #[inline]
    pub(crate) fn sent(&self) {
        self.operations.set(self.operations.get() + 1);
    }

    /// Returns how often something was read from the connection so far.
    pub(crate) fn reads(&self) -> u64 {
        let connection = self.connection.borrow();
        connection.as_ref().map_or(0, Connection::reads)
    }

    /// Ends the connection with this number if nothing was read from it since `reads` was asked: an operation was not answered
    /// in time, the server may be gone without a word, and another connection may work.
    pub(crate) fn end_if_silent(&self, generation: u64, reads: u64) {
        let connection = self.connection.borrow();
        if let Some(connection) = &*connection
            && generation == self.generation.get()
            && reads == connection.reads()
        {
            connection.give_up();
        }
    }

    /// Notes that an operation was answered on the connection with this number.
    #[inline]
    pub(crate) fn answered(&self, generation: u64) {
        if self.is_fresh.get() && generation == self.generation.get() {
            self.is_fresh.set(false);
            self.asked.set(0);
            self.backoff.borrow_mut().reset();
            if let Some(connection) = &*self.connection.borrow() {
                self.links
                    .answered(connection.node().name(), Instant::now());
            }
        }
    }

    /// Returns a future that ends with the next change. It counts from now on, even before it is awaited.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}
