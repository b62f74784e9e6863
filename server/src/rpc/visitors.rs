//! Those who look at the server with a browser, over plain HTTP.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use tokio::sync::watch;

use super::audit;
use super::callers::token;
use super::header_fields::HeaderFields;
use super::rights::Rights;
use super::status::{Refusal, credentials_missing, credentials_unknown};
use crate::access::{Access, Credential, Needs, TokenHash};

/// Whether a visitor may see the whole server, or why not.
pub(crate) enum Visitor {
    Permitted,
    /// Nobody is known by what the visitor shows.
    Unknown(String),
    /// The visitor is known, and has not the right `admin`.
    NotPermitted(String),
}

/// Finds out whether a visitor may see the whole server, which needs the right `admin`. Who it is, is told by a token, as for
/// gRPC, or by a certificate. Browsers have no place for a token: theirs is the password of HTTP Basic, with any user.
pub(crate) fn check_visitor(
    access: &watch::Receiver<Arc<Access>>,
    headers: &HeaderMap,
    certificate: Option<Credential>,
    peer: &str,
) -> Visitor {
    match identify(access, headers, certificate) {
        Err(refusal) => {
            audit::login_failed(peer, refusal.message());
            Visitor::Unknown(refusal.message().into())
        }
        Ok(rights) => match rights.need(Needs::Admin) {
            Ok(()) => Visitor::Permitted,
            Err(refusal) => Visitor::NotPermitted(refusal.message().into()),
        },
    }
}

fn identify(
    access: &watch::Receiver<Arc<Access>>,
    headers: &HeaderMap,
    certificate: Option<Credential>,
) -> Result<Rights<'static>, Refusal> {
    let credential = match HeaderFields::of(headers).authorization()? {
        Some(header) => token(header)
            .or_else(|| password(header))
            .ok_or_else(credentials_unknown)?,
        None => certificate.ok_or_else(credentials_missing)?,
    };
    let access = access.borrow();
    let identity = access
        .identify(&credential)
        .ok_or_else(credentials_unknown)?;
    Ok(Rights::of(Some(Cow::Owned(Arc::clone(identity)))))
}

/// The token that is the password in a header `Basic base64(USER:PASSWORD)`. Source: RFC 7617, section 2.
fn password(header: &[u8]) -> Option<Credential> {
    let (scheme, encoded) = header.split_at_checked(b"Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    // A user has no colon.
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let password = &decoded[colon + 1..];
    (!password.is_empty()).then(|| Credential::Token(TokenHash::of(password)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_basic_is_the_token() {
        let shown = |header: &'static str| password(header.as_bytes());
        let token = |token: &[u8]| Some(Credential::Token(TokenHash::of(token)));
        // "admin:slst_a:b", ":slst_a:b"
        assert_eq!(shown("Basic YWRtaW46c2xzdF9hOmI="), token(b"slst_a:b"));
        assert_eq!(shown("basic OnNsc3RfYTpi"), token(b"slst_a:b"));
        // "admin", "admin:", and what is not base64.
        for header in [
            "Basic YWRtaW4=",
            "Basic YWRtaW46",
            "Basic !",
            "Basic",
            "Digest x",
            "",
        ] {
            assert_eq!(shown(header), None, "{header}");
        }
    }
}
