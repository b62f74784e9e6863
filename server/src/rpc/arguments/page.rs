//! Checks the arguments of calls that return a page: List, DeletePrefix, ListSessions and ListMachines.

use soloist::v1;
use soloist::v1::error::Reason;

use super::names::check_prefix;
use super::path::{BadArgument, Path};
use super::request_id::optional_request_id;
use crate::config::Limits;
use crate::machine::{DeletePrefix, List, ListShows, RequestId};
use crate::rpc::page_token;

/// Checks the arguments of a List.
pub(crate) fn list(request: v1::ListRequest, limits: &Limits) -> Result<List, BadArgument> {
    let v1::ListRequest {
        prefix,
        page_size,
        page_token,
        keys_only,
    } = request;
    check_prefix(
        &Path::ROOT.field("prefix"),
        Reason::BadPage,
        &prefix,
        limits,
    )?;
    Ok(List {
        page_size: checked_page_size("page_size", page_size, limits)?,
        after: key_token(&page_token, &prefix)?,
        prefix,
        page_bytes: limits.max_page_bytes,
        shows: if keys_only {
            ListShows::Keys
        } else {
            ListShows::Entries
        },
    })
}

/// Checks the arguments of a DeletePrefix, and its request id.
pub(crate) fn delete_prefix(
    mut request: v1::DeletePrefixRequest,
    limits: &Limits,
) -> Result<(DeletePrefix, Option<Box<RequestId>>), BadArgument> {
    let id = std::mem::take(&mut request.request_id);
    let request_id = optional_request_id(&Path::ROOT, id, || request.clone())?;
    let v1::DeletePrefixRequest {
        prefix,
        every_key,
        limit,
        page_token,
        request_id: _,
    } = request;
    let path = Path::ROOT.field("prefix");
    if prefix.is_empty() && !every_key {
        return Err(path.bad(
            Reason::BadPage,
            "is empty, but every_key is not set: every key would be deleted",
        ));
    }
    check_prefix(&path, Reason::BadPage, &prefix, limits)?;
    let delete = DeletePrefix {
        limit: checked_page_size("limit", limit, limits)?,
        after: key_token(&page_token, &prefix)?,
        prefix,
    };
    Ok((delete, request_id))
}

/// The last key of the page before, which must begin with the prefix; none for the first page.
fn key_token(page_token: &str, prefix: &str) -> Result<Option<String>, BadArgument> {
    let after = decode_token(page_token)?;
    if after.as_ref().is_some_and(|key| !key.starts_with(prefix)) {
        let problem = format!("belongs to a page of another prefix than {prefix:?}");
        return Err(Path::ROOT.field("page_token").bad(Reason::BadPage, problem));
    }
    Ok(after)
}

/// Checks the arguments that ask for a page of sessions or machines. Returns the last name of the page before, and the size of
/// this page.
pub(super) fn name_page(
    page_token: &str,
    page_size: i32,
    limits: &Limits,
) -> Result<(Option<String>, usize), BadArgument> {
    Ok((
        decode_token(page_token)?,
        checked_page_size("page_size", page_size, limits)?,
    ))
}

/// The most entries of a page: `Limits.max_page_size` if the request does not say, or asks for more.
fn checked_page_size(
    field: &'static str,
    page_size: i32,
    limits: &Limits,
) -> Result<usize, BadArgument> {
    match usize::try_from(page_size) {
        Ok(0) => Ok(limits.max_page_size),
        Ok(page_size) => Ok(page_size.min(limits.max_page_size)),
        Err(_) => {
            let path = Path::ROOT.field(field);
            Err(BadArgument {
                actual: Some(page_size.to_string()),
                ..path.bad(
                    Reason::BadPage,
                    format!("is {page_size}, but must be 0 or more"),
                )
            })
        }
    }
}

/// The last key or name of the page before; none for the first page.
fn decode_token(page_token: &str) -> Result<Option<String>, BadArgument> {
    if page_token.is_empty() {
        return Ok(None);
    }
    match page_token::decode(page_token) {
        Some(after) => Ok(Some(after)),
        None => {
            let path = Path::ROOT.field("page_token");
            Err(path.bad(Reason::BadPage, "was not issued by this server"))
        }
    }
}
