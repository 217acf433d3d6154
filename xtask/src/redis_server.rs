//! Finds a `redis-server`, or has the system's package manager install one.

use std::path::{Path, PathBuf};

use crate::shell::Cmd;

/// The environment variable that tells the tests and the demo where the server is.
pub(crate) const VARIABLE: &str = "HITLESS_REDIS_SERVER";

const PROGRAM: &str = "redis-server";

/// A package manager: its program, and the commands that install the server.
struct Manager {
    program: &'static str,
    commands: &'static [&'static str],
    needs_root: bool,
}

const MANAGERS: &[Manager] = &[
    Manager {
        program: "apt-get",
        // The run level keeps the package from starting a server of its own.
        commands: &[
            "env DEBIAN_FRONTEND=noninteractive apt-get update",
            "env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install --yes --no-install-recommends redis-server",
        ],
        needs_root: true,
    },
    Manager { program: "dnf", commands: &["dnf install --assumeyes redis"], needs_root: true },
    Manager { program: "apk", commands: &["apk add redis"], needs_root: true },
    Manager { program: "brew", commands: &["brew install redis"], needs_root: false },
];

/// The server that `HITLESS_REDIS_SERVER` names, or the first on the `PATH`.
pub(crate) fn find() -> Option<PathBuf> {
    let named = std::env::var_os(VARIABLE).map(PathBuf::from).filter(|path| path.is_file());
    named.or_else(|| on_path(PROGRAM))
}

/// Like [`find`]; installs the server when there is none and that is possible without asking anybody.
///
/// # Errors
/// Says why there is no server: no known package manager, no right to use it, or it failed.
pub(crate) fn find_or_install() -> Result<PathBuf, String> {
    if let Some(path) = find() {
        println!("{PROGRAM}: {}", path.display());
        return Ok(path);
    }
    let manager = MANAGERS.iter().find(|manager| on_path(manager.program).is_some());
    let manager = manager
        .ok_or_else(|| format!("no {PROGRAM} on the PATH, and no package manager that is known here"))?;
    let sudo = match Privilege::of_this_process() {
        _ if !manager.needs_root => "",
        Privilege::Root => "",
        Privilege::Sudo => "sudo -n ",
        Privilege::None => {
            return Err(format!(
                "no {PROGRAM} on the PATH, and {} needs root: install it by hand",
                manager.program
            ));
        }
    };
    println!("no {PROGRAM} on the PATH: installing it by {}", manager.program);
    for command in manager.commands {
        let command = format!("{sudo}{command}");
        let (program, arguments) = command.split_once(' ').unwrap_or((&command, ""));
        if !Cmd::new(program).args_of(arguments).run() {
            return Err(format!("no {PROGRAM} on the PATH, and `{command}` failed"));
        }
    }
    find().ok_or_else(|| format!("{} succeeded, but there is no {PROGRAM} on the PATH", manager.program))
}

/// What this process may do to the system.
enum Privilege {
    Root,
    /// `sudo` works without a password.
    Sudo,
    None,
}

impl Privilege {
    fn of_this_process() -> Self {
        let is_root = std::process::Command::new("id").arg("-u").output();
        if is_root.is_ok_and(|output| output.stdout.trim_ascii() == b"0") {
            Self::Root
        } else if Cmd::new("sudo").args_of("-n true").run_quietly() {
            Self::Sudo
        } else {
            Self::None
        }
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    find_in(&std::env::var_os("PATH")?, program)
}

fn find_in(directories: &std::ffi::OsStr, program: &str) -> Option<PathBuf> {
    std::env::split_paths(directories)
        .map(|directory| directory.join(program))
        .find(|path| is_executable(path))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_on_the_path_only_if_it_can_run() {
        let path = std::env::var_os("PATH").unwrap();
        assert!(find_in(&path, "sh").is_some());
        assert!(find_in(&path, "no-such-program").is_none());
        // A manifest is a file, but nothing to run.
        let here = std::ffi::OsString::from(env!("CARGO_MANIFEST_DIR"));
        assert!(find_in(&here, "Cargo.toml").is_none());
    }
}
