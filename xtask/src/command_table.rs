//! `cargo xtask command-table`: what a real server says of its commands, as a table of the core.

mod ask;
mod rows;

use std::path::Path;

use self::rows::{Family, Row};
use crate::program::REDIS_SERVER;
use crate::shell::Cmd;
use crate::summary::Summary;
use crate::workspace;

const PATH: &str = "hitless-core/src/command_table/generated.rs";

/// What `cargo xtask command-table` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing: compare the table with the server, for the commands that both know.
    #[arg(long)]
    check: bool,
}

/// Runs the verb: writes the table, or compares it.
pub(crate) fn run(args: &Args) -> Result<Summary, String> {
    let program = REDIS_SERVER.find_or_install()?;
    let answer = ask::server(&program).map_err(|error| format!("{}: {error}", program.display()))?;
    let version = answer.version.as_str();
    let Some(families) = rows::of_reply(&answer.commands) else {
        println!(
            "redis-server {version} does not say where the keys of its commands are: Redis 7 and later do"
        );
        return Ok(if args.check {
            Summary { skipped: 1, ..Summary::default() }
        } else {
            Summary::of_step(false)
        });
    };
    let path = workspace::root().join(PATH);
    if args.check { check(&path, &families, version) } else { write(&path, &families, version) }
}

fn write(path: &Path, families: &[Family], version: &str) -> Result<Summary, String> {
    let mut text = head(version);
    families.iter().for_each(|family| text.push_str(&format!("    {},\n", family.code())));
    text.push_str("];\n");
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    let formatted = Cmd::new("rustfmt").args_of("--edition 2024").arg(path).run();
    println!("{PATH}: {} commands of redis-server {version}", families.len());
    Ok(Summary::of_step(formatted))
}

fn head(version: &str) -> String {
    format!(
        "//! The commands of redis-server {version}, in the order of their names. `cargo xtask command-table` writes this file out of the\n\
         //! reply to COMMAND.\n\n\
         use super::entry::{{ADMIN, Answer, Ask, BLOCK, Entry, READ, WRITE, at, behind, command, unknown}};\n\n\
         pub(super) static COMMANDS: &[Entry] = &[\n"
    )
}

/// Prints how the table differs from what the server says of the commands that both know, and fails if it does. With a server of
/// another version, what versions need not agree in is left out.
fn check(path: &Path, families: &[Family], version: &str) -> Result<Summary, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let ours = rows::of_file(&text);
    let is_same_version = text.starts_with(&head(version));
    let seen = |row: &Row| if is_same_version { row.clone() } else { row.essence() };
    let (mut known, mut differ) = (0, 0);
    for row in families.iter().flat_map(Family::rows) {
        let Some(own) = ours.iter().find(|own| own.name == row.name) else { continue };
        known += 1;
        if seen(own) != seen(row) {
            differ += 1;
            println!("the table:           {}\nredis-server {version}: {}", own.code(), row.code());
        }
    }
    println!(
        "{PATH}: {known} of {} commands are known to redis-server {version}, {differ} differ",
        ours.len()
    );
    Ok(Summary::of_step(differ == 0 && known > 0))
}
