//! Where the repository is, and which files belong to it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the variable at run time; what was compiled in is for a binary that is started by hand.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    package.parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(target.unwrap_or_else(|| "target".into()))
}

/// The paths of all files that are tracked or about to be, from the root, with `/` between their parts.
pub(crate) fn files() -> Result<Vec<String>, String> {
    let root = root();
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"])
        .current_dir(&root)
        .output();
    let mut files = Vec::new();
    match listed {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            files.extend(text.split_terminator('\0').map(str::to_owned));
        }
        // A source archive has no git directory: take what is there.
        _ => walk(&root, &root, &mut files).map_err(|error| format!("{}: {error}", root.display()))?,
    }
    files.sort();
    Ok(files)
}

fn walk(root: &Path, directory: &Path, files: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_ours = name != ".git" && name != "target";
        if path.is_dir() && is_ours {
            walk(root, &path, files)?;
        } else if let Some(path) = path.strip_prefix(root).ok().filter(|_| is_ours) {
            let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
            files.push(parts.join("/"));
        }
    }
    Ok(())
}
