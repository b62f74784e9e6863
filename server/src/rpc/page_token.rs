//! Page tokens: the last key or name of a page. Encoded in base64, so that clients do not come to make their own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(crate) fn encode(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// The key in a token; none if `encode` cannot have made the token.
pub(crate) fn decode(token: &str) -> Option<String> {
    let key = URL_SAFE_NO_PAD.decode(token).ok()?;
    String::from_utf8(key).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_a_token_gives_its_key() {
        for key in ["", "a", "jobs/7", "Grüße"] {
            assert_eq!(decode(&encode(key)).as_deref(), Some(key));
        }
        for token in ["?", "a", "_w"] {
            assert_eq!(decode(token), None, "{token:?}");
        }
    }
}
