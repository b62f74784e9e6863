use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn error(text: &str) -> String {
    Access::parse(text).unwrap_err().to_string()
}

#[test]
fn errors_name_the_line_or_the_field() {
    let hash = Token::random().hash();
    for (text, says) in [
        ("[identities.a", "line 1: "),
        ("\n\n[roles.a]\nreed = []", "line 4: unknown field `reed`"),
        ("[roles.a]\nread = 'x'", "line 2: "),
        ("[roles.a]\nread = ['x', '']", "roles.a.read[1]: is empty"),
        ("[roles.a]\nwrite = ['a*b']", "roles.a.write[0]: has a *"),
        (
            "[roles.a]\nsessions = ['a**']",
            "roles.a.sessions[0]: has a *",
        ),
        (
            "[roles.a]\ndefine = ['a/']",
            "roles.a.define[0]: must end with *",
        ),
        (
            "[identities.a]\nroles = ['b']",
            "identities.a.roles[0]: there is no role \"b\"",
        ),
        (
            "[identities.a]\ntokens = ['sha256:12']",
            "identities.a.tokens[0]: must be sha256:",
        ),
        (
            "[identities.a]\ncertificates = ['ip:1']",
            "identities.a.certificates[0]: must begin with uri:",
        ),
        (
            "[identities.\"a\\n\"]",
            "identities.\"a\\n\": a name must have",
        ),
        (
            &format!("[identities.a]\ntokens = ['{hash}']\n[identities.b]\ntokens = ['{hash}']"),
            "identities.b.tokens[0]: is listed already, for identity \"a\"",
        ),
        (
            "[identities.a]\ncertificates = ['dns:A.b']\n[identities.b]\ncertificates = ['dns:a.B']",
            "identities.b.certificates[0]: \"dns:a.B\" is listed already",
        ),
    ] {
        let error = error(text);
        assert!(error.starts_with(says), "{text}: {error}");
    }
}

#[test]
fn errors_never_show_what_may_be_a_token() {
    let token = Token::random();
    let secret = token.secret();
    for text in [
        format!("[identities.a]\ntokens = ['{secret}']"),
        format!("[identities.a]\ntokens = '{secret}'"),
        format!("[identities.a]\ntokens = [{secret}]"),
        format!("[identities.a]\ntokens = ['{secret}'"),
        format!("[identities.a]\n{secret} = []"),
        format!("[identities.a]\ntokens = ''\n{secret}"),
        format!("[identities.a]\ncertificates = ['{secret}']"),
        format!("[identities.a]\nroles = ['{secret}']"),
        format!("[identities.{secret}]\nroles = ['none']"),
        format!("[roles.{secret}]\nread = ['']"),
    ] {
        let error = error(&text);
        assert!(!error.contains(&secret[6..]), "{error}");
    }
}

#[test]
fn a_token_is_known_by_its_hash_and_a_certificate_by_its_first_name() {
    let token = Token::random();
    assert!(token.secret().starts_with("slst_") && token.secret().len() == 48);
    let text = format!(
        "[identities.a]\ntokens = ['{}']\ncertificates = ['cn:x']\n[identities.b]\ncertificates = ['dns:X.y']",
        token.hash()
    );
    let access = Access::parse(&text).unwrap();
    let who = |credential| access.identify(&credential).map(|identity| identity.name());
    assert_eq!(
        who(Credential::Token(TokenHash::of(token.secret().as_bytes()))),
        Some("a")
    );
    assert_eq!(who(Credential::Token(TokenHash::of(b"slst_"))), None);
    let names = |names: &[&str]| {
        let names = names
            .iter()
            .map(|name| CertificateName::parse(name).unwrap());
        Credential::Certificate(names.collect())
    };
    assert_eq!(who(names(&["dns:x.Y", "cn:x"])), Some("b"));
    assert_eq!(who(names(&["uri:x", "cn:x"])), Some("a"));
    assert_eq!(who(names(&["uri:x"])), None);
    assert_eq!(who(names(&[])), None);
}

/// A role, as the naive model has it: its lists by name.
type Role = (BTreeMap<&'static str, Vec<String>>, bool);

const LISTS: [&str; 4] = ["read", "write", "sessions", "define"];

fn a_role() -> impl Strategy<Value = Role> {
    let patterns = |list: &'static str| {
        let pattern = match list {
            "define" => "[ab/]{0,3}\\*",
            _ => "[ab/]{1,3}|[ab/]{0,3}\\*",
        };
        prop::collection::vec(pattern, 0..3).prop_map(move |patterns| (list, patterns))
    };
    let lists = LISTS.map(patterns);
    (lists, prop::bool::weighted(0.2))
        .prop_map(|(lists, admin)| (lists.into_iter().collect(), admin))
}

