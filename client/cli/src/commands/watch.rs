//! `watch`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use soloist::v1;
use soloist::v1::value::Kind;
use soloist_client::{Retry, WatchMessage};

use crate::command_line::connection::Form;
use crate::command_line::watch::WatchArgs;
use crate::commands::keys::event;
use crate::connect::Target;
use crate::failure::Failure;
use crate::output::{Out, say};
use crate::process::not_started;
use crate::wire;

pub(super) async fn watch(target: &Target, args: &WatchArgs, out: &Out) -> Result<i32, Failure> {
    let client = target.connect_patiently(say).await?;
    let mut call = match (&args.key, &args.prefix) {
        (Some(key), _) => client.watch_key(key),
        (None, prefix) => client.watch_prefix(prefix.clone().unwrap_or_default()),
    };
    if args.initial {
        call = call.initial();
    }
    if args.previous {
        call = call.previous();
    }
    if let Some(revision) = args.after {
        call = call.after_revision(revision);
    }
    let mut watch = call.resume(Retry::default()).await?;
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(mut message) = watch.next().await? else {
            break;
        };
        message
            .events
            .truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= message.events.len() as u64;
        match args.command.is_empty() {
            true => show(message, out)?,
            false => run_all(args, message).await?,
        }
    }
    Ok(0)
}

fn show(message: WatchMessage, out: &Out) -> Result<(), Failure> {
    let response = wire::watch_response(message);
    if out.form == Form::Json {
        return out.json("WatchResponse", &response);
    }
    for change in &response.events {
        match out.form {
            Form::Value => {
                out.value(change.entry.as_ref().and_then(|entry| entry.value.as_ref()))?;
                if !out.is_terminal {
                    out.raw(b"\n")?;
                }
            }
            _ => out.line(&event(change, out.style))?,
        }
    }
    Ok(())
}

/// Runs the command for each change, one after the other. A command that fails is reported, and the watch goes on.
async fn run_all(args: &WatchArgs, message: WatchMessage) -> Result<(), Failure> {
    for change in wire::watch_response(message).events {
        let command = args.command.clone();
        let run = move || {
            let Some((name, arguments)) = command.split_first() else {
                return Ok(());
            };
            let mut program = Command::new(name);
            program.args(arguments);
            run(program, &change).map_err(|error| not_started(name, &error))
        };
        // It may take its time, and the connection is kept alive meanwhile.
        let done = tokio::task::spawn_blocking(run).await;
        done.map_err(|error| Failure::other(error.to_string()))??;
    }
    Ok(())
}

fn run(mut command: Command, change: &v1::Event) -> std::io::Result<()> {
    let entry = change.entry.clone().unwrap_or_default();
    command
        .env("SOLOIST_EVENT_CAUSE", change.cause().as_str_name())
        .env("SOLOIST_EVENT_KEY", &entry.key)
        .env("SOLOIST_EVENT_REVISION", entry.revision.to_string())
        .stdin(Stdio::piped());
    let mut child = command.spawn()?;
    let value = match entry.value.and_then(|value| value.kind) {
        Some(Kind::Int(int)) => int.to_string().into_bytes(),
        Some(Kind::Text(text)) => text.into_bytes(),
        Some(Kind::Bytes(bytes)) => bytes,
        None => Vec::new(),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // The command need not read it.
        let _ = stdin.write_all(&value);
    }
    let status = child.wait()?;
    if !status.success() {
        say(&format!("{}: {status}", command.get_program().display()));
    }
    Ok(())
}
