//! Descriptors from files.

use std::fs;
use std::path::{Path, PathBuf};

use prost_reflect::DescriptorPool;
use protox::Compiler;

/// The largest descriptor set that is read, in bytes. That of all Google APIs has some 40 MB.
const SET_BYTES_MAX: u64 = 256 << 20;

/// Compiles `.proto` files. Their imports are looked up in `include`, or else in their own folders and in this one.
pub(super) fn of_proto(proto: &[PathBuf], include: &[PathBuf]) -> Result<DescriptorPool, String> {
    let own = || {
        let folders = proto.iter().filter_map(|file| file.parent());
        let folders = folders.filter(|folder| !folder.as_os_str().is_empty());
        let mut folders: Vec<PathBuf> = folders.map(Path::to_owned).collect();
        folders.push(PathBuf::from("."));
        folders.dedup();
        folders
    };
    let include = match include {
        [] => own(),
        some => some.to_vec(),
    };
    let mut compiler = Compiler::new(&include).map_err(|error| format!("-I: {error}"))?;
    compiler.include_imports(true);
    for file in proto {
        compiler.open_file(file).map_err(|error| {
            let hint = match error.is_file_not_found() {
                true => format!("; imports are looked up in {} (-I)", shown(&include)),
                false => String::new(),
            };
            // Its Debug form has the file, the line and the column.
            format!("--proto {}: {error:?}{hint}", file.display())
        })?;
    }
    Ok(compiler.descriptor_pool())
}

fn shown(folders: &[PathBuf]) -> String {
    let shown: Vec<String> = folders.iter().map(|of| of.display().to_string()).collect();
    shown.join(", ")
}

/// Reads an encoded `FileDescriptorSet`, as `protoc --descriptor_set_out --include_imports` and `buf build` write it.
pub(super) fn of_set(file: &Path) -> Result<DescriptorPool, String> {
    let context = |error: &dyn std::fmt::Display| format!("--protoset {}: {error}", file.display());
    let bytes = fs::metadata(file).map_err(|error| context(&error))?.len();
    if bytes > SET_BYTES_MAX {
        let why = format!("the file must have at most {SET_BYTES_MAX} bytes, not {bytes}");
        return Err(context(&why));
    }
    let set = fs::read(file).map_err(|error| context(&error))?;
    DescriptorPool::decode(&set[..]).map_err(|error| {
        let hint = match error.to_string().contains("not found") {
            true => "; make it with --include_imports",
            false => "",
        };
        context(&format!("{error}{hint}"))
    })
}
