//! Finds out who calls: by the token of the call, or by the certificate of its connection.
//!
//! One task routes the calls of a connection, one after the other. So what is kept from one call to the next needs no lock.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::sync::watch;

use super::audit;
use super::context::CallContext;
use super::header_fields::HeaderFields;
use super::status::{Refusal, credentials_unknown};
use crate::access::{Access, Credential, TokenHash, certificate_names};

/// The callers of one connection.
pub(super) struct Callers {
    access: watch::Receiver<Arc<Access>>,
    peer: String,
    /// What the connection shows.
    certificate: Option<Credential>,
    /// The context of the last call. Most connections have calls of one caller only.
    last: RefCell<Option<LastCaller>>,
}

struct LastCaller {
    /// The call's header.
    authorization: Option<Box<[u8]>>,
    context: Arc<CallContext>,
}

impl Callers {
    /// Those of a connection with `peer`, which has shown this certificate of its own.
    pub(super) fn new(
        access: watch::Receiver<Arc<Access>>,
        peer: String,
        certificate: Option<&[u8]>,
    ) -> Self {
        let names = certificate.map(certificate_names);
        Self {
            access,
            peer,
            certificate: names.map(|names| Credential::Certificate(names.into())),
            last: RefCell::new(None),
        }
    }

    /// The context of a call, in which its caller may do what the access file says. `connection` is that of nobody.
    ///
    /// # Errors
    /// CREDENTIALS_MISSING or CREDENTIALS_UNKNOWN if nobody is known by what the call and its connection show.
    pub(super) fn context(
        &self,
        fields: &HeaderFields<'_>,
        connection: &CallContext,
    ) -> Result<Arc<CallContext>, Refusal> {
        let context = self.find(fields, connection);
        let known = context.and_then(|context| {
            context.caller.rights()?;
            Ok(context)
        });
        known.inspect_err(|refusal| audit::login_failed(&self.peer, refusal.message()))
    }

    fn find(
        &self,
        fields: &HeaderFields<'_>,
        connection: &CallContext,
    ) -> Result<Arc<CallContext>, Refusal> {
        let authorization = fields.authorization()?;
        if authorization.is_none() && self.certificate.is_some() && fields.is_hop {
            // The certificate is that of the node that has sent the call on, and says nothing about its caller.
            let caller = connection.caller.showing(None, &self.access);
            return Ok(Arc::new(connection.for_caller(caller)));
        }
        let mut last = self.last.borrow_mut();
        if let Some(last) = last.as_ref().filter(|last| last.is(authorization)) {
            return Ok(Arc::clone(&last.context));
        }
        let credential = match authorization {
            // A token says more about the caller than the certificate of the connection, which may be that of a proxy.
            Some(header) => Some(token(header).ok_or_else(credentials_unknown)?),
            None => self.certificate.clone(),
        };
        let caller = connection.caller.showing(credential, &self.access);
        let context = Arc::new(connection.for_caller(caller));
        *last = Some(LastCaller {
            authorization: authorization.map(Box::from),
            context: Arc::clone(&context),
        });
        Ok(context)
    }
}

impl LastCaller {
    /// Whether a call with this header has the same caller, who was looked up in the access file in use.
    fn is(&self, authorization: Option<&[u8]>) -> bool {
        self.authorization.as_deref() == authorization && self.context.caller.is_current()
    }
}

/// The token in a header `Bearer TOKEN`. Source: RFC 6750, section 2.1; the scheme's capitals do not matter (RFC 9110, 11.1).
pub(super) fn token(header: &[u8]) -> Option<Credential> {
    let (scheme, token) = header.split_at_checked(b"Bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty())
        .then(|| Credential::Token(TokenHash::of(token)))
}
