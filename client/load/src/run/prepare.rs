//! What has to be there before the first operation: machines, keys, sessions.

use std::collections::VecDeque;
use std::fmt::Display;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use soloist::v1;
use tonic::Status;

use crate::plan::choices::ValueKind;
use crate::plan::mix::{MACHINE_PREFIX, Mix, NamedWorkload, STATES};
use crate::plan::settings::Settings;
use crate::run::target::Target;
use crate::workload::values::Values;
use soloist_client::{
    Client, Error, Frame, Machine, Outcome, PipelineSendError, State, Value, Write,
};

/// Frames of keys under way.
const FRAMES_IN_FLIGHT: usize = 16;
/// Keys in a frame at most, and the bytes of their values.
const FRAME_KEYS: u64 = 256;
const FRAME_BYTES: u64 = 256 << 10;

/// The name of the machine that the workload `transition` defines, and leaves behind.
const MACHINE: &str = "load-connection";
/// How long the sessions of the workload `renew` live after it.
const SESSION_TTL: Duration = Duration::from_secs(60);
/// Sessions that are opened at once.
const SESSIONS_AT_ONCE: usize = 64;

/// Makes all of it. Returns the sessions, one for each worker, if the workload has any.
pub(crate) async fn prepare(
    settings: &Settings,
    target: &Target,
) -> Result<VecDeque<v1::Session>, String> {
    let client = target.client();
    if settings.mix == Mix::Named(NamedWorkload::Transition) {
        define_machine(client).await.map_err(said("the machine"))?;
    }
    if settings.mix.needs_keys() {
        write_keys(settings, client).await.map_err(said("keys"))?;
    }
    match settings.mix {
        Mix::Named(NamedWorkload::Renew) => open_sessions(settings, client)
            .await
            .map_err(said("sessions")),
        _ => Ok(VecDeque::new()),
    }
}

fn said<E: Display>(what: &str) -> impl Fn(E) -> String {
    move |error| format!("cannot make {what} for this workload: {error}")
}

/// The life of a connection, in which it may be used again and again.
async fn define_machine(client: &Client) -> Result<(), Error> {
    let [idle, inflight, closing] = STATES;
    let machine = Machine::new(MACHINE)
        .key_prefix(MACHINE_PREFIX)
        .initial(idle)
        .state(idle, State::new().to(inflight))
        .state(inflight, State::new().to(idle).to(closing))
        .state(closing, State::new().to(idle));
    client.define_machine(machine).await.map(drop)
}

async fn write_keys(settings: &Settings, client: &Client) -> Result<(), Error> {
    let frame_keys = (FRAME_BYTES / settings.value_size.max(1)).clamp(1, FRAME_KEYS);
    // Not those of any worker: it is numbered after all of them.
    let after_all = settings.part.of * settings.workers();
    let mut rng = SmallRng::seed_from_u64(settings.seed);
    let mut values = Values::new(settings, after_all, &mut rng);
    let mut pipeline = client.pipeline().frames_in_flight(FRAMES_IN_FLIGHT).await?;
    let mut next = 0;
    let mut unanswered = 0;
    while next < settings.keys || unanswered > 0 {
        while next < settings.keys && unanswered < FRAMES_IN_FLIGHT {
            let upto = settings.keys.min(next + frame_keys);
            let mut frame = Frame::new();
            for number in next..upto {
                let value = match settings.value {
                    // What is counted with begins at 0.
                    ValueKind::Int => Value::from(0),
                    ValueKind::Text | ValueKind::Bytes => {
                        let value = values.next(&mut rng);
                        match value.kind {
                            Some(v1::value::Kind::Text(text)) => text.into(),
                            Some(v1::value::Kind::Bytes(bytes)) => bytes.to_vec().into(),
                            _ => Value::from(0),
                        }
                    }
                };
                frame = frame.op(Write::new(settings.mix.key_name(number), value));
            }
            match pipeline.send(frame) {
                Ok(()) => {}
                // Receiving tells why.
                Err(PipelineSendError::Full | PipelineSendError::Closed) => break,
            }
            next = upto;
            unanswered += 1;
        }
        let Some(reply) = pipeline.recv().await? else {
            let status = Status::unavailable("the server ended the stream");
            return Err(Error::from_status(&status, Outcome::Unknown));
        };
        for result in reply.results? {
            result?;
        }
        unanswered -= 1;
    }
    Ok(())
}

async fn open_sessions(
    settings: &Settings,
    client: &Client,
) -> Result<VecDeque<v1::Session>, Error> {
    let mut sessions = VecDeque::new();
    let workers = usize::try_from(settings.workers()).expect("the flag's limit fits");
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
    }
    Ok(sessions)
}
