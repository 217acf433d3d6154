//! Programs of others: finds them, or has the system's package manager install them.

use std::path::{Path, PathBuf};

use crate::shell::Cmd;

/// A program that some of the verbs need.
pub(crate) struct Program {
    name: &'static str,
    /// The environment variable that says where it is.
    pub(crate) variable: &'static str,
    /// Its package, by the program of the package manager.
    packages: &'static [(&'static str, &'static str)],
}

/// The server of the tests and the demo, which read the variable.
pub(crate) const REDIS_SERVER: Program = Program {
    name: "redis-server",
    variable: "HITLESS_REDIS_SERVER",
    packages: &[("apt-get", "redis-server"), ("dnf", "redis"), ("apk", "redis"), ("brew", "redis")],
};

/// Counts instructions. There is none for macOS on ARM.
pub(crate) const VALGRIND: Program = Program {
    name: "valgrind",
    variable: "HITLESS_VALGRIND",
    packages: &[("apt-get", "valgrind"), ("dnf", "valgrind"), ("apk", "valgrind")],
};

/// A package manager: its program, and the commands that install a package, whose name follows the last one.
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
            "env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install --yes --no-install-recommends",
        ],
        needs_root: true,
    },
    Manager { program: "dnf", commands: &["dnf install --assumeyes"], needs_root: true },
    Manager { program: "apk", commands: &["apk add"], needs_root: true },
    Manager { program: "brew", commands: &["brew install"], needs_root: false },
];

impl Program {
    /// The one that the variable names, or the first on the `PATH`.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        let named = std::env::var_os(self.variable).map(PathBuf::from).filter(|path| path.is_file());
        named.or_else(|| on_path(self.name))
    }

    /// Like [`find`](Self::find); installs the program when there is none and that is possible without asking anybody.
    ///
    /// # Errors
    /// Says why there is none: no known package manager, no right to use it, or it failed.
    pub(crate) fn find_or_install(&self) -> Result<PathBuf, String> {
        let name = self.name;
        if let Some(path) = self.find() {
            println!("{name}: {}", path.display());
            return Ok(path);
        }
        let package = |manager: &Manager| {
            self.packages.iter().find(|(program, _)| *program == manager.program).map(|(_, package)| *package)
        };
        let mut managers = MANAGERS.iter().filter(|manager| on_path(manager.program).is_some());
        let found = managers.find_map(|manager| Some((manager, package(manager)?)));
        let (manager, package) = found.ok_or_else(|| {
            format!("no {name} on the PATH, and no package manager that is known here has it")
        })?;
        let sudo = match Privilege::of_this_process() {
            _ if !manager.needs_root => "",
            Privilege::Root => "",
            Privilege::Sudo => "sudo -n ",
            Privilege::None => {
                return Err(format!(
                    "no {name} on the PATH, and {} needs root: install it by hand",
                    manager.program
                ));
            }
        };
        println!("no {name} on the PATH: installing it by {}", manager.program);
        for (at, command) in manager.commands.iter().enumerate() {
            let package = if at + 1 == manager.commands.len() { package } else { "" };
            let command = format!("{sudo}{command} {package}");
            let (program, arguments) = command.split_once(' ').unwrap_or((&command, ""));
            if !Cmd::new(program).args_of(arguments).run() {
                return Err(format!("no {name} on the PATH, and `{}` failed", command.trim_end()));
            }
        }
        self.find()
            .ok_or_else(|| format!("{} succeeded, but there is no {name} on the PATH", manager.program))
    }
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
