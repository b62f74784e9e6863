//! `session`.

use std::time::SystemTime;

use soloist::v1;
use soloist_client::{Client, Session};

use crate::command_line::connection::Form;
use crate::command_line::sessions::{OneArgs, OpenArgs, SessionCommand};
use crate::connect::Target;
use crate::failure::{Failure, LOST, MISSING};
use crate::output::{Out, escape, say, text};
use crate::process::signals::{Signals, exit_code};
use crate::wire;

pub(super) async fn session(
    target: &Target,
    command: &SessionCommand,
    out: &Out,
) -> Result<i32, Failure> {
    match command {
        SessionCommand::Open(args) => open(target, args, out).await,
        SessionCommand::Renew(args) => renew(target, args, out).await,
        SessionCommand::Keep(args) => keep(target, args, out).await,
        SessionCommand::Close(args) => close(target, args, out).await,
        SessionCommand::List { id } => list(target, id.as_deref(), out).await,
    }
}

async fn open(target: &Target, args: &OpenArgs, out: &Out) -> Result<i32, Failure> {
    let request = v1::OpenSessionRequest {
        id: args.id.clone().unwrap_or_default(),
        ttl: Some(wire::duration(args.ttl)),
        take_over: args.take_over,
        ..v1::OpenSessionRequest::default()
    };
    let client = target.connect().await?;
    show(&client.call(request).await?, out)
}

fn show(session: &v1::Session, out: &Out) -> Result<i32, Failure> {
    let now = SystemTime::now();
    out.message(
        "Session",
        session,
        |style| {
            let row = [text::session(session, now)];
            text::table(&row, |column, cell| match column {
                0 => style.name(cell),
                _ => cell.to_owned(),
            })
        },
        || out.name(&session.id),
    )?;
    Ok(0)
}

/// The session that the arguments name.
async fn create_revision(client: &Client, args: &OneArgs) -> Result<i64, Failure> {
    match args.create_revision {
        Some(revision) => Ok(revision),
        None => Ok(find(client, &args.id).await?.create_revision),
    }
}

/// The session of this id that lives now.
async fn find(client: &Client, id: &str) -> Result<v1::Session, Failure> {
    let mut request = v1::ListSessionsRequest::default();
    loop {
        let response = client.call(request).await?;
        let found = response
            .sessions
            .into_iter()
            .find(|session| session.id == id);
        if let Some(session) = found {
            return Ok(session);
        }
        if response.next_page_token.is_empty() {
            let why = format!("there is no session {}", escape::key(id));
            return Err(Failure::Other(why, MISSING));
        }
        request = v1::ListSessionsRequest {
            page_token: response.next_page_token,
            ..v1::ListSessionsRequest::default()
        };
    }
}

async fn renewed(client: &Client, args: &OneArgs) -> Result<v1::Session, Failure> {
    let request = v1::RenewSessionRequest {
        id: args.id.clone(),
        create_revision: create_revision(client, args).await?,
    };
    Ok(client.call(request).await?)
}

async fn renew(target: &Target, args: &OneArgs, out: &Out) -> Result<i32, Failure> {
    let client = target.connect().await?;
    show(&renewed(&client, args).await?, out)
}

async fn keep(target: &Target, args: &OneArgs, out: &Out) -> Result<i32, Failure> {
    let signals = Signals::new();
    let mut signals = signals.map_err(|error| Failure::other(format!("signals: {error}")))?;
    let client = target.connect_patiently(say).await?;
    let session = renewed(&client, args).await?;
    show(&session, out)?;
    let keep_alive = client.keep_alive(&Session::try_from(session)?).await?;
    tokio::select! {
        lost = keep_alive.lost() => Err(Failure::Other(lost.message().to_owned(), LOST)),
        signal = signals.next() => Ok(exit_code(signal)),
    }
}

async fn close(target: &Target, args: &OneArgs, out: &Out) -> Result<i32, Failure> {
    let client = target.connect().await?;
    let request = v1::CloseSessionRequest {
        id: args.id.clone(),
        create_revision: create_revision(&client, args).await?,
        ..v1::CloseSessionRequest::default()
    };
    let response = client.call(request).await?;
    out.message(
        "CloseSessionResponse",
        &response,
        |_| match response.deleted_count {
            1 => "closed, with 1 key".to_owned(),
            count => format!("closed, with {count} keys"),
        },
        || response.deleted_count.to_string(),
    )?;
    Ok(0)
}

async fn list(target: &Target, id: Option<&str>, out: &Out) -> Result<i32, Failure> {
    let client = target.connect().await?;
    if let Some(id) = id {
        return show(&find(&client, id).await?, out);
    }
    let mut request = v1::ListSessionsRequest::default();
    loop {
        let response = client.call(request).await?;
        let now = SystemTime::now();
        match out.form {
            Form::Json => out.json("ListSessionsResponse", &response)?,
            Form::Value => {
                let ids = response
                    .sessions
                    .iter()
                    .map(|session| out.name(&session.id));
                out.line(&ids.collect::<Vec<_>>().join("\n"))?;
            }
            Form::Text => {
                let rows = response
                    .sessions
                    .iter()
                    .map(|session| text::session(session, now));
                let rows: Vec<_> = rows.collect();
                out.line(&text::table(&rows, |column, cell| match column {
                    0 => out.style.name(cell),
                    _ => cell.to_owned(),
                }))?;
            }
        }
        if response.next_page_token.is_empty() {
            return Ok(0);
        }
        request = v1::ListSessionsRequest {
            page_token: response.next_page_token,
            ..v1::ListSessionsRequest::default()
        };
    }
}
