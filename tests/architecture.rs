//! Holds the code to ARCHITECTURE.md: which room may import which, and the walk of a Write.
//!
//! The tables in ARCHITECTURE.md are the rules. This test reads them, then every import of the rooms' files, and fails
//! with the offending line. Code of tests is left out: a test may look anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The rules of a folder or file directly below `src`, as ARCHITECTURE.md lists them.
struct Room {
    may_import: BTreeSet<String>,
    must_not_name: Vec<String>,
}

/// One file, without its tests and comments.
struct Source {
    /// From the root of the repository.
    path: PathBuf,
    /// The module path below the crate: `["rpc", "frame", "decode"]`.
    module: Vec<String>,
    code: String,
}

impl Source {
    /// `lib.rs` and `main.rs` are rooms of their own names.
    fn room(&self) -> &str {
        match self.module.first() {
            Some(room) => room,
            None => "lib",
        }
    }
}

/// Something of the same crate that a line of a file names.
struct Import {
    line: usize,
    text: String,
    /// The path below the crate, as far as it is written: `["machine", "Value"]`.
    target: Vec<String>,
}

#[test]
fn the_server_keeps_to_its_rooms() {
    check_rooms("server/src");
}

#[test]
fn the_load_generator_keeps_to_its_rooms() {
    check_rooms("client/load/src");
}

#[test]
fn the_command_line_keeps_to_its_rooms() {
    check_rooms("client/cli/src");
}

#[test]
fn http2_keeps_to_its_rooms() {
    check_rooms("http2/src");
}

#[test]
fn the_libraries_have_no_circles() {
    check_circles("flags/src");
    check_circles("client/src");
    check_circles("client/verify/src");
}

#[test]
fn only_the_caller_holds_the_owners_handle() {
    for source in sources("server/src") {
        let is_caller = source.module == ["rpc", "caller"];
        if source.room() == "rpc" && !is_caller {
            let place = source.path.display();
            let names = source.code.contains("OwnerHandle");
            assert!(!names, "{place} names OwnerHandle, past the rights");
        }
    }
}

#[test]
fn the_walk_of_a_write_exists() {
    const STOPS_MAX: usize = 7;
    let text = architecture();
    let walk = section(&text, "<!-- walk -->");
    let stops: Vec<_> = walk.lines().filter_map(stop).collect();
    assert!(
        (2..=STOPS_MAX).contains(&stops.len()),
        "{} stops, not 2 to {STOPS_MAX}",
        stops.len()
    );
    for (file, function) in stops {
        let code = fs::read_to_string(root().join(file)).unwrap_or_else(|error| {
            panic!("ARCHITECTURE.md: the walk names {file}, which cannot be read: {error}")
        });
        let defined = [format!("fn {function}("), format!("fn {function}<")];
        assert!(
            defined.iter().any(|text| code.contains(text)),
            "ARCHITECTURE.md: the walk names {function}, which {file} does not define"
        );
    }
}

/// A misplaced import must be found in each way of writing it.
#[test]
fn imports_are_found_however_they_are_written() {
    let cases = [
        ("use crate::owner::Handle;", "owner::Handle"),
        (
            "use crate::{config, owner::Handle};",
            "config owner::Handle",
        ),
        (
            "use crate::owner::{\n    self, Handle,\n};",
            "owner::self owner::Handle",
        ),
        (
            "pub(crate) use crate::owner::Handle as Owner;",
            "owner::Handle",
        ),
        ("let owner = crate::owner::start();", "owner::start"),
        ("use super::super::owner::Handle;", "owner::Handle"),
        ("use super::other;", "rpc::other"),
        ("use std::fmt;", ""),
        ("// use crate::owner::Handle;", ""),
        (
            "#[cfg(test)]\nmod tests {\n    use crate::owner::Handle;\n}",
            "",
        ),
        ("#[cfg(test)]\nuse crate::owner::Handle;", ""),
    ];
    for (code, expected) in cases {
        let source = Source {
            path: "rpc/state.rs".into(),
            module: vec!["rpc".into(), "state".into()],
            code: without_tests(code),
        };
        let found = imports(&source);
        let found: Vec<_> = found
            .iter()
            .map(|import| import.target.join("::"))
            .collect();
        assert_eq!(found.join(" "), expected, "{code}");
    }
}

