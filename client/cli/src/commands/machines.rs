//! `machine`.

use std::path::Path;

use soloist::v1;

use crate::command_line::connection::Form;
use crate::command_line::machines::{MachineCommand, Picture};
use crate::commands::batch::{in_file, read_json};
use crate::connect::Target;
use crate::draw;
use crate::failure::Failure;
use crate::output::{Out, json, text};

pub(super) async fn machine(
    target: &Target,
    command: &MachineCommand,
    out: &Out,
) -> Result<i32, Failure> {
    match command {
        MachineCommand::Define { file, check } => define(target, file, *check, out).await,
        MachineCommand::Get { name } => show(&get(target, name).await?, out),
        MachineCommand::List => list(target, out).await,
        MachineCommand::Delete { name, force } => delete(target, name, *force, out).await,
        MachineCommand::Draw {
            name,
            file,
            picture,
        } => {
            let machine = match (name, file) {
                (Some(name), _) => get(target, name).await?,
                (None, Some(file)) => definition(file)?,
                (None, None) => v1::Machine::default(),
            };
            draw(&machine, *picture, out)
        }
    }
}

fn draw(machine: &v1::Machine, picture: Picture, out: &Out) -> Result<i32, Failure> {
    let drawn = match picture {
        Picture::Text => draw::text(machine),
        Picture::Svg => draw::svg(machine),
        Picture::Mermaid => draw::mermaid(machine),
        Picture::Dot => draw::dot(machine),
    };
    out.line(drawn.trim_end_matches('\n'))?;
    Ok(0)
}

/// Reads a Machine, or a DefineMachineRequest with one.
fn definition(file: &Path) -> Result<v1::Machine, Failure> {
    let mut input = read_json(file)?;
    if let Some(machine) = input.get_mut("machine") {
        input = machine.take();
    }
    let parsed = json::parse::<v1::Machine>("soloist.v1.Machine", &input);
    parsed.map_err(|why| in_file(file, &why))
}

async fn define(target: &Target, file: &Path, check: bool, out: &Out) -> Result<i32, Failure> {
    let request = v1::DefineMachineRequest {
        machine: Some(definition(file)?),
        validate_only: check,
        ..v1::DefineMachineRequest::default()
    };
    let client = target.connect().await?;
    show(&client.call(request).await?, out)
}

async fn get(target: &Target, name: &str) -> Result<v1::Machine, Failure> {
    let client = target.connect().await?;
    let name = name.to_owned();
    Ok(client.call(v1::GetMachineRequest { name }).await?)
}

fn show(machine: &v1::Machine, out: &Out) -> Result<i32, Failure> {
    out.message(
        "Machine",
        machine,
        |style| text::machine(machine, style),
        || out.name(&machine.name),
    )?;
    Ok(0)
}

async fn list(target: &Target, out: &Out) -> Result<i32, Failure> {
    let client = target.connect().await?;
    let mut request = v1::ListMachinesRequest::default();
    loop {
        let response = client.call(request).await?;
        if out.form == Form::Json {
            out.json("ListMachinesResponse", &response)?;
        } else {
            for machine in &response.machines {
                show(machine, out)?;
            }
        }
        if response.next_page_token.is_empty() {
            return Ok(0);
        }
        request = v1::ListMachinesRequest {
            page_token: response.next_page_token,
            ..v1::ListMachinesRequest::default()
        };
    }
}

async fn delete(target: &Target, name: &str, force: bool, out: &Out) -> Result<i32, Failure> {
    let client = target.connect().await?;
    let request = v1::DeleteMachineRequest {
        name: name.to_owned(),
        force,
    };
    let response = client.call(request).await?;
    out.message(
        "DeleteMachineResponse",
        &response,
        |_| "deleted".to_owned(),
        String::new,
    )?;
    Ok(0)
}
