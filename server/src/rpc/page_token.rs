//! Where a List goes on: the last key of a page, in a form that invites nobody to make one up.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(crate) fn encode(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// The key of a token; none if it is no token.
pub(crate) fn decode(token: &str) -> Option<String> {
    let key = URL_SAFE_NO_PAD.decode(token).ok()?;
    String::from_utf8(key).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_their_keys() {
        for key in ["", "a", "jobs/7", "Grüße"] {
            assert_eq!(decode(&encode(key)).as_deref(), Some(key));
        }
        for token in ["?", "a", "_w"] {
            assert_eq!(decode(token), None, "{token:?}");
        }
    }
}
