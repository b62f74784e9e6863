//! The way of a worker's operations to the server and back, over calls or over a stream of frames.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::engines::call_lane::CallLane;
use crate::engines::ended::Ended;
use crate::engines::frame_lane::FrameLane;
use crate::engines::link::Link;
use crate::plan::choices::Engine;
use crate::plan::settings::Settings;
use crate::workload::operation::{Call, InFlight, SentOp};

/// Sends the operations of one worker and receives the answers.
#[derive(Debug)]
pub(crate) struct Lane {
    transport: Transport,
    in_flight_max: usize,
    /// Lists to use again, instead of allocating new ones.
    spare: Vec<Vec<SentOp>>,
    /// Whether operations were lost with a stream or connection.
    has_lost: bool,
}

#[derive(Debug)]
enum Transport {
    Calls(CallLane),
    Frames(FrameLane),
}

impl Lane {
    /// Opens a lane on a connection. With the engine `pipeline` this opens a stream, and waits until the server has
    /// accepted it, at most for the connect timeout.
    ///
    /// # Errors
    /// If the stream cannot be opened. The text names the address.
    pub(crate) async fn open(link: &Rc<Link>, settings: &Arc<Settings>) -> Result<Self, String> {
        let transport = match settings.engine {
            Engine::Unary | Engine::Raw => Transport::Calls(CallLane::new(link, settings)),
            Engine::Pipeline => Transport::Frames(FrameLane::open(link, settings).await?),
        };
        Ok(Self {
            transport,
            in_flight_max: usize::try_from(settings.pipeline).expect("--pipeline fits"),
            spare: Vec::new(),
            has_lost: false,
        })
    }

    /// Returns whether something can be sent.
    pub(crate) fn has_room(&self) -> bool {
        match &self.transport {
            Transport::Calls(calls) => calls.in_flight() < self.in_flight_max && calls.is_up(),
            Transport::Frames(frames) => frames.in_flight() < self.in_flight_max && frames.is_up(),
        }
    }

    /// Returns an empty list for the operations to send, if possible one that was [given back](Self::give_spare).
    pub(crate) fn take_spare(&mut self) -> Vec<SentOp> {
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps an empty list for the next time.
    pub(crate) fn give_spare(&mut self, ops: Vec<SentOp>) {
        if self.spare.len() < self.in_flight_max {
            self.spare.push(ops);
        }
    }

    /// Returns whether nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        match &self.transport {
            Transport::Calls(calls) => calls.in_flight() == 0,
            Transport::Frames(frames) => frames.in_flight() == 0,
        }
    }

    /// Returns whether operations were lost with a stream or connection since this was asked last.
    pub(crate) fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.has_lost)
    }

    /// Sends operations together: a frame, or one call. Needs [room](Self::has_room).
    pub(crate) fn send(&mut self, sent: InFlight, calls: Vec<Call>) {
        match &mut self.transport {
            Transport::Calls(lane) => {
                // Every call is one operation.
                if let Some(call) = calls.into_iter().next() {
                    lane.send(sent, call);
                }
            }
            Transport::Frames(lane) => lane.send(sent, calls),
        }
    }

    /// Waits for the next end of operations. If nothing is in flight, waits for a change of the connection instead, and
    /// returns `None`. If the future is dropped midway, no answer is lost.
    pub(crate) async fn recv(&mut self) -> Option<Ended> {
        match &mut self.transport {
            Transport::Calls(lane) => lane.recv(&mut self.has_lost).await,
            Transport::Frames(lane) => lane.recv(&mut self.has_lost).await,
        }
    }

    /// Gives up frames or calls that started at `latest_start` or before.
    ///
    /// Each call fails for itself, and is returned. Frames are answered in their order, so that the whole stream is lost
    /// with the oldest: [`recv`](Self::recv) returns the failures.
    pub(crate) fn give_up(&mut self, latest_start: Instant, now: Instant) -> Vec<Ended> {
        match &mut self.transport {
            Transport::Calls(lane) => lane.give_up(latest_start, now),
            Transport::Frames(lane) => {
                self.has_lost |= lane.give_up(latest_start, now);
                Vec::new()
            }
        }
    }

    /// Gives up everything in flight, and returns it.
    pub(crate) fn abandon(&mut self) -> Vec<InFlight> {
        match &mut self.transport {
            Transport::Calls(lane) => lane.abandon(),
            Transport::Frames(lane) => lane.abandon(),
        }
    }
}
