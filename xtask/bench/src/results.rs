//! Where the results of a run are kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).to_owned()
}

/// Writes `text` to a file of this name in `target/bench`.
pub(crate) fn keep(name: &str, text: &str) -> io::Result<()> {
    let directory = root().join("target/bench");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(name), text)
}
