//! Which value of a flag holds: that of the command line, the environment, the file, or its default.

use std::error::Error as _;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::file::{self, Entry, Fault, Value};
use crate::help;
use crate::program::{CHECK, CONFIG, Program, flags, is_switch, takes_several};

/// The flags of a program, and where each value came from.
#[derive(Debug)]
pub struct Resolved {
    /// What clap says, with the values of the file.
    pub matches: ArgMatches,
    /// The program, or its subcommand that takes the file, without values of the file.
    pub(crate) command: Command,
    subcommand: Option<String>,
    file: Option<FileInUse>,
}

#[derive(Debug)]
struct FileInUse {
    path: PathBuf,
    entries: Vec<Entry>,
    /// The names of flags whose values are those of the file.
    holding: Vec<String>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// The environment variable of this name.
    Environment(String),
    /// This file, with the line.
    File(PathBuf, usize),
    /// Neither: it is what the program has by itself.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path, line) => write!(f, "file {}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Program {
    /// Reads the words of a command line, the first of which is the name of the program, and the file that they or the
    /// environment name.
    ///
    /// # Errors
    /// What clap says; help and versions are errors for it, too. If the file cannot be read, or has something that is no
    /// flag or no value of it: the file, the line, the key, the value, and what it must be.
    pub fn resolve(&self, words: &[OsString]) -> Result<Resolved, clap::Error> {
        let command = self.with_variables();
        let subcommand = words.get(1).and_then(|word| command.find_subcommand(word));
        let subcommand = subcommand.map(|it| it.get_name().to_owned());
        let target = self.target(&command, subcommand.as_deref());
        let Some(path) = path_of(words, &target) else {
            let matches = self.shown(&command, words).try_get_matches_from(words)?;
            return Ok(Resolved {
                matches,
                command: target,
                subcommand,
                file: None,
            });
        };
        let entries = file::read(&path).map_err(|fault| refuse(&path, &fault))?;
        for entry in &entries {
            self.check(&target, entry)
                .map_err(|fault| refuse(&path, &fault))?;
        }
        let with_file = edit(command, subcommand.as_deref(), |target| {
            with_defaults(target, &entries)
        });

        // Twice: once to find out what is typed or in the environment, and to show the help with the values of the file; once
        // with the values of the file as if they had been typed, so that clap finds what contradicts what.
        let given = self.shown(&with_file, words).ignore_errors(true);
        let given = given.try_get_matches_from(words)?;
        let given = matches_of(&given, subcommand.as_deref());
        let holding: Vec<_> = entries
            .iter()
            .filter(|entry| !given.is_some_and(|given| is_given(given, &target, &entry.name)))
            .collect();
        let front = words.len().min(if subcommand.is_some() { 2 } else { 1 });
        let (program, rest) = words.split_at(front);
        let parse = |without: Option<&Entry>| {
            let is_left = |entry: &&&Entry| without.is_none_or(|it| it.name != entry.name);
            let typed = holding.iter().filter(is_left);
            // A default needs no other flag, as if it were not there: what was printed can be fed back.
            let typed = typed.filter(|entry| !is_default(&target, entry));
            let typed = typed.flat_map(|entry| words_of(entry));
            let all = program.iter().cloned().chain(typed);
            let all = all.chain(rest.iter().cloned());
            with_file.clone().try_get_matches_from(all)
        };
        let matches = parse(None).map_err(|error| {
            let causes = holding.iter().filter(|entry| {
                let without = parse(Some(entry)).err();
                without.is_none_or(|without| message(&without) != message(&error))
            });
            let causes: Vec<_> = causes.copied().collect();
            blame(error, &path, &causes)
        })?;
        let holding = holding.iter().map(|entry| entry.name.clone()).collect();
        Ok(Resolved {
            matches,
            command: target,
            subcommand,
            file: Some(FileInUse {
                path,
                entries,
                holding,
            }),
        })
    }

