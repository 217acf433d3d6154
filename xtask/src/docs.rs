//! `cargo xtask docs`: the documentation of every package, where a broken link is an error.

use crate::shell::Cmd;
use crate::summary::Summary;

/// Builds the documentation and says where it is.
pub(crate) fn run() -> Result<Summary, String> {
    let built = build();
    if built {
        println!("open target/doc/hitless_tokio/index.html");
    }
    Ok(Summary::of_step(built))
}

/// Builds the documentation, and answers whether it is whole.
pub(crate) fn build() -> bool {
    let libraries =
        "-p resp3-codec -p hitless-core -p hitless-tokio -p hitless-async-std -p hitless-conformance";
    let doc = Cmd::cargo().args_of("doc --no-deps --all-features").args_of(libraries);
    doc.env("RUSTDOCFLAGS", "-D warnings").run()
}
