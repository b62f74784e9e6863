//! `lock` and `elect`: a command that runs while this process holds something.

use std::ffi::OsString;
use std::time::Duration;

use nix::sys::signal::Signal;
use soloist::v1;
use soloist_client::{Client, Code, Error, Leadership, Lock};

use crate::command_line::connection::Form;
use crate::command_line::holding::{ElectArgs, HoldFlags, LockArgs};
use crate::connect::Target;
use crate::failure::{Failure, LOST, WAITED};
use crate::output::{Out, escape, say, text};
use crate::process::group::{Change, Group};
use crate::process::not_started;
use crate::process::signals::{Signals, exit_code};

/// The pause before this process asks again for what it did not get.
const PAUSE: Duration = Duration::from_millis(200);

/// What this process holds.
enum Held {
    Lock(Lock),
    Office(Leadership),
}

impl Held {
    fn key(&self) -> &str {
        match self {
            Self::Lock(lock) => lock.key(),
            Self::Office(office) => office.key(),
        }
    }

    fn token(&self) -> i64 {
        match self {
            Self::Lock(lock) => lock.token(),
            Self::Office(office) => office.term(),
        }
    }

    async fn lost(&self) -> Error {
        match self {
            Self::Lock(lock) => lock.lost().await,
            Self::Office(office) => office.lost().await,
        }
    }

    async fn release(self) -> Result<(), Error> {
        match self {
            Self::Lock(lock) => lock.release().await,
            Self::Office(office) => office.resign().await,
        }
    }
}

/// What is asked for, and what is done with it.
struct Plan<'a> {
    /// Its name, as a person says it.
    what: String,
    hold: &'a HoldFlags,
    command: &'a [OsString],
    /// The variables for the key and for the token.
    variables: [&'static str; 2],
}

pub(super) async fn lock(target: &Target, args: &LockArgs, out: &Out) -> Result<i32, Failure> {
    let plan = Plan {
        what: format!("the lock {}", escape::key(&args.name)),
        hold: &args.hold,
        command: &args.command,
        variables: ["SOLOIST_LOCK_KEY", "SOLOIST_LOCK_TOKEN"],
    };
    let ask = async |client: &Client| {
        let call = client.lock(&args.name).value(args.value.as_str());
        let call = call.ttl(args.hold.ttl).holders(args.holders);
        let call = call.session_prefix(&args.hold.session_prefix);
        call.await.map(Held::Lock)
    };
    hold(target, &plan, ask, out).await
}

pub(super) async fn elect(target: &Target, args: &ElectArgs, out: &Out) -> Result<i32, Failure> {
    let Some(value) = args.value.as_deref().filter(|_| !args.observe) else {
        return observe(target, &args.name, out).await;
    };
    let plan = Plan {
        what: format!("the office {}", escape::key(&args.name)),
        hold: &args.hold,
        command: &args.command,
        variables: ["SOLOIST_ELECT_KEY", "SOLOIST_ELECT_TERM"],
    };
    let ask = async |client: &Client| {
        let call = client.elect(&args.name, value).ttl(args.hold.ttl);
        let call = call.session_prefix(&args.hold.session_prefix);
        call.await.map(Held::Office)
    };
    hold(target, &plan, ask, out).await
}

async fn observe(target: &Target, name: &str, out: &Out) -> Result<i32, Failure> {
    let client = target.connect_patiently(say).await?;
    let mut leaders = client.observe(name);
    loop {
        let entry = leaders.next().await?.map(|leader| v1::Entry {
            key: leader.key,
            value: Some(leader.value.into()),
            create_revision: leader.term,
            ..v1::Entry::default()
        });
        let value = entry.as_ref().and_then(|entry| entry.value.as_ref());
        match out.form {
            Form::Json => out.json("Entry", &entry.unwrap_or_default())?,
            Form::Value => out.raw(format!("{}\n", text::value(value)).as_bytes())?,
            Form::Text => match &entry {
                Some(entry) => {
                    let value = out.style.name(text::value(value));
                    let key = escape::key(&entry.key);
                    let about = out
                        .style
                        .dim(format!("term {}, key {key}", entry.create_revision));
                    out.line(&format!("{value} leads  {about}"))?;
                }
                None => out.line("nobody leads")?,
            },
        }
    }
}

