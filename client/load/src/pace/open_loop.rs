//! The open loop of a run: what is due goes to the workers while there is room for it, and is dropped and counted where
//! there is none.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::pace::admission::Admission;
use crate::pace::arrivals::Arrivals;
use crate::pace::cpu::thread_cpu_time;
use crate::pace::pacer::{ArrivalSink, Handover, Pace, Pacer};
use crate::pace::stop::Stop;
use crate::plan::choices::Engine;
use crate::plan::load_schedule::LoadSchedule;
use crate::plan::open_loop::OpenLoop;
use crate::plan::settings::Settings;

/// An open loop, before it starts.
pub(crate) struct OpenLoopSetup {
    arrivals: Arrivals,
    schedule: LoadSchedule,
    threads: Vec<mpsc::Sender<Instant>>,
    admission: Arc<Admission>,
    frame_ops: u64,
    parts: u64,
}

/// Where what is due comes from, in one thread.
#[derive(Debug)]
pub(crate) enum ArrivalSource {
    /// From the pacer.
    Pacer(PacerQueue),
    /// The thread paces itself: it waits for its sockets, and can as well wait for what is due.
    Own(Box<SelfPacing>),
}

/// What the pacer hands to one thread.
#[derive(Debug)]
pub(crate) struct PacerQueue {
    pub(crate) due: mpsc::Receiver<Instant>,
    pub(crate) admission: Arc<Admission>,
}

/// The part of an open loop that one thread sees to itself.
#[derive(Debug)]
pub(crate) struct SelfPacing {
    arrivals: Option<Arrivals>,
    pace: Option<Pace>,
    /// Where it is told what becomes of what is let through.
    pub(crate) admission: Arc<Admission>,
}

/// An open loop under way.
#[derive(Debug)]
pub(crate) struct RunningOpenLoop {
    /// None: the threads pace themselves.
    pacer: Option<Pacer>,
    admission: Arc<Admission>,
    schedule: LoadSchedule,
    frame_ops: u64,
    parts: u64,
    stop: Arc<Stop>,
}

/// What an open loop came to.
#[derive(Debug)]
pub(crate) struct OpenLoopTotals {
    /// Operations that were due in the window, and those of them that were never sent.
    pub(crate) offered: u64,
    pub(crate) dropped: u64,
    schedule: LoadSchedule,
    frame_ops: u64,
    parts: u64,
    /// From the start of the run to the window.
    warmup: Duration,
    /// Of its thread.
    pub(crate) cpu: Duration,
}

impl OpenLoopSetup {
    /// Makes ready. What is due arrives at the inlets, one for each thread.
    pub(crate) fn new(settings: &Settings, open_loop: &OpenLoop) -> (Self, Vec<ArrivalSource>) {
        let schedule = open_loop.schedule(settings.frame_ops);
        let schedule = schedule.expect("the settings have checked it");
        let most = open_loop.max_in_flight.div_ceil(settings.frame_ops);
        let admission = Arc::new(Admission::new(most));
        let capacity = usize::try_from(most).expect("the flag's limit fits");
        let arrivals = Arrivals::new(schedule.clone(), open_loop.arrival, settings.seed);
        let part = settings.part;
        let mut threads = Vec::new();
        let sources = (0..settings.threads)
            .map(|index| match settings.engine {
                Engine::Raw => {
                    let number = part.index * settings.threads + index;
                    let share = arrivals.clone().share(number, part.of * settings.threads);
                    ArrivalSource::Own(Box::new(SelfPacing {
                        arrivals: Some(share),
                        pace: None,
                        admission: Arc::clone(&admission),
                    }))
                }
                Engine::Unary | Engine::Pipeline => {
                    let (sender, due) = mpsc::channel(capacity);
                    threads.push(sender);
                    ArrivalSource::Pacer(PacerQueue {
                        due,
                        admission: Arc::clone(&admission),
                    })
                }
            })
            .collect();
        let pacing = Self {
            arrivals: arrivals.share(part.index, part.of),
            parts: part.of,
            schedule,
            threads,
            admission,
            frame_ops: settings.frame_ops,
        };
        (pacing, sources)
    }