/// An access file with an identity for each element of `of_identities`, which has the roles of the identity. Returns their
/// tokens, too.
fn file(roles: &[Role], of_identities: &[Vec<usize>]) -> (String, Vec<Token>) {
    let mut text = String::new();
    let mut tokens = Vec::new();
    for (index, own) in of_identities.iter().enumerate() {
        let names: Vec<_> = own.iter().map(|role| format!("'r{role}'")).collect();
        let token = Token::random();
        writeln!(
            text,
            "[identities.i{index}]\ntokens = ['{}']\nroles = [{}]",
            token.hash(),
            names.join(", ")
        )
        .unwrap();
        tokens.push(token);
    }
    for (index, (lists, admin)) in roles.iter().enumerate() {
        writeln!(text, "[roles.r{index}]\nadmin = {admin}").unwrap();
        for (list, patterns) in lists {
            writeln!(text, "{list} = {patterns:?}").unwrap();
        }
    }
    (text, tokens)
}

/// Whether a pattern of one of the roles covers `name`, or all names that begin with it. Written as the manual says it.
fn covered(roles: &[&Role], list: &str, name: &str, all: bool) -> bool {
    let mut patterns = roles.iter().flat_map(|(lists, _)| &lists[list]);
    patterns.any(|pattern| {
        let is_prefix = pattern.ends_with('*');
        let begins = name.starts_with(pattern.trim_end_matches('*'));
        (is_prefix && begins) || (!all && pattern == name)
    })
}

/// Checks every decision about `name` against the naive model.
fn check(identity: &Identity, own: &[&Role], name: &str) -> Result<(), TestCaseError> {
    let admin = own.iter().any(|(_, admin)| *admin);
    let one = |list| covered(own, list, name, false);
    let all = |list| covered(own, list, name, true);
    let whole = |list| covered(own, list, "", true);
    let any_prefix = |list| {
        let mut patterns = own.iter().flat_map(|(lists, _)| &lists[list]);
        patterns.any(|pattern| pattern.ends_with('*'))
    };
    let any = admin
        || own
            .iter()
            .any(|(lists, _)| lists.values().any(|list| !list.is_empty()));
    for (needs, expected) in [
        (Needs::Read(name), one("read")),
        (Needs::ReadPrefix(name), all("read")),
        (Needs::Write(name), one("write")),
        (Needs::WritePrefix(name), all("write")),
        (Needs::Session(name), admin || one("sessions")),
        (Needs::Define(name), all("define")),
        (Needs::SeeMachine(name), all("define") || all("read")),
        // By its name alone, so to anybody who may have to do with any machine; what it is for is looked at next.
        (Needs::UndefineMachine(name), any_prefix("define")),
        (
            Needs::AskForMachine(name),
            any_prefix("define") || any_prefix("read"),
        ),
        (Needs::SeeMachines, whole("define") || whole("read")),
        (Needs::Admin, admin),
        (Needs::Anything, any),
    ] {
        prop_assert_eq!(identity.may(needs), expected, "{:?}", needs);
    }
    Ok(())
}

proptest! {
    /// Several identities share roles: each has its own rights, and nobody else's.
    #[test]
    fn decisions_are_those_of_a_naive_model(
        roles in prop::collection::vec(a_role(), 1..4),
        picks in prop::collection::vec(prop::collection::vec(0usize..4, 0..3), 1..4),
        names in prop::collection::vec("[ab/]{0,4}", 20),
    ) {
        let mut picks = picks;
        for own in &mut picks {
            own.retain(|pick| *pick < roles.len());
        }
        let (text, tokens) = file(&roles, &picks);
        let access = Access::parse(&text).unwrap();
        for (own, token) in picks.iter().zip(&tokens) {
            let identity = access.identify(&Credential::Token(token.hash())).unwrap();
            let own: Vec<&Role> = own.iter().map(|pick| &roles[*pick]).collect();
            for name in &names {
                check(identity, &own, name)?;
            }
        }
        let stranger = Credential::Token(Token::random().hash());
        prop_assert_eq!(access.identify(&stranger), None);
    }
}
