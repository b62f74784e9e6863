//! The page at `/`: one document with everything that it needs. Its numbers come from `/status.json`.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use sha2::{Digest as _, Sha256};

use super::request::Request;
use super::response::{Response, response, text};
use super::site::Site;
use crate::rpc::visitors::{Visitor, check_visitor};

const DOCUMENT: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");

/// The parts of the script, in the order in which they use each other.
const SCRIPT: &str = concat!(
    include_str!("page/format.js"),
    include_str!("page/layout.js"),
    include_str!("page/chart.js"),
    include_str!("page/machine.js"),
    include_str!("page/page.js"),
);

struct Page {
    document: Bytes,
    policy: HeaderValue,
}

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let document = DOCUMENT
        .replace("{style}", STYLE)
        .replace("{script}", SCRIPT);
    // Nothing is loaded, and nothing runs but this very style and script: whatever a name contains, it stays a text.
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    Page {
        document: document.into(),
        policy: HeaderValue::try_from(policy).expect("a policy is ASCII"),
    }
});

/// The hash by which a policy permits an inline style or script. Source: Content Security Policy Level 3, section 8.3.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

pub(super) fn page() -> Response {
    let mut response = response(
        StatusCode::OK,
        "text/html; charset=utf-8",
        PAGE.document.clone(),
    );
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, PAGE.policy.clone());
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The answer to a visitor who may not see the page, or its numbers; none for one who may.
pub(super) fn refusal(request: &Request<'_>, site: &Site) -> Option<Response> {
    let access = site.access()?;
    let headers = &request.parts.headers;
    let certificate = request.certificate_credential();
    let checked = check_visitor(access, headers, certificate, request.peer);
    Some(match checked {
        Visitor::Permitted => return None,
        Visitor::Unknown(why) => {
            let why = format!("{why}\na browser shows the token as a password, with any user\n");
            let mut response = text(StatusCode::UNAUTHORIZED, why);
            let challenge = HeaderValue::from_static("Basic realm=\"Soloist\", charset=\"UTF-8\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            response
        }
        Visitor::NotPermitted(why) => text(StatusCode::FORBIDDEN, why + "\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_its_policy_permits_nothing_else() {
        let response = page();
        let policy = &response.headers()[CONTENT_SECURITY_POLICY];
        let policy = policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let document = std::str::from_utf8(&PAGE.document).unwrap();
        assert!(!document.contains("{style}") && !document.contains("{script}"));
        // What begins and ends a script must not be in it.
        assert_eq!(document.matches("<script").count(), 1);
        assert_eq!(document.matches("</style").count(), 1);
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!document.contains(forbidden), "{forbidden}");
        }
    }
}
