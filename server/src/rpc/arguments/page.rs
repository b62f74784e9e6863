//! Checks the arguments of calls that return a page: List, ListSessions and ListMachines.

use soloist::v1;
use soloist::v1::error::Reason;

use super::names::check_prefix;
use super::path::{BadArgument, Path};
use crate::config::Limits;
use crate::machine::{List, ListShows};
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
    let page_size = checked_page_size(page_size, limits)?;
    let after = decode_token(&page_token)?;
    if after.as_ref().is_some_and(|key| !key.starts_with(&prefix)) {
        let problem = format!("belongs to a page of another prefix than {prefix:?}");
        return Err(Path::ROOT.field("page_token").bad(Reason::BadPage, problem));
    }
    Ok(List {
        prefix,
        after,
        page_size,
        page_bytes: limits.max_page_bytes,
        shows: if keys_only {
            ListShows::Keys
        } else {
            ListShows::Entries
        },
    })
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
        checked_page_size(page_size, limits)?,
    ))
}

/// The most entries of a page: `Limits.max_page_size` if the request does not say, or asks for more.
fn checked_page_size(page_size: i32, limits: &Limits) -> Result<usize, BadArgument> {
    match usize::try_from(page_size) {
        Ok(0) => Ok(limits.max_page_size),
        Ok(page_size) => Ok(page_size.min(limits.max_page_size)),
        Err(_) => {
            let path = Path::ROOT.field("page_size");
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