    /// The command that these words are for.
    fn target(&self, command: &Command, subcommand: Option<&str>) -> Command {
        let target = subcommand.and_then(|name| command.find_subcommand(name));
        target.unwrap_or(command).clone()
    }

    /// What clap prints the help of.
    fn shown(&self, command: &Command, words: &[OsString]) -> Command {
        match help::asks_for_all(words) {
            true => command.clone(),
            false => help::one_screen(command.clone(), self.short_help),
        }
    }

    /// Checks that an entry is a flag that may be in a file, and a value of it.
    fn check(&self, target: &Command, entry: &Entry) -> Result<(), Fault> {
        let Entry {
            name, line, shown, ..
        } = entry;
        let fault = |text: String| Fault {
            line: Some(*line),
            text,
        };
        let Some(arg) = flags(target).find(|arg| has_name(arg, name)) else {
            let close = match suggestion(target, name) {
                Some(close) => format!(" (did you mean {close}?)"),
                None => String::new(),
            };
            return Err(fault(format!("{name} is no flag{close}")));
        };
        if let Some(why) = self.why_typed(arg) {
            return Err(fault(format!("{name} {why}")));
        }
        let must_be = match (&entry.value, is_switch(arg)) {
            (Value::Switch(_), true) => None,
            (_, true) => Some("true or false"),
            (Value::Switch(_), false) => Some("a text or a number"),
            (Value::Several(_), _) if !takes_several(arg) => Some("one value, not a list"),
            _ => None,
        };
        if let Some(must_be) = must_be {
            return Err(fault(format!("{name} is {shown}, but must be {must_be}")));
        }
        match reason_against(target, entry) {
            None => Ok(()),
            Some(reason) => Err(fault(format!("{name} is {shown}: {reason}"))),
        }
    }
}

impl Resolved {
    /// The flags of the program, or of the subcommand that was typed.
    #[must_use]
    pub fn target_matches(&self) -> &ArgMatches {
        matches_of(&self.matches, self.subcommand.as_deref()).unwrap_or(&self.matches)
    }

    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| &*file.path)
    }

    /// Adds to an error which of the flags that it names are in the file, and on which line.
    #[must_use]
    pub fn explain(&self, error: &str) -> String {
        match &self.file {
            None => error.to_owned(),
            Some(file) => format!("{error}{}", file.places(error)),
        }
    }

    /// Where the value of a flag came from.
    pub(crate) fn source(&self, arg: &Arg) -> Source {
        let name = arg.get_long().unwrap_or_default();
        if let Some((file, entry)) = self.entry(name)
            && file.holding.contains(&entry.name)
        {
            return Source::File(file.path.clone(), entry.line);
        }
        match self.target_matches().value_source(arg.get_id().as_str()) {
            Some(ValueSource::CommandLine) => Source::Flag,
            Some(ValueSource::EnvVariable) => {
                let name = arg.get_env().unwrap_or_default();
                Source::Environment(name.to_string_lossy().into_owned())
            }
            _ => Source::Default,
        }
    }

    /// The values that hold for a flag, as they would be typed. Empty if it has none.
    pub(crate) fn values(&self, arg: &Arg) -> Vec<String> {
        let values = self.target_matches().get_raw(arg.get_id().as_str());
        let values = values.into_iter().flatten();
        values
            .map(|value| value.to_string_lossy().into_owned())
            .collect()
    }

    /// Returns what an operator must know who has changed the file while the program runs: for each flag whose value in the
    /// file has changed since `before`, its name, and whether its value holds.
    #[must_use]
    pub fn changes(&self, before: &Self) -> Vec<Change> {
        let changed = flags(&self.command).filter_map(|arg| {
            let name = arg.get_long().unwrap_or_default();
            let in_file = |it: &Self| it.entry(name).map(|(_, entry)| entry.value.clone());
            (in_file(self) != in_file(before)).then(|| Change {
                name: name.to_owned(),
                holds: self.values(arg) != before.values(arg),
                source: self.source(arg),
            })
        });
        changed.collect()
    }

    fn entry(&self, name: &str) -> Option<(&FileInUse, &Entry)> {
        let file = self.file.as_ref()?;
        let arg = flags(&self.command).find(|arg| arg.get_long() == Some(name))?;
        let entry = file.entries.iter().find(|it| has_name(arg, &it.name))?;
        Some((file, entry))
    }
}

