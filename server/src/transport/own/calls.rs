//! The calls of a connection, each in the place that its stream has.

use std::sync::Arc;
use std::task::{Context, Waker};

use http::HeaderMap;
use soloist_http2::{Connection, ErrorCode, Head, Route, StreamKey, Then};

use super::call::Call;
use super::ready::{Place, Ready};
use super::request::{self, Malformed};
use crate::rpc::body::incoming::RequestBody;
use crate::rpc::body::pipe::pipe;
use crate::rpc::services::{ClientServices, ConnectionQuota, UNARY_METHODS};

/// See the [module](self).
pub(super) struct Calls {
    services: ClientServices,
    quota: ConnectionQuota,
    slots: Vec<Slot>,
    ready: Arc<Ready>,
    /// The places to poll next.
    due: Vec<usize>,
}

/// A place for a call.
struct Slot {
    call: Option<Call>,
    place: Arc<Place>,
    waker: Waker,
}

impl Calls {
    pub(super) fn new(services: ClientServices, quota: ConnectionQuota) -> Self {
        Self {
            services,
            quota,
            slots: Vec::new(),
            ready: Arc::default(),
            due: Vec::new(),
        }
    }

    /// To be called at the beginning of each poll of the connection.
    pub(super) fn register(&self, connection: &Waker) {
        self.ready.register(connection);
    }

    /// Begins a call. Its handler is polled with the next [`poll_due`](Self::poll_due), when more of its request may be there.
    ///
    /// # Errors
    /// If the request is malformed: then there is no call.
    pub(super) fn begin(
        &mut self,
        stream: StreamKey,
        head: &Head<'_>,
        then: Then,
    ) -> Result<(), Malformed> {
        let place = stream.slot();
        while self.slots.len() <= place {
            let place = Place::new(self.slots.len(), &self.ready);
            self.slots.push(Slot {
                call: None,
                waker: Arc::clone(&place).into(),
                place,
            });
        }
        let unary = head
            .route()
            .and_then(|Route(at)| UNARY_METHODS.get(usize::from(at)));
        let unary = unary.and_then(|method| self.services.begin_unary(method, head));
        let call = match unary {
            Some(Ok(unary)) => Call::of_head(stream, unary, self.quota.call()),
            Some(Err(refused)) => Call::new(stream, refused, None, self.quota.call()),
            None => {
                let request = request::request(head)?;
                let (feed, body) = pipe(self.slots[place].waker.clone());
                let answering = self
                    .services
                    .begin(request.map(|()| RequestBody::from(body)));
                Call::new(stream, answering, Some(feed), self.quota.call())
            }
        };
        self.slots[place].call = Some(call);
        if then == Then::End {
            self.data(stream, &[], then);
        }
        self.note(place);
        Ok(())
    }

    /// Adds to the request of a call. Returns how many bytes nobody will read.
    pub(super) fn data(&mut self, stream: StreamKey, data: &[u8], then: Then) -> usize {
        let Some((call, waker)) = self.get(stream) else {
            return data.len();
        };
        if then == Then::End && call.take_whole(data) {
            return data.len();
        }
        let Some(feed) = call.feed(waker) else {
            return data.len();
        };
        let is_read = data.is_empty() || feed.feed(data);
        if then == Then::End {
            feed.finish(None);
        }
        if is_read { 0 } else { data.len() }
    }

    /// Ends the request of a call with trailers.
    pub(super) fn trailers(&mut self, stream: StreamKey, trailers: HeaderMap) {
        if let Some((call, waker)) = self.get(stream)
            && let Some(feed) = call.feed(waker)
        {
            feed.finish(Some(trailers));
        }
    }

    /// Goes on with a call for whose answer there is room again, at once: it is its turn, and the next stream is told when it has
    /// taken its share.
    pub(super) fn writable(&mut self, core: &mut Connection, stream: StreamKey) {
        if self.get(stream).is_some() {
            self.poll(core, stream.slot());
        }
    }

    /// Drops a call whose stream was closed.
    pub(super) fn reset(&mut self, stream: StreamKey, code: ErrorCode) {
        let Some((call, _)) = self.get(stream) else {
            return;
        };
        if matches!(code, ErrorCode::NO_ERROR | ErrorCode::CANCEL) {
            call.cancel();
        }
        self.slots[stream.slot()].call = None;
    }

    /// Drops all calls.
    pub(super) fn clear(&mut self) {
        self.slots = Vec::new();
        self.due = Vec::new();
    }

    /// Polls the calls that can go on, each once, and `most` at most. Returns whether there are more.
    pub(super) fn poll_due(&mut self, core: &mut Connection, most: usize) -> bool {
        self.ready.take(&mut self.due);
        let rest = self.due.split_off(most.min(self.due.len()));
        let mut due = std::mem::replace(&mut self.due, rest);
        for place in due.drain(..) {
            if let Some(slot) = self.slots.get(place) {
                slot.place.begin_poll();
                self.poll(core, place);
            }
        }
        let has_more = !self.due.is_empty();
        if !has_more {
            // With its capacity.
            self.due = due;
        }
        has_more
    }

    fn poll(&mut self, core: &mut Connection, place: usize) {
        if let Some(slot) = self.slots.get_mut(place)
            && let Some(call) = &mut slot.call
        {
            let mut cx = Context::from_waker(&slot.waker);
            if call.poll(core, &mut cx).is_ready() {
                slot.call = None;
            }
        }
    }

    /// The call of a stream, and its waker.
    fn get(&mut self, stream: StreamKey) -> Option<(&mut Call, &Waker)> {
        let slot = self.slots.get_mut(stream.slot())?;
        let call = slot.call.as_mut()?;
        (call.stream() == stream).then_some((call, &slot.waker))
    }

    fn note(&mut self, place: usize) {
        if let Some(slot) = self.slots.get(place)
            && slot.place.note()
        {
            self.due.push(place);
        }
    }
}
