//! The access file: TOML, taken whole or not at all.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::certificate::CertificateName;
use super::identity::Identity;
use super::patterns::Patterns;
use super::token::{TOKEN_PREFIX, TokenHash};

/// Most bytes of the name of an identity: as many as of every other name.
const NAME_BYTES_MAX: usize = 128;

/// What a caller has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A token, of which this is the hash.
    Token(TokenHash),
    /// A certificate with these names. The first that the access file has counts.
    Certificate(Arc<[CertificateName]>),
}

/// A whole access file: all identities, by what they show.
#[derive(Debug, Default)]
pub struct Access {
    pub(super) tokens: HashMap<TokenHash, Arc<Identity>>,
    pub(super) certificates: HashMap<CertificateName, Arc<Identity>>,
}

/// What is wrong with an access file.
#[derive(Debug, PartialEq, Eq)]
pub struct AccessError(String);

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AccessError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    identities: BTreeMap<String, IdentityEntry>,
    #[serde(default)]
    roles: BTreeMap<String, RoleEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityEntry {
    #[serde(default)]
    tokens: Vec<String>,
    #[serde(default)]
    certificates: Vec<String>,
    #[serde(default)]
    roles: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleEntry {
    #[serde(default)]
    read: Vec<String>,
    #[serde(default)]
    write: Vec<String>,
    #[serde(default)]
    sessions: Vec<String>,
    #[serde(default)]
    define: Vec<String>,
    #[serde(default)]
    audit: Vec<String>,
    #[serde(default)]
    admin: bool,
}

impl Access {
    /// Parses an access file.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line or its field.
    pub fn parse(text: &str) -> Result<Self, AccessError> {
        let file: File = toml::from_str(text).map_err(|error| syntax(text, &error))?;
        for (name, role) in &file.roles {
            check_role(name, role)?;
        }
        let mut access = Self::default();
        for (name, entry) in &file.identities {
            let identity = Arc::new(identity(name, entry, &file.roles)?);
            access.add(entry, &identity)?;
        }
        Ok(access)
    }

    /// Adds what an identity shows. Nobody else may show the same.
    fn add(&mut self, entry: &IdentityEntry, identity: &Arc<Identity>) -> Result<(), AccessError> {
        let field =
            |kind: &str, index: usize| format!("identities.{}.{kind}[{index}]", identity.name);
        for (index, token) in entry.tokens.iter().enumerate() {
            let field = field("tokens", index);
            // The text is not shown: it may be a token that was put here instead of its hash.
            let hash = TokenHash::parse(token).ok_or_else(|| {
                wrong(&field, "must be sha256: and 64 hexadecimal digits, as `soloist-server token` prints them")
            })?;
            if let Some(other) = self.tokens.insert(hash, Arc::clone(identity)) {
                return Err(wrong(
                    &field,
                    &format!("is listed already, for identity {:?}", other.name),
                ));
            }
        }
        for (index, text) in entry.certificates.iter().enumerate() {
            let field = field("certificates", index);
            let name = CertificateName::parse(text).ok_or_else(|| {
                wrong(&field, &format!("must begin with uri:, dns: or cn:, and a name must follow, but it is {text:?}"))
            })?;
            if let Some(other) = self.certificates.insert(name, Arc::clone(identity)) {
                let why = format!("{text:?} is listed already, for identity {:?}", other.name);
                return Err(wrong(&field, &why));
            }
        }
        Ok(())
    }

    /// Returns who shows this credential; `None` if nobody does.
    #[must_use]
    pub fn identify(&self, credential: &Credential) -> Option<&Arc<Identity>> {
        match credential {
            Credential::Token(hash) => self.tokens.get(hash),
            Credential::Certificate(names) => {
                names.iter().find_map(|name| self.certificates.get(name))
            }
        }
    }

    /// Whether any identity is known by a token.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Returns how many tokens and names of certificates the file has.
    #[must_use]
    pub fn credential_count(&self) -> usize {
        self.tokens.len() + self.certificates.len()
    }
}

fn identity(
    name: &str,
    entry: &IdentityEntry,
    roles: &BTreeMap<String, RoleEntry>,
) -> Result<Identity, AccessError> {
    let field = format!("identities.{name}");
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let why =
            format!("a name must have 1 to {NAME_BYTES_MAX} bytes, and no control characters");
        return Err(wrong(&format!("identities.{name:?}"), &why));
    }
    let own: Vec<&RoleEntry> = entry
        .roles
        .iter()
        .enumerate()
        .map(|(index, role)| {
            let unknown = || {
                wrong(
                    &format!("{field}.roles[{index}]"),
                    &format!("there is no role {role:?}"),
                )
            };
            roles.get(role).ok_or_else(unknown)
        })
        .collect::<Result<_, _>>()?;
    let all = |patterns: fn(&RoleEntry) -> &Vec<String>| {
        Patterns::new(
            own.iter()
                .flat_map(|role| patterns(role))
                .map(String::as_str),
        )
    };
    Ok(Identity {
        name: name.into(),
        read: all(|role| &role.read),
        write: all(|role| &role.write),
        sessions: all(|role| &role.sessions),
        define: all(|role| &role.define),
        audit: all(|role| &role.audit),
        admin: own.iter().any(|role| role.admin),
    })
}

fn check_role(name: &str, role: &RoleEntry) -> Result<(), AccessError> {
    let lists = [
        ("read", &role.read),
        ("write", &role.write),
        ("sessions", &role.sessions),
        ("define", &role.define),
        ("audit", &role.audit),
    ];
    for (list, patterns) in lists {
        for (index, pattern) in patterns.iter().enumerate() {
            let why = match pattern.strip_suffix('*') {
                _ if pattern.is_empty() => "is empty: \"*\" stands for everything",
                None if list == "define" => {
                    "must end with *: a machine is for all keys with a prefix"
                }
                // A star elsewhere is an ordinary character of a key. Here it is more likely a misunderstanding.
                Some(prefix) if prefix.contains('*') => {
                    "has a * before its end: only the last character can stand for others"
                }
                None if pattern.contains('*') => {
                    "has a * before its end: only the last character can stand for others"
                }
                _ => continue,
            };
            return Err(wrong(&format!("roles.{name}.{list}[{index}]"), why));
        }
    }
    Ok(())
}

fn wrong(field: &str, why: &str) -> AccessError {
    AccessError(without_tokens(&format!("{field}: {why}")))
}

/// The line of an error in the file's form, and what it is. The error's own text would quote the line, which may have secrets.
fn syntax(text: &str, error: &toml::de::Error) -> AccessError {
    let line = error.span().map(|span| {
        let before = &text.as_bytes()[..span.start.min(text.len())];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    });
    let message = without_tokens(&without_quotes(error.message()));
    match line {
        Some(line) => AccessError(format!("line {line}: {message}")),
        None => AccessError(message),
    }
}

/// The message without the texts that it quotes from the file.
fn without_quotes(message: &str) -> String {
    let kept = message.split('"').step_by(2);
    kept.collect::<Vec<_>>().join("\"…\"")
}

/// The message without what looks like a token: one may be in the file in the place of a name, or of its hash.
fn without_tokens(message: &str) -> String {
    let mut parts = message.split(TOKEN_PREFIX);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, part| {
        let is_token = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_';
        kept + TOKEN_PREFIX + "…" + part.trim_start_matches(is_token)
    })
}
