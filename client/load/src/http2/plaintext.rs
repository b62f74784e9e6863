//! What servers that speak TLS answer to HTTP/2 in plain text.

/// A record of TLS with an alert. Source: RFC 8446, section 5.1.
const ALERT: [u8; 2] = [0x15, 0x03];

/// What to do then.
pub(crate) const SPEAKS_TLS: &str = "the server speaks TLS: type https://HOST:PORT";

/// Returns whether a server says with its first bytes that it speaks TLS: with an alert, or in the HTTP/1.1 of an error page.
pub(crate) fn speaks_tls(first: &[u8]) -> bool {
    let has = |words: &[u8]| first.windows(words.len()).any(|at| at == words);
    first.starts_with(&ALERT) || (first.starts_with(b"HTTP/1.") && (has(b"TLS") || has(b"HTTPS")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_and_error_pages_are_recognised() {
        let cases: [(&[u8], bool); 6] = [
            (&[0x15, 3, 1, 0, 2, 2, 70], true),
            (b"HTTP/1.1 505 No\r\n\r\nThis is a gRPC server: it speaks TLS: connect with https, not http.\n", true),
            (b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", true),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", false),
            (&[0, 0, 0, 4, 0, 0, 0, 0, 0], false),
            (b"", false),
        ];
        for (first, expected) in cases {
            assert_eq!(speaks_tls(first), expected, "{}", first.escape_ascii());
        }
    }
}