fn check_rooms(src: &str) {
    let text = architecture();
    let rooms = rooms(section(&text, &format!("<!-- rooms: {src} -->")));
    let sources = sources(src);
    let mut faults = String::new();
    for source in &sources {
        match rooms.get(source.room()) {
            Some(room) => report_room(&mut faults, source, room, &rooms),
            None => {
                let (place, name) = (source.path.display(), source.room());
                _ = writeln!(faults, "{place}: ARCHITECTURE.md lists no room {name}");
            }
        }
    }
    report_unused(&mut faults, &sources, &rooms);
    report_circles(&mut faults, &sources);
    assert!(faults.is_empty(), "{src}\n{faults}");
}

fn check_circles(src: &str) {
    let mut faults = String::new();
    report_circles(&mut faults, &sources(src));
    assert!(faults.is_empty(), "{src}\n{faults}");
}

/// The lines of a file that break the rules of its room.
fn report_room(faults: &mut String, source: &Source, room: &Room, rooms: &BTreeMap<String, Room>) {
    let (place, from) = (source.path.display(), source.room());
    for Import { line, text, target } in imports(source) {
        // What is no room is an item of `lib.rs`, or a macro.
        if let Some(to) = target.first().filter(|to| rooms.contains_key(*to))
            && to != from
            && !room.may_import.contains(to)
        {
            _ = writeln!(
                faults,
                "{place}:{line}: {text}\n    {from} must not import {to}"
            );
        }
    }
    for (index, line) in source.code.lines().enumerate() {
        for word in &room.must_not_name {
            if line.contains(word.as_str()) {
                let line = index + 1;
                _ = writeln!(faults, "{place}:{line}: {from} must not name {word}");
            }
        }
    }
}

/// Permissions that nobody uses: the table shows what is, not more.
fn report_unused(faults: &mut String, sources: &[Source], rooms: &BTreeMap<String, Room>) {
    let used: BTreeSet<(&str, String)> = sources
        .iter()
        .flat_map(|source| {
            let targets = imports(source).into_iter();
            targets.filter_map(|import| Some((source.room(), import.target.first()?.clone())))
        })
        .collect();
    for (name, room) in rooms {
        for import in &room.may_import {
            if !used.contains(&(name.as_str(), import.clone())) {
                _ = writeln!(
                    faults,
                    "ARCHITECTURE.md: {name} imports nothing of {import}"
                );
            }
        }
    }
}

/// Files that import each other. An import of the own parent module is left out: Rust's `super` makes it everywhere.
fn report_circles(faults: &mut String, sources: &[Source]) {
    let files: BTreeSet<&[String]> = sources.iter().map(|source| &source.module[..]).collect();
    let mut arrows: BTreeMap<&[String], BTreeSet<Vec<String>>> = BTreeMap::new();
    for source in sources {
        for Import { target, .. } in imports(source) {
            let mut prefixes = (1..=target.len()).rev().map(|length| &target[..length]);
            if let Some(file) = prefixes.find(|path| files.contains(path))
                && !source.module.starts_with(file)
            {
                let from = arrows.entry(&source.module).or_default();
                from.insert(file.to_vec());
            }
        }
    }
    for circle in circles(&arrows) {
        _ = writeln!(faults, "files import each other in a circle: {circle}");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn architecture() -> String {
    fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is in the root")
}

/// What follows a marker, up to the next heading.
fn section<'a>(text: &'a str, marker: &str) -> &'a str {
    let (_, rest) = text
        .split_once(marker)
        .unwrap_or_else(|| panic!("ARCHITECTURE.md has no {marker}"));
    rest.split("\n#").next().unwrap_or(rest)
}

/// Rows of the form ``| `room` | purpose | may import `a`, `b` | must not name `x` |``.
fn rooms(table: &str) -> BTreeMap<String, Room> {
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let rooms = rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').collect();
        let [room, _, may_import, rest @ ..] = &cells[..] else {
            panic!("ARCHITECTURE.md: a row of three cells or more, not {row}");
        };
        let name = |quoted: String| {
            quoted
                .trim_end_matches('/')
                .trim_end_matches(".rs")
                .to_owned()
        };
        let room = name(quoted(room).remove(0));
        let may_import = quoted(may_import).into_iter().map(name).collect();
        let must_not_name = rest.first().map_or_else(Vec::new, |cell| quoted(cell));
        (
            room,
            Room {
                may_import,
                must_not_name,
            },
        )
    });
    rooms.collect()
}

