//! The token that calls bear, if etcd wants one.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::wire::pb::AuthenticateRequest;
use super::wire::pb::auth_client::AuthClient;

/// The header of the token. Source: api/v3rpc/rpctypes/metadatafields.go of etcd.
const HEADER: &str = "token";

/// None if etcd wants none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Token(Option<MetadataValue<Ascii>>);

/// A user, and the last token for it.
pub(super) struct Login {
    user: String,
    password: String,
    last: Mutex<Option<Token>>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Login").field(&self.user).finish()
    }
}

impl Login {
    pub(super) fn new(user: String, password: String) -> Self {
        Self {
            user,
            password,
            last: Mutex::new(None),
        }
    }

    /// The last token.
    pub(super) fn known(&self) -> Option<Token> {
        self.last().clone()
    }

    /// A new token.
    pub(super) async fn ask(&self, channel: Channel) -> Result<Token, Status> {
        let request = AuthenticateRequest {
            name: self.user.clone(),
            password: self.password.clone(),
        };
        let token = match AuthClient::new(channel).authenticate(request).await {
            Ok(answer) => {
                let token = answer.into_inner().token.parse();
                let token = token.map_err(|_| Status::internal("the token is no header"))?;
                Token(Some(token))
            }
            // As etcd's own client does: so a user can be named before authentication is enabled.
            Err(status) if status.message().contains("authentication is not enabled") => {
                Token(None)
            }
            Err(status) => return Err(status),
        };
        *self.last() = Some(token.clone());
        Ok(token)
    }

    /// etcd has refused this token.
    pub(super) fn forget(&self, token: &Token) {
        self.last().take_if(|last| last == token);
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that bears the token.
pub(super) fn with_token<T>(message: T, token: Token) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token.0 {
        request.metadata_mut().insert(HEADER, token);
    }
    request
}
