//! Allocations are counted by a program of its own, `hitless-bench-allocations`, whose allocator counts.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::{env, io};

use crate::client::runtime::ASYNC_STD_THREADS;

/// What was allocated since the program began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Total {
    /// Allocations and reallocations.
    pub calls: usize,
    /// The bytes of them.
    pub bytes: usize,
}

/// Builds and runs `hitless-bench-allocations` with `arguments`; what it prints.
///
/// # Errors
///
/// When it cannot be built or run.
pub fn output_of(arguments: &[impl AsRef<OsStr>]) -> io::Result<String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let program = "hitless-bench-allocations";
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--release", "--manifest-path", manifest, "--bin", program, "--"])
        .args(arguments)
        .env(ASYNC_STD_THREADS, "1")
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{program}: {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The lines of figures, separated by blanks, that `output` consists of.
///
/// # Errors
///
/// When there is anything else in it.
pub fn figures(output: &str) -> io::Result<Vec<Vec<f64>>> {
    let line = |line: &str| line.split(' ').map(|figure| figure.parse().ok()).collect::<Option<Vec<f64>>>();
    let figures = output.lines().map(line).collect::<Option<Vec<_>>>();
    figures.ok_or_else(|| io::Error::other(format!("unexpected output: {output}")))
}

/// Prints a line for [`figures`] to read.
pub fn print_line(figures: &[f64]) {
    println!("{}", figures.iter().map(f64::to_string).collect::<Vec<_>>().join(" "));
}