    /// Starts to hand out what is due, from the start of the run to its end.
    pub(crate) fn start(self, stop: Arc<Stop>) -> io::Result<RunningOpenLoop> {
        let pacer = match self.threads.is_empty() {
            true => None,
            false => {
                let round_robin = RoundRobin {
                    threads: self.threads.into_iter().map(Some).collect(),
                    turn: 0,
                    admission: Arc::clone(&self.admission),
                    frame_ops: self.frame_ops,
                    stop: Arc::clone(&stop),
                };
                Some(Pacer::spawn(pace(self.arrivals, &stop), round_robin)?)
            }
        };
        Ok(RunningOpenLoop {
            pacer,
            admission: self.admission,
            schedule: self.schedule,
            frame_ops: self.frame_ops,
            parts: self.parts,
            stop,
        })
    }
}

impl RunningOpenLoop {
    /// Operations of the window that were not sent, so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.admission.dropped() * self.frame_ops
    }

    /// Hands out nothing more.
    pub(crate) fn stop(&self) {
        if let Some(pacer) = &self.pacer {
            pacer.stop();
        }
    }

    /// Waits until it has ended, which it has when there is nothing more to hand out and nobody to take it.
    pub(crate) fn finish(self) -> OpenLoopTotals {
        self.stop();
        if let Some(pacer) = self.pacer {
            pacer.join();
        }
        OpenLoopTotals {
            offered: self.admission.due() * self.frame_ops,
            dropped: self.admission.dropped() * self.frame_ops,
            warmup: Duration::from_nanos(self.stop.nanos_of(self.stop.window_start())),
            schedule: self.schedule,
            frame_ops: self.frame_ops,
            parts: self.parts,
            cpu: self.admission.cpu(),
        }
    }
}

impl OpenLoopTotals {
    /// Operations that should have been due within so much of the window, by the schedule alone.
    pub(crate) fn requested(&self, elapsed: Duration) -> f64 {
        let frames =
            self.schedule.count_at(self.warmup + elapsed) - self.schedule.count_at(self.warmup);
        frames * self.frame_ops as f64 / self.parts as f64
    }
}

/// What is due from the start of a run to its end.
fn pace(arrivals: Arrivals, stop: &Stop) -> Pace {
    let pace = Pace::new(stop.instant_of(0), arrivals);
    match stop.end() {
        Some(end) => pace.until(end),
        None => pace,
    }
}

impl SelfPacing {
    /// Begins, with the run.
    pub(crate) fn start(&mut self, stop: &Stop) {
        self.pace = self.arrivals.take().map(|arrivals| pace(arrivals, stop));
    }

    /// When the next operation is due; `None`: none is any more.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.pace.as_ref().and_then(Pace::next)
    }

    /// Nothing more is due.
    pub(crate) fn end(&mut self) {
        self.pace = None;
    }

    /// Lets what is due at `now` through while there is room.
    pub(crate) fn take_due(&mut self, now: Instant, stop: &Stop, queue: &mut VecDeque<Instant>) {
        let Some(mut pace) = self.pace.take() else {
            return;
        };
        for intended in pace.due(now) {
            let handover = self.admission.offer(intended, 1, stop, || {
                queue.push_back(intended);
                Handover::Accepted
            });
            if handover == Handover::Closed {
                return;
            }
        }
        self.pace = Some(pace);
    }
}

/// Lets arrivals through while there is room, to one thread after the other.
struct RoundRobin {
    /// None: all its workers are lost.
    threads: Vec<Option<mpsc::Sender<Instant>>>,
    turn: usize,
    admission: Arc<Admission>,
    frame_ops: u64,
    stop: Arc<Stop>,
}

impl ArrivalSink for RoundRobin {
    fn take(&mut self, intended: Instant) -> Handover {
        let Self {
            threads,
            turn,
            admission,
            frame_ops,
            stop,
        } = self;
        admission.offer(intended, *frame_ops, stop, || {
            let number = *turn;
            *turn = (number + 1) % threads.len();
            hand_to(threads, number, intended)
        })
    }
}

fn hand_to(
    threads: &mut [Option<mpsc::Sender<Instant>>],
    number: usize,
    intended: Instant,
) -> Handover {
    let Some(thread) = &threads[number] else {
        return Handover::Dropped;
    };
    match thread.try_send(intended) {
        Ok(()) => Handover::Accepted,
        Err(mpsc::error::TrySendError::Full(_)) => Handover::Dropped,
        Err(mpsc::error::TrySendError::Closed(_)) => {
            threads[number] = None;
            match threads.iter().all(Option::is_none) {
                true => Handover::Closed,
                false => Handover::Dropped,
            }
        }
    }
}

impl Drop for RoundRobin {
    /// In the thread of the pacer, when it ends.
    fn drop(&mut self) {
        self.admission.set_cpu(thread_cpu_time());
    }
}
