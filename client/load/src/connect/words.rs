//! The client library's advice, in the words of this tool.

/// What the library says, and the flag that it means here.
const FLAGS: [(&str, &str); 9] = [
    ("set the CA file to", "set --tls-ca to"),
    (
        "set the certificate and key files",
        "set --tls-cert and --tls-key",
    ),
    (
        "check the certificate and key files",
        "check --tls-cert and --tls-key",
    ),
    ("set the server name", "set --tls-server-name"),
    ("use http://", "type http://"),
    ("use https://", "type https://"),
    ("ca_file ", "--tls-ca "),
    ("identity_files ", "--tls-cert and --tls-key: "),
    ("token_file ", "--token-file "),
];

/// Returns an error of the library with the flags of this tool in it.
pub(super) fn with_flags(error: &str) -> String {
    let replaced = |text: String, (words, flag): &(&str, &str)| text.replace(words, flag);
    FLAGS.iter().fold(error.to_owned(), replaced)
}
