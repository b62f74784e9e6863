//! Access files of mutated text.

use std::collections::BTreeSet;

use soloist_fuzz::{Format, Shape, Target};

use super::token::TOKEN_PREFIX;
use super::{Access, AccessError};

/// Whole files, and what belongs into one.
const FILE: &str = r#"
[identities.billing]
tokens = ["sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
certificates = ["uri:spiffe://prod/billing", "dns:billing.pay.svc", "cn:billing"]
roles = ["billing", "all"]

[roles.billing]
read = ["billing/*", "config/color"]
write = ["billing/*"]
sessions = ["billing-*"]
define = ["billing/*"]
audit = ["billing/accounts/*"]
admin = false

[roles.all]
read = ["*"]
"#;

/// A file with a token in the place of its hash.
const LEAKY: &str =
    "[identities.a]\ntokens = ['slst_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ']\n";

/// What an access file knows, apart from the identities' order.
fn known(access: &Access) -> BTreeSet<String> {
    let tokens = access
        .tokens
        .iter()
        .map(|(hash, who)| format!("{hash} {who:?}"));
    let certificates = access.certificates.iter();
    let certificates = certificates.map(|(name, who)| format!("{name:?} {who:?}"));
    tokens.chain(certificates).collect()
}

fn parse(text: &str) -> Result<Access, AccessError> {
    let parsed = Access::parse(text);
    if let Err(error) = &parsed {
        let error = error.to_string();
        let mut shown = error.split(TOKEN_PREFIX).skip(1);
        assert!(shown.all(|rest| rest.starts_with('…')), "{text}: {error}");
    }
    parsed
}

fn check(input: &[u8]) -> Shape {
    let Ok(text) = std::str::from_utf8(input) else {
        return Shape::of("no text");
    };
    match parse(text) {
        Ok(access) => {
            // A comment changes nothing.
            let more = parse(&format!("{text}\n# end")).unwrap();
            assert_eq!(known(&access), known(&more), "{text}");
            assert_eq!(access.credential_count(), known(&access).len());
            Shape::of("a file").with(access.credential_count())
        }
        Err(error) => Shape::of(&error.to_string()),
    }
}

#[test]
fn access_files_are_taken_or_refused_and_errors_show_no_token() {
    Target::new("access_files", Format::Bytes)
        .seeds([FILE, LEAKY, ""].map(|text| text.as_bytes().to_vec()))
        .words([
            "[identities.",
            "[roles.",
            "tokens",
            "certificates",
            "roles = [",
            "sessions",
            "slst_abcdefghijkl",
            "sha256:",
            "\n[",
            "\"\"\"",
            "'",
            "*",
            "\u{e9}",
            "\\u0007",
        ])
        .cost(4)
        .run(check);
}
