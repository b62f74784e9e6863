//! The open loop of a run, from the settings to its totals.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::pace::admission::{Admission, DropReason};
use crate::pace::arrivals::Arrivals;
use crate::pace::pacer::{Pace, Pacer};
use crate::pace::round_robin::RoundRobin;
use crate::pace::self_pacing::SelfPacing;
use crate::pace::stop::Stop;
use crate::plan::choices::Engine;
use crate::plan::load_schedule::LoadSchedule;
use crate::plan::open_loop::OpenLoop;
use crate::plan::settings::Settings;

/// Where a thread gets its arrivals from.
#[derive(Debug)]
pub(crate) enum ArrivalSource {
    /// From the pacer: the intended start of each operation.
    Pacer(mpsc::Receiver<Instant>),
    /// From itself.
    Own(Box<SelfPacing>),
}

/// An open loop that has not started.
pub(crate) struct OpenLoopSetup {
    arrivals: Arrivals,
    /// For the threads that take their arrivals from the pacer.
    threads: Vec<mpsc::Sender<Instant>>,
    admission: Arc<Admission>,
    load: Load,
}

/// An open loop that has started.
#[derive(Debug)]
pub(crate) struct RunningOpenLoop {
    /// `None` if the threads pace themselves.
    pacer: Option<Pacer>,
    admission: Arc<Admission>,
    load: Load,
    stop: Arc<Stop>,
}

/// The operations that an open loop has offered.
#[derive(Debug)]
pub(crate) struct OpenLoopTotals {
    /// Operations that were due in the measured time.
    pub(crate) offered: u64,
    /// Those of them that were never sent, by the reason.
    pub(crate) dropped: Vec<(DropReason, u64)>,
    /// CPU time of the pacer.
    pub(crate) cpu: Duration,
    /// From the start of the run to the beginning of the measured time.
    warmup: Duration,
    load: Load,
}

/// The load that was asked for.
#[derive(Debug)]
struct Load {
    /// In frames, of all agents together.
    schedule: LoadSchedule,
    frame_ops: u64,
    agents: u64,
}

impl OpenLoopSetup {
    /// Returns the open loop, and where each thread gets its arrivals from, in the order of the threads.
    pub(crate) fn new(settings: &Settings, open_loop: &OpenLoop) -> (Self, Vec<ArrivalSource>) {
        let schedule = open_loop.schedule(settings.frame_ops);
        let schedule = schedule.expect("checked when the settings were made");
        let in_flight_max = open_loop.max_in_flight.div_ceil(settings.frame_ops);
        let admission = Arc::new(Admission::new(in_flight_max));
        let capacity = usize::try_from(in_flight_max).expect("--max-in-flight fits");
        let arrivals = Arrivals::new(schedule.clone(), open_loop.arrival, settings.seed);
        let part = settings.part;
        let mut threads = Vec::new();
        let sources = (0..settings.threads).map(|index| match settings.engine {
            Engine::Raw => {
                let number = part.index * settings.threads + index;
                let share = arrivals.clone().share(number, part.of * settings.threads);
                let pacing = SelfPacing::new(share, Arc::clone(&admission));
                ArrivalSource::Own(Box::new(pacing))
            }
            Engine::Unary | Engine::Pipeline => {
                let (sender, receiver) = mpsc::channel(capacity);
                threads.push(sender);
                ArrivalSource::Pacer(receiver)
            }
        });
        let sources = sources.collect();
        let setup = Self {
            arrivals: arrivals.share(part.index, part.of),
            threads,
            admission,
            load: Load {
                schedule,
                frame_ops: settings.frame_ops,
                agents: part.of,
            },
        };
        (setup, sources)
    }

    /// Returns the admission, to which the threads say when an operation is answered.
    pub(crate) fn admission(&self) -> Arc<Admission> {
        Arc::clone(&self.admission)
    }

    /// Starts to hand out arrivals, from the start of the run to its end.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub(crate) fn start(self, stop: Arc<Stop>) -> io::Result<RunningOpenLoop> {
        let pacer = match self.threads.is_empty() {
            true => None,
            false => {
                let sink = RoundRobin::new(
                    self.threads,
                    Arc::clone(&self.admission),
                    self.load.frame_ops,
                    Arc::clone(&stop),
                );
                Some(Pacer::spawn(Pace::of_run(self.arrivals, &stop), sink)?)
            }
        };
        Ok(RunningOpenLoop {
            pacer,
            admission: self.admission,
            load: self.load,
            stop,
        })
    }
}

impl RunningOpenLoop {
    /// Returns how many operations were due so far and never sent.
    pub(crate) fn dropped(&self) -> u64 {
        self.admission.dropped() * self.load.frame_ops
    }

    /// Ends: no operation is handed out any more.
    pub(crate) fn stop(&self) {
        if let Some(pacer) = &self.pacer {
            pacer.stop();
        }
    }

    /// Ends, and waits for the pacer.
    pub(crate) fn finish(self) -> OpenLoopTotals {
        self.stop();
        let cpu = self.pacer.map(|pacer| pacer.join().cpu);
        let dropped = DropReason::ALL.into_iter().map(|reason| {
            let frames = self.admission.dropped_for(reason);
            (reason, frames * self.load.frame_ops)
        });
        OpenLoopTotals {
            offered: self.admission.due() * self.load.frame_ops,
            dropped: dropped.collect(),
            cpu: cpu.unwrap_or_default(),
            warmup: Duration::from_nanos(self.stop.nanos_of(self.stop.window_start())),
            load: self.load,
        }
    }
}

impl OpenLoopTotals {
    /// Returns how many operations were never sent.
    pub(crate) fn all_dropped(&self) -> u64 {
        self.dropped.iter().map(|(_, ops)| ops).sum()
    }

    /// Returns how many operations the schedule alone has in the first `elapsed` of the measured time. It is the share of
    /// this process, and not rounded.
    pub(crate) fn requested(&self, elapsed: Duration) -> f64 {
        let schedule = &self.load.schedule;
        let frames = schedule.count_at(self.warmup + elapsed) - schedule.count_at(self.warmup);
        frames * self.load.frame_ops as f64 / self.load.agents as f64
    }
}
