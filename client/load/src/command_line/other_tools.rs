//! What to type instead of flags of ghz and other tools.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Flags that this tool does not have, and what to type instead.
const INSTEAD: [(&[&str], &str); 20] = [
    (
        &["--insecure"],
        "with ghz it means plaintext, which is what HOST:PORT means: leave it out, or say --plaintext. If it is to mean TLS \
         without a check of the certificate, as with other tools: there is none here, so name the server's CA by --tls-ca",
    ),
    (
        &["--skipTLS", "--insecure-skip-verify"],
        "certificates are always checked: name the server's CA by --tls-ca, and its name by --tls-server-name",
    ),
    (&["--tls"], "type https://HOST:PORT"),
    (&["--cacert"], "type https://HOST:PORT and --tls-ca"),
    (&["--cert"], "type --tls-cert"),
    (&["--key"], "type --tls-key"),
    (&["--cname", "--server-name"], "type --tls-server-name"),
    (&["--total"], "type -n or --requests"),
    (
        &["--import-paths", "-i"],
        "type -I DIR, once for each folder",
    ),
    (&["--data-file", "-D"], "type -d @FILE"),
    (
        &["--binary", "-b", "--binary-file", "-B"],
        "messages are given as JSON: type -d",
    ),
    (
        &["--metadata-file", "-M"],
        "type -H NAME:VALUE, once for each header, or -m JSON",
    ),
    (
        &["--reflect-metadata"],
        "the headers of -H go with reflection too",
    ),
    (&["--stream-call-count"], "type --stream-messages"),
    (&["--stream-call-duration"], "type --timeout"),
    (
        &["--stream-interval", "--stream-dynamic-messages"],
        "the messages of a stream are those of its --data, without pauses",
    ),
    (&["--cpus"], "type --threads"),
    (&["--tags", "-k"], "type --tag KEY=VALUE, once for each"),
    (&["--skipFirst", "--skip-first"], "type --warmup TIME"),
    (
        &[
            "--concurrency-schedule",
            "--concurrency-start",
            "--concurrency-step",
            "--concurrency-end",
            "--async",
        ],
        "type --rps for an open loop, with --load-schedule to change the rate",
    ),
];

/// Returns what to type instead, if clap refuses a flag that another tool has.
pub(crate) fn hint(error: &clap::Error) -> Option<String> {
    let flag = match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(flag) => flag.split([' ', '=']).next()?,
        _ => return None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let known = INSTEAD.iter().find(|(flags, _)| flags.contains(&flag));
            known.map(|(_, instead)| format!("{flag}: {instead}"))
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let value = match error.get(ContextKind::InvalidValue)? {
                ContextValue::String(value) => value,
                _ => return None,
            };
            (flag == "--threads" && value.ends_with('s'))
                .then(|| format!("-t {value}: -t is --threads here; type --timeout {value}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::command_line::Cli;

    #[test]
    fn flags_of_ghz_are_translated() {
        for (line, part) in [
            (
                "--insecure a:1",
                Some("--insecure: with ghz it means plaintext"),
            ),
            ("--cacert x a:1", Some("--tls-ca")),
            ("--key x a:1", Some("--tls-key")),
            ("--skipTLS a:1", Some("always checked")),
            ("--total 5", Some("type -n")),
            ("--total=5", Some("type -n")),
            ("-i /a,/b a:1", Some("type -I DIR")),
            ("-t 20s", Some("type --timeout 20s")),
            ("-D f.json", Some("-d @FILE")),
            ("--nonsense", None),
            ("-t x", None),
        ] {
            let words = format!("soloist-load call a:1 b.C/D {line}");
            let error = Cli::try_parse_from(words.split(' ')).unwrap_err();
            match (hint(&error), part) {
                (Some(hint), Some(part)) => assert!(hint.contains(part), "{line}: {hint}"),
                (hint, part) => assert_eq!((hint, part), (None, None), "{line}"),
            }
        }
    }
}