async fn hold(
    target: &Target,
    plan: &Plan<'_>,
    ask: impl AsyncFn(&Client) -> Result<Held, Error>,
    out: &Out,
) -> Result<i32, Failure> {
    let signals = Signals::new();
    let mut signals = signals.map_err(|error| Failure::other(format!("signals: {error}")))?;
    let client = tokio::select! {
        client = target.connect_patiently(say) => client?,
        signal = signals.next() => return Ok(exit_code(signal)),
    };
    let wait = plan.hold.wait.unwrap_or(Duration::MAX);
    let held = tokio::select! {
        held = tokio::time::timeout(wait, until_held(&client, plan, ask)) => held,
        signal = signals.next() => {
            say_goodbye(&client).await;
            return Ok(exit_code(signal));
        }
    };
    let Ok(held) = held else {
        say_goodbye(&client).await;
        let wait = humantime::format_duration(wait);
        let why = format!("{} was not free within {wait}, as --wait says", plan.what);
        return Err(Failure::Other(why, WAITED));
    };
    let held = held?;
    match plan.command.split_first() {
        None => {
            until_signal(&held, plan, &mut signals, out)
                .await
                .finish(plan, held)
                .await
        }
        Some((command, arguments)) => {
            let token = held.token().to_string();
            let [key_name, token_name] = plan.variables;
            let variables = [(key_name, held.key().to_owned()), (token_name, token)];
            match Group::start(command, arguments, &variables) {
                Ok(group) => {
                    until_ended(group, &held, &mut signals)
                        .await
                        .finish(plan, held)
                        .await
                }
                Err(error) => {
                    let _ = held.release().await;
                    Err(not_started(command, &error))
                }
            }
        }
    }
}

/// Asks until it has what it wants: a place that was lost while the server was away is taken anew.
async fn until_held(
    client: &Client,
    plan: &Plan<'_>,
    ask: impl AsyncFn(&Client) -> Result<Held, Error>,
) -> Result<Held, Error> {
    loop {
        let error = match ask(client).await {
            Ok(held) => return Ok(held),
            Err(error) => error,
        };
        let passes = matches!(
            error.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::NotFound | Code::Aborted
        );
        if !passes && !error.is_retryable() {
            return Err(error);
        }
        say(&format!(
            "waits for {}: {}; asking again",
            plan.what,
            error.message()
        ));
        tokio::time::sleep(PAUSE).await;
    }
}

/// A place in the queue is given up in the background, over the same connection: what is answered later was sent later.
async fn say_goodbye(client: &Client) {
    let _ = tokio::time::timeout(Duration::from_secs(1), client.info()).await;
}

/// How holding ended.
enum End {
    /// With this exit code, and the lock is still held.
    Held(i32),
    Lost(Error),
    Failed(Failure),
}

impl End {
    /// Gives up what is held, and returns the exit code.
    async fn finish(self, plan: &Plan<'_>, held: Held) -> Result<i32, Failure> {
        let code = match self {
            Self::Held(code) => code,
            Self::Failed(failure) => {
                let _ = held.release().await;
                return Err(failure);
            }
            Self::Lost(why) => {
                let why = format!("{} was lost: {}", plan.what, why.message());
                return Err(Failure::Other(why, LOST));
            }
        };
        match held.release().await {
            Ok(()) => Ok(code),
            // It may have been somebody else's while the command ran.
            Err(error) if matches!(error.code(), Code::NotFound | Code::Aborted) => {
                let why = format!("{} was lost before the end: {}", plan.what, error.message());
                Err(Failure::Other(why, LOST))
            }
            Err(error) => {
                let ttl = humantime::format_duration(plan.hold.ttl);
                say(&format!(
                    "{} ends within {ttl}: {}",
                    plan.what,
                    error.message()
                ));
                Ok(code)
            }
        }
    }
}

/// Holds until a signal comes.
async fn until_signal(held: &Held, plan: &Plan<'_>, signals: &mut Signals, out: &Out) -> End {
    let (key, token) = (held.key(), held.token());
    let entry = v1::Entry {
        key: key.to_owned(),
        create_revision: token,
        ..v1::Entry::default()
    };
    let shown = out.message(
        "Entry",
        &entry,
        |style| {
            let about = style.dim(format!("token {token}, key {}", escape::key(key)));
            format!("holds {}  {about}", plan.what)
        },
        || token.to_string(),
    );
    if let Err(failure) = shown {
        return End::Failed(failure);
    }
    tokio::select! {
        why = held.lost() => End::Lost(why),
        signal = signals.next() => End::Held(exit_code(signal)),
    }
}

/// Holds until the command ends, and passes signals on to it. If what is held is lost, the command and its children are killed.
async fn until_ended(mut group: Group, held: &Held, signals: &mut Signals) -> End {
    let mut lost = None;
    loop {
        tokio::select! {
            change = group.changed() => match (change, lost.take()) {
                (Change::Ended(_), Some(why)) => return End::Lost(why),
                (Change::Ended(code), None) => return End::Held(code),
                (Change::Stopped(signal), why) => {
                    lost = why;
                    group.stop_with_it(signal);
                }
            },
            why = held.lost(), if lost.is_none() => {
                // Somebody else may hold it from now on: there is no time to ask for an orderly end.
                group.signal(Signal::SIGKILL);
                lost = Some(why);
            }
            signal = signals.next() => group.signal(signal),
        }
    }
}
