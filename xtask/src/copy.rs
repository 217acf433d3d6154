//! A copy of the repository, in which code is changed to see whether the tests notice.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::workspace;

/// What cargo is told there: fast to build, and the same inputs each time.
pub(crate) const ENVIRONMENT: [(&str, &str); 6] = [
    ("CARGO_PROFILE_DEV_DEBUG", "0"),
    ("CARGO_INCREMENTAL", "1"),
    ("RUST_BACKTRACE", "0"),
    ("PROPTEST_RNG_SEED", "1"),
    ("PROPTEST_MAX_SHRINK_ITERS", "0"),
    // What one change made fail is not tried on the next one.
    ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true"),
];

/// Makes `directory` a copy of the repository. What has not changed is not written, so that cargo need not build it again.
pub(crate) fn update(directory: &Path) -> Result<(), String> {
    let files = workspace::files()?;
    let updated =
        fs::create_dir_all(directory).and_then(|()| synchronise(&files, &workspace::root(), directory));
    updated.map_err(|error| format!("{}: {error}", directory.display()))
}

/// Makes `to` a copy of the files of `from`, and writes only what differs.
fn synchronise(files: &[String], from: &Path, to: &Path) -> io::Result<()> {
    for file in files {
        let content = match fs::read(from.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            content => content?,
        };
        let copy = to.join(file);
        if fs::read(&copy).is_ok_and(|known| known == content) {
            continue;
        }
        if let Some(directory) = copy.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(copy, content)?;
    }
    let listed: BTreeSet<PathBuf> = files.iter().map(|file| to.join(file)).collect();
    remove_others(to, &|path| {
        listed.contains(path) && from.join(path.strip_prefix(to).unwrap_or(path)).exists()
    })
}

fn remove_others(directory: &Path, stays: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, stays)?;
        } else if !stays(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_brought_up_to_date_and_what_is_the_same_is_left_alone() {
        let directory = std::env::temp_dir().join(format!("hitless-copy-{}", std::process::id()));
        let (from, to) = (directory.join("from"), directory.join("to"));
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(from.join("a/same.rs"), "1");
        write(from.join("a/new.rs"), "2");
        write(to.join("a/same.rs"), "1");
        write(to.join("a/edited.rs"), "3");
        let written = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
        let before = written(&to.join("a/same.rs"));

        let files = ["a/deleted.rs".to_owned(), "a/new.rs".to_owned(), "a/same.rs".to_owned()];
        synchronise(&files, &from, &to).unwrap();

        assert_eq!(fs::read_to_string(to.join("a/new.rs")).unwrap(), "2");
        assert!(!to.join("a/edited.rs").exists());
        assert_eq!(written(&to.join("a/same.rs")), before);
        fs::remove_dir_all(directory).unwrap();
    }
}
