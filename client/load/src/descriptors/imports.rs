//! Completes the imports of files: some servers (grpc-js) describe their files without them.

use std::collections::{HashMap, HashSet};

use prost_reflect::DescriptorPool;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

/// Makes every file import the files with the types that it names. Types that no file has, and that come with every
/// implementation of Protocol Buffers, bring their files.
pub(super) fn complete(files: &mut HashMap<String, FileDescriptorProto>) {
    let mut definitions: HashMap<String, String> = HashMap::new();
    for file in files.values() {
        for name in defined(file) {
            definitions.insert(name, file.name().to_owned());
        }
    }
    let mut brought = HashMap::new();
    for file in files.values_mut() {
        let mut imported: HashSet<String> = file.dependency.iter().cloned().collect();
        for name in named(file) {
            let definition =
                scopes(file.package(), &name).find_map(|full| definitions.get(&full).cloned());
            let definition = match definition {
                Some(definition) => definition,
                None => match well_known_type(&name) {
                    Some(known) => {
                        let name = known.name().to_owned();
                        brought.insert(name.clone(), known);
                        name
                    }
                    None => continue,
                },
            };
            if definition != file.name() && imported.insert(definition.clone()) {
                file.dependency.push(definition);
            }
        }
    }
    files.extend(brought);
}

/// Returns what a name can stand for in a package: itself if it is full, which begins with a dot, or else the name in the
/// package, and in those around it.
fn scopes(package: &str, name: &str) -> impl Iterator<Item = String> {
    let is_full = name.starts_with('.');
    let mut scopes = vec![match is_full {
        true => name.to_owned(),
        false => format!(".{name}"),
    }];
    let mut scope = match is_full {
        true => "",
        false => package,
    };
    while !scope.is_empty() {
        scopes.push(format!(".{scope}.{name}"));
        scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
    }
    // The innermost first.
    scopes.rotate_left(1);
    scopes.into_iter()
}

/// Returns a file of those that come with every implementation of Protocol Buffers.
pub(super) fn well_known(name: &str) -> Option<FileDescriptorProto> {
    let file = DescriptorPool::global().get_file_by_name(name)?;
    Some(file.file_descriptor_proto().clone())
}

fn well_known_type(name: &str) -> Option<FileDescriptorProto> {
    let name = name.strip_prefix('.').unwrap_or(name);
    let pool = DescriptorPool::global();
    let file = match pool.get_message_by_name(name) {
        Some(message) => message.parent_file(),
        None => pool.get_enum_by_name(name)?.parent_file(),
    };
    Some(file.file_descriptor_proto().clone())
}

/// Returns the full names of the types that a file defines, as fields name them: with a leading dot.
fn defined(file: &FileDescriptorProto) -> Vec<String> {
    let package = match file.package() {
        "" => String::new(),
        package => format!(".{package}"),
    };
    let mut names: Vec<String> = file
        .enum_type
        .iter()
        .map(|of| format!("{package}.{}", of.name()))
        .collect();
    let mut open: Vec<(String, &DescriptorProto)> = file
        .message_type
        .iter()
        .map(|of| (package.clone(), of))
        .collect();
    while let Some((scope, message)) = open.pop() {
        let name = format!("{scope}.{}", message.name());
        names.extend(
            message
                .enum_type
                .iter()
                .map(|of| format!("{name}.{}", of.name())),
        );
        open.extend(message.nested_type.iter().map(|of| (name.clone(), of)));
        names.push(name);
    }
    names
}

/// Returns the full names of the types that a file names.
fn named(file: &FileDescriptorProto) -> HashSet<String> {
    let mut names: HashSet<String> = HashSet::new();
    let mut field = |field: &FieldDescriptorProto| {
        names.extend(field.type_name.clone());
        names.extend(field.extendee.clone());
    };
    file.extension.iter().for_each(&mut field);
    let mut open: Vec<&DescriptorProto> = file.message_type.iter().collect();
    while let Some(message) = open.pop() {
        message
            .field
            .iter()
            .chain(&message.extension)
            .for_each(&mut field);
        open.extend(&message.nested_type);
    }
    let methods = file.service.iter().flat_map(|service| &service.method);
    for method in methods {
        names.extend(method.input_type.clone());
        names.extend(method.output_type.clone());
    }
    names
}