/// The words in backquotes.
fn quoted(text: &str) -> Vec<String> {
    let words = text.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

/// A stop of the walk: ``1. `file` `function`: ...``.
fn stop(line: &str) -> Option<(&str, &str)> {
    line.trim_start()
        .split_once(". ")
        .filter(|(number, _)| number.parse::<u8>().is_ok())?;
    let mut words = line.split('`').skip(1).step_by(2);
    Some((words.next()?, words.next()?))
}

/// Every Rust file below a folder but for tests. There must be some.
fn sources(src: &str) -> Vec<Source> {
    let src_path = root().join(src);
    let mut sources = Vec::new();
    let mut folders = vec![src_path.clone()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        for entry in entries {
            let path = entry.expect("a folder can be read to its end").path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            if stem == "tests" || stem.ends_with("_tests") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&src_path).expect("it is below src");
                let code = fs::read_to_string(&path).expect("a source file is text");
                sources.push(Source {
                    path: Path::new(src).join(relative),
                    module: module(relative),
                    code: without_tests(&code),
                });
            }
        }
    }
    assert!(!sources.is_empty(), "{src} has no sources");
    sources
}

/// The module path of a file: `rpc/frame/mod.rs` is `rpc::frame`, and `lib.rs` is the crate.
fn module(file: &Path) -> Vec<String> {
    let file = file.with_extension("");
    let parts = file.iter().map(|part| part.to_string_lossy().into_owned());
    let mut module: Vec<_> = parts.collect();
    module.pop_if(|last| last == "mod" || last == "lib");
    module
}

/// The code with tests and comments blanked out, line for line.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("#[cfg(test)]") {
            out.push('\n');
            let indent = line.len() - trimmed.len();
            // The item ends with its first line, or with the brace in the same column.
            let mut is_first = true;
            for line in lines.by_ref() {
                out.push('\n');
                let is_attribute = line.trim_start().starts_with("#[");
                let ends = line.len() - line.trim_start().len() == indent
                    && (line.trim_start().starts_with('}')
                        || is_first && line.ends_with([';', '}', ',']));
                if ends {
                    break;
                }
                is_first &= is_attribute;
            }
            continue;
        }
        if !trimmed.starts_with("//") {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

/// Every path of the same crate that a file names, with `use` groups taken apart.
fn imports(source: &Source) -> Vec<Import> {
    let mut imports = Vec::new();
    let code = &source.code;
    for (at, _) in code
        .match_indices("crate::")
        .chain(code.match_indices("super::"))
    {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|char| char.is_alphanumeric() || char == '_' || char == ':') {
            continue;
        }
        let (base, rest) = match code[at..].strip_prefix("crate::") {
            Some(rest) => (Vec::new(), rest),
            None => {
                let mut rest = &code[at..];
                let mut base = source.module.clone();
                while let Some(shorter) = rest.strip_prefix("super::") {
                    base.pop();
                    rest = shorter;
                }
                (base, rest)
            }
        };
        let line = code[..at].matches('\n').count() + 1;
        let text = code.lines().nth(line - 1).unwrap_or_default().trim();
        for target in paths(&base, rest) {
            imports.push(Import {
                line,
                text: text.to_owned(),
                target,
            });
        }
    }
    imports
}

/// The paths that begin here: one, or as many as the braces hold.
fn paths(base: &[String], text: &str) -> Vec<Vec<String>> {
    let mut path = base.to_vec();
    let mut rest = text;
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            return members(group)
                .into_iter()
                .flat_map(|member| paths(&path, member))
                .collect();
        }
        let end = rest
            .find(|char: char| !char.is_alphanumeric() && char != '_')
            .unwrap_or(rest.len());
        if end == 0 {
            return vec![path];
        }
        path.push(rest[..end].to_owned());
        match rest[end..].strip_prefix("::") {
            Some(more) => rest = more,
            None => return vec![path],
        }
    }
}

/// What stands between commas up to the closing brace.
fn members(group: &str) -> Vec<&str> {
    let mut members = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                members.push(group[start..at].trim());
                start = at + 1;
                if char == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    members.retain(|member| !member.is_empty());
    members
}

/// Circles along arrows, each named by the files that it passes through.
fn circles(arrows: &BTreeMap<&[String], BTreeSet<Vec<String>>>) -> Vec<String> {
    let mut circles = BTreeSet::new();
    for &start in arrows.keys() {
        let mut reached: BTreeMap<&[String], &[String]> = BTreeMap::new();
        let mut open: Vec<&[String]> = vec![start];
        while let Some(file) = open.pop() {
            for next in arrows.get(file).into_iter().flatten() {
                if let std::collections::btree_map::Entry::Vacant(entry) = reached.entry(next) {
                    entry.insert(file);
                    open.push(next);
                }
            }
        }
        if !reached.contains_key(start) {
            continue;
        }
        let mut circle = vec![start.join("::")];
        let mut file = reached[start];
        while file != start {
            circle.push(file.join("::"));
            file = reached[file];
        }
        circle.sort();
        circles.insert(circle.join(", "));
    }
    circles.into_iter().collect()
}
