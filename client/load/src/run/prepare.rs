//! Makes what a workload needs before its first operation: machines, keys and sessions.

use std::collections::VecDeque;
use std::fmt::Display;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use soloist::v1;
use soloist_server::progress::Unit;
use tonic::Status;

use crate::plan::choices::ValueKind;
use crate::plan::mix::{Mix, NamedWorkload, STATES};
use crate::plan::settings::Settings;
use crate::report::live::Work;
use crate::run::target::Target;
use crate::workload::values::Values;
use soloist_client::{
    Client, Error, Frame, Machine, Outcome, PipelineSendError, State, Value, Write,
};

/// Frames in flight while keys are written.
const FRAMES_IN_FLIGHT: usize = 16;
/// The most keys of a frame, and the most bytes of their values.
const FRAME_KEYS: u64 = 256;
const FRAME_BYTES: u64 = 256 << 10;

/// The machine of the workload `transition`. It stays in the server after the run, unless that is cleaned up.
pub(super) const MACHINE: &str = "load-connection";
/// The time to live of the sessions of the workload `renew`. They expire by themselves after the run.
const SESSION_TTL: Duration = Duration::from_secs(60);
/// How many sessions are opened at once.
const SESSIONS_AT_ONCE: usize = 64;

/// Makes everything that the workload needs. Returns a session for each worker, if the workload needs sessions.
///
/// # Errors
/// If the server refuses something, or does not answer.
pub(crate) async fn prepare(
    settings: &Settings,
    target: &Target,
    work: Work,
) -> Result<VecDeque<v1::Session>, String> {
    if settings.mix == Mix::Call {
        return Ok(VecDeque::new());
    }
    let client = target.client();
    if settings.mix == Mix::Named(NamedWorkload::Transition) {
        define_machine(settings, client)
            .await
            .map_err(cannot_make("the machine"))?;
    }
    if settings.mix.needs_keys() {
        write_keys(settings, client, work)
            .await
            .map_err(cannot_make("keys"))?;
    }
    match settings.mix {
        Mix::Named(NamedWorkload::Renew) => open_sessions(settings, client, work)
            .await
            .map_err(cannot_make("sessions")),
        _ => Ok(VecDeque::new()),
    }
}

fn cannot_make<E: Display>(what: &str) -> impl Fn(E) -> String {
    move |error| format!("cannot make {what} for this workload: {error}")
}

/// Defines a machine with the states of a connection, which can be used again and again.
async fn define_machine(settings: &Settings, client: &Client) -> Result<(), Error> {
    let [idle, inflight, closing] = STATES;
    let machine = Machine::new(MACHINE)
        .key_prefix(settings.key_names().common())
        .initial(idle)
        .state(idle, State::new().to(inflight))
        .state(inflight, State::new().to(idle).to(closing))
        .state(closing, State::new().to(idle));
    client.define_machine(machine).await.map(drop)
}

/// Writes all keys, in frames on one stream.
async fn write_keys(settings: &Settings, client: &Client, work: Work) -> Result<(), Error> {
    let step = work.step("writing keys", Unit::Things("keys"), Some(settings.keys));
    let frame_keys = (FRAME_BYTES / settings.value_size.max(1)).clamp(1, FRAME_KEYS);
    // The values of a worker whose number comes after all others: no worker writes the same values.
    let after_all_workers = settings.part.of * settings.workers();
    let mut rng = SmallRng::seed_from_u64(settings.seed);
    let mut values = Values::new(settings, after_all_workers, &mut rng);
    let mut pipeline = client.pipeline().frames_in_flight(FRAMES_IN_FLIGHT).await?;
    let names = settings.key_names();
    let mut next = 0;
    let mut in_flight = 0;
    while next < settings.keys || in_flight > 0 {
        while next < settings.keys && in_flight < FRAMES_IN_FLIGHT {
            let end = settings.keys.min(next + frame_keys);
            let mut frame = Frame::new();
            for number in next..end {
                let value = initial_value(settings.value, &mut values, &mut rng);
                frame = frame.op(Write::new(names.of(number), value));
            }
            match pipeline.send(frame) {
                Ok(()) => {}
                // If the stream has ended, receiving says why.
                Err(PipelineSendError::Full | PipelineSendError::Closed) => break,
            }
            next = end;
            in_flight += 1;
        }
        let Some(reply) = pipeline.recv().await? else {
            let status = Status::unavailable("the server ended the stream");
            return Err(Error::from_status(&status, Outcome::Unknown));
        };
        for result in reply.results? {
            result?;
            step.add(1);
        }
        in_flight -= 1;
    }
    Ok(())
}

/// Returns the value of a key before the run. Ints are 0, so that counters begin there.
fn initial_value(kind: ValueKind, values: &mut Values, rng: &mut SmallRng) -> Value {
    if kind == ValueKind::Int {
        return Value::from(0);
    }
    match values.next(rng).kind {
        Some(v1::value::Kind::Text(text)) => text.into(),
        Some(v1::value::Kind::Bytes(bytes)) => bytes.to_vec().into(),
        Some(v1::value::Kind::Int(_)) | None => Value::from(0),
    }
}

/// Opens a session for each worker.
async fn open_sessions(
    settings: &Settings,
    client: &Client,
    work: Work,
) -> Result<VecDeque<v1::Session>, Error> {
    let mut sessions = VecDeque::new();
    let workers = usize::try_from(settings.workers()).expect("the most workers fit");
    let of_each = Unit::Things("sessions");
    let step = work.step("opening sessions", of_each, Some(settings.workers()));
    while sessions.len() < workers {
        let count = SESSIONS_AT_ONCE.min(workers - sessions.len());
        let opening = (0..count).map(|_| async { client.open_session(SESSION_TTL).await });
        for session in futures_util::future::try_join_all(opening).await? {
            sessions.push_back(v1::Session {
                id: session.id,
                create_revision: session.create_revision,
                ..v1::Session::default()
            });
        }
        step.set(sessions.len() as u64);
    }
    Ok(sessions)
}
