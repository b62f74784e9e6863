use std::sync::mpsc::{Receiver, sync_channel};

use crate::pace::pacer::*;
use crate::plan::choices::Arrival;
use crate::plan::load_schedule::LoadSchedule;

const MS: Duration = Duration::from_millis(1);

fn evenly(rate: f64) -> Arrivals {
    Arrivals::new(LoadSchedule::constant(rate).unwrap(), Arrival::Constant, 0)
}

/// Returns a sink that takes everything, and the receiver that gets it.
fn channel() -> (impl ArrivalSink, Receiver<Instant>) {
    let (sender, receiver) = sync_channel(1_000);
    let sink = move |intended| match sender.send(intended) {
        Ok(()) => Handover::Accepted,
        Err(_) => Handover::Closed,
    };
    (sink, receiver)
}

#[test]
fn each_arrival_is_due_at_its_own_time() {
    let start = Instant::now();
    let mut pace = Pace::new(start, evenly(1_000.0)).until(start + 6 * MS);
    assert_eq!(pace.due(start - MS).count(), 0);
    assert_eq!(pace.next(), Some(start));
    assert!(pace.due(start).eq([start]));
    assert_eq!(pace.due(start + MS / 2).count(), 0);
    assert_eq!(pace.next(), Some(start + MS));
    // Late, as after a stall.
    let caught_up = pace.due(start + 7 * MS / 2);
    assert!(caught_up.eq([start + MS, start + 2 * MS, start + 3 * MS]));
    // The end itself is left out.
    let last = pace.due(start + 60 * MS);
    assert!(last.eq([start + 4 * MS, start + 5 * MS]));
    assert_eq!(pace.next(), None);
    assert_eq!(pace.due(start + 60 * MS).count(), 0);
}

#[test]
fn due_takes_no_more_than_its_caller_does() {
    let start = Instant::now();
    let mut pace = Pace::new(start, evenly(1_000.0));
    assert!(pace.due(start + 9 * MS).take(2).eq([start, start + MS]));
    assert_eq!(pace.next(), Some(start + 2 * MS));
}

#[test]
fn a_late_arrival_keeps_its_intended_start_and_its_lateness_is_recorded() {
    let start = Instant::now() - 500 * MS;
    let (sink, receiver) = channel();
    let pace = Pace::new(start, evenly(1_000.0)).until(start + 400 * MS);
    let totals = Pacer::spawn(pace, sink).unwrap().join();
    let expected: Vec<_> = (0..400).map(|number| start + number * MS).collect();
    assert_eq!(receiver.iter().collect::<Vec<_>>(), expected);
    assert_eq!(totals.lateness.len(), 400);
    // The last arrival was due 101 ms ago, the first 500 ms. The histogram has three digits.
    assert!(totals.lateness.min() >= 100_900_000);
    assert!(totals.lateness.max() >= 499_000_000);
}

#[test]
fn a_stop_ends_the_pacer_an_hour_before_the_next_arrival() {
    let (sink, receiver) = channel();
    let pace = Pace::new(Instant::now(), evenly(1.0 / 3_600.0));
    let pacer = Pacer::spawn(pace, sink).unwrap();
    receiver.recv().unwrap();
    pacer.stop();
    let totals = pacer.join();
    assert_eq!(totals.ended, Ended::Stopped);
    assert_eq!((totals.accepted, totals.dropped), (1, 0));
}

#[test]
fn dropping_a_pacer_stops_it() {
    let (sink, receiver) = channel();
    let pace = Pace::new(Instant::now(), evenly(1.0 / 3_600.0));
    drop(Pacer::spawn(pace, sink).unwrap());
    // The channel is closed when the thread has ended.
    while receiver.recv().is_ok() {}
}

#[test]
fn a_stop_also_ends_catching_up() {
    let (third, at_third) = sync_channel(0);
    let (resume, resumed) = sync_channel::<()>(0);
    let mut accepted = 0;
    let blocking = move |_| {
        accepted += 1;
        if accepted == 3 {
            third.send(()).unwrap();
            resumed.recv().unwrap();
        }
        Handover::Accepted
    };
    let pace = Pace::new(Instant::now() - 500 * MS, evenly(1e6));
    let pacer = Pacer::spawn(pace, blocking).unwrap();
    at_third.recv().unwrap();
    pacer.stop();
    resume.send(()).unwrap();
    let totals = pacer.join();
    assert_eq!((totals.accepted, totals.ended), (3, Ended::Stopped));
}

#[test]
fn a_sink_that_takes_no_more_ends_the_pacer() {
    let (sink, receiver) = channel();
    drop(receiver);
    let pace = Pace::new(Instant::now(), evenly(1_000.0));
    let totals = Pacer::spawn(pace, sink).unwrap().join();
    assert_eq!(
        (totals.ended, totals.accepted, totals.dropped),
        (Ended::Closed, 0, 1)
    );
}