/// A flag whose value in the file is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name, without dashes before it.
    pub name: String,
    /// Whether another value holds now. It does not if a flag or a variable decides.
    pub holds: bool,
    /// Where the value came from that holds.
    pub source: Source,
}

impl FileInUse {
    /// The entries that hold and that an error names.
    fn places(&self, error: &str) -> String {
        let named = self.entries.iter();
        let named = named.filter(|it| self.holding.contains(&it.name) && names(error, &it.name));
        named.map(|entry| place(&self.path, entry)).collect()
    }
}

fn place(path: &Path, entry: &Entry) -> String {
    let (path, line, name) = (path.display(), entry.line, &entry.name);
    format!("\n  {path}:{line}: {name} = {}", entry.shown)
}

/// What an error of clap says, without the usage.
fn message(error: &clap::Error) -> String {
    let text = error.to_string();
    let message = text.split("\n\n").next().unwrap_or_default();
    message.trim_start_matches("error: ").trim_end().to_owned()
}

/// Adds to an error of clap which entries of the file cause it: they look like typed flags to clap.
fn blame(error: clap::Error, path: &Path, causes: &[&Entry]) -> clap::Error {
    let is_of_several = matches!(
        error.kind(),
        ErrorKind::ArgumentConflict | ErrorKind::MissingRequiredArgument
    );
    if !is_of_several {
        return error;
    }
    let causes: String = causes.iter().map(|entry| place(path, entry)).collect();
    let causes = match causes.is_empty() {
        true => format!("\n  with the flags of {}", path.display()),
        false => causes,
    };
    clap::Error::raw(error.kind(), format!("{}{causes}\n", message(&error)))
}

/// Whether a text names a flag.
fn names(text: &str, flag: &str) -> bool {
    let flag = format!("--{flag}");
    text.match_indices(&flag).any(|(at, _)| {
        let next = text[at + flag.len()..].chars().next();
        !next.is_some_and(|next| next == '-' || next.is_ascii_alphanumeric())
    })
}

fn refuse(path: &Path, fault: &Fault) -> clap::Error {
    let line = fault
        .line
        .map(|line| format!(":{line}"))
        .unwrap_or_default();
    let text = format!("{}{line}: {}\n", path.display(), fault.text);
    clap::Error::raw(ErrorKind::ValueValidation, text)
}

/// The file that the words or the environment name, if the command takes one.
fn path_of(words: &[OsString], target: &Command) -> Option<PathBuf> {
    let config = flags(target).find(|arg| arg.get_long() == Some(CONFIG))?;
    let has_check = flags(target).any(|arg| arg.get_long() == Some(CHECK));
    let is_name = |name: &str| name == CONFIG || has_check && name == CHECK;
    let mut typed = None;
    let mut words = words.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        let Some(flag) = word.to_str().and_then(|word| word.strip_prefix("--")) else {
            continue;
        };
        match flag.split_once('=') {
            Some((name, path)) if is_name(name) => typed = Some(path.into()),
            None if is_name(flag) => typed = words.next().cloned(),
            _ => {}
        }
    }
    let variable = || config.get_env().and_then(std::env::var_os);
    typed.or_else(variable).map(PathBuf::from)
}

/// Whether a flag is on the command line or in the environment.
fn is_given(given: &ArgMatches, target: &Command, name: &str) -> bool {
    let arg = flags(target).find(|arg| has_name(arg, name));
    let source = arg.and_then(|arg| given.value_source(arg.get_id().as_str()));
    matches!(
        source,
        Some(ValueSource::CommandLine | ValueSource::EnvVariable)
    )
}

/// Whether an entry says what would hold without it.
fn is_default(target: &Command, entry: &Entry) -> bool {
    let arg = flags(target).find(|arg| has_name(arg, &entry.name));
    let defaults = arg.map(Arg::get_default_values).unwrap_or_default();
    matches!((&entry.value, defaults), (Value::One(value), [default]) if **default == **value)
}

fn has_name(arg: &Arg, name: &str) -> bool {
    let names = arg.get_long().into_iter();
    let aliases = arg.get_all_aliases().into_iter().flatten();
    names.chain(aliases).any(|it| it == name)
}

fn edit(command: Command, subcommand: Option<&str>, f: impl FnOnce(Command) -> Command) -> Command {
    match subcommand {
        Some(name) => command.mut_subcommand(name, f),
        None => f(command),
    }
}

fn matches_of<'a>(matches: &'a ArgMatches, subcommand: Option<&str>) -> Option<&'a ArgMatches> {
    match subcommand {
        Some(name) => matches.subcommand_matches(name),
        None => Some(matches),
    }
}

/// Gives flags the values of the file as defaults, which the help then shows. A switch that the file turns on takes a value
/// from the command line, so that it can be turned off there.
fn with_defaults(target: Command, entries: &[Entry]) -> Command {
    target.mut_args(|arg| {
        let Some(entry) = entries.iter().find(|entry| has_name(&arg, &entry.name)) else {
            return arg;
        };
        match &entry.value {
            Value::Switch(false) => arg,
            Value::Switch(true) => arg
                .action(ArgAction::Set)
                .value_parser(value_parser!(bool))
                .value_name("BOOL")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value("true"),
            Value::One(value) => arg.default_value(value.clone()),
            Value::Several(values) => arg.default_values(values.clone()),
        }
    })
}

/// The words that stand for an entry on a command line.
fn words_of(entry: &Entry) -> Vec<OsString> {
    let name = &entry.name;
    let word = |value: &String| format!("--{name}={value}").into();
    match &entry.value {
        Value::Switch(true) => vec![format!("--{name}").into()],
        Value::Switch(false) => Vec::new(),
        Value::One(value) => vec![word(value)],
        Value::Several(values) => values.iter().map(word).collect(),
    }
}

/// Why clap does not take a value, if it does not.
fn reason_against(target: &Command, entry: &Entry) -> Option<String> {
    // The environment is none of the file's business.
    let alone = target
        .clone()
        .no_binary_name(true)
        .mut_args(|arg| arg.env(Resettable::Reset));
    let error = alone.try_get_matches_from(words_of(entry)).err()?;
    match error.kind() {
        // With flags that are elsewhere: that is for later.
        ErrorKind::ArgumentConflict | ErrorKind::MissingRequiredArgument => None,
        ErrorKind::InvalidValue => Some(match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(valid)) if !valid.is_empty() => {
                format!("it must be one of {}", valid.join(", "))
            }
            _ => "it must have a value".into(),
        }),
        _ => Some(match error.source() {
            Some(source) => source.to_string(),
            None => {
                let text = error.to_string();
                let message = text.lines().next().unwrap_or_default();
                message.trim_start_matches("error: ").to_owned()
            }
        }),
    }
}

/// The flag whose name is like this one.
fn suggestion(target: &Command, name: &str) -> Option<String> {
    let with_dashes = name.trim_start_matches('-').replace('_', "-");
    if flags(target).any(|arg| has_name(arg, &with_dashes)) {
        return Some(with_dashes);
    }
    let words = [OsString::new(), format!("--{name}").into()];
    let error = target.clone().try_get_matches_from(words).err()?;
    match error.get(ContextKind::SuggestedArg)? {
        ContextValue::String(flag) => Some(flag.trim_start_matches('-').to_owned()),
        _ => None,
    }
}
