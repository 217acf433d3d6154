//! What must not stand in a file: loose ends, printing from a library, the paths of one machine.

use super::Finding;
use super::source::{Source, find_word};

/// Packages that print: everything else is a library.
const PROGRAMS: &[&str] = &["xtask/"];

/// No loose ends: they go into an issue, not into the code.
pub(super) fn unfinished(source: &Source) -> Vec<Finding> {
    let macros = ["todo!", "unimplemented!", "dbg!"].into_iter().flat_map(|name| {
        let hits = source.find_all(name);
        hits.map(move |offset| Finding::at(source, offset, format!("finish it: `{name}` does not go in")))
    });
    let marks = ["FIXME", "TODO", "XXX"].into_iter().flat_map(|mark| {
        let hits = find_word(&source.comments, mark);
        hits.map(move |offset| {
            Finding::at(source, offset, format!("{mark}: fix it, or say what is so and why"))
        })
    });
    macros.chain(marks).collect()
}

/// A library prints nothing: it emits events.
pub(super) fn printing(source: &Source) -> Vec<Finding> {
    let path = source.path.as_str();
    let is_program = PROGRAMS.iter().any(|program| path.starts_with(program))
        || path.ends_with("/main.rs")
        || path.contains("/bin/")
        || path.contains("/examples/");
    if is_program {
        return Vec::new();
    }
    let hits = ["print!", "println!", "eprint!", "eprintln!"].into_iter().flat_map(|name| {
        let hits = source.find(name);
        hits.map(move |offset| {
            Finding::at(source, offset, format!("a library does not print (`{name}`): emit an event"))
        })
    });
    hits.collect()
}

/// No file speaks of the machine it was written on.
pub(super) fn machine_paths(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for directory in ["work", "root", "farm", "home"] {
        let path = format!("/{directory}/");
        for (offset, _) in source.text.match_indices(&path) {
            // A longer path that holds the same words, and a URL, are other things.
            let is_absolute = !source.text[..offset]
                .ends_with(|before: char| before.is_alphanumeric() || "._-~}>".contains(before));
            if is_absolute {
                let message =
                    format!("`{path}` is a path of one machine: make it relative to the repository");
                findings.push(Finding::at(source, offset, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: Vec<Finding>) -> Vec<usize> {
        findings.into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn loose_ends_are_caught() {
        let text = "fn a() {\n    todo!()\n}\n// FIXME: later\nlet b = \"todo!() XXX\";\nlet prefix_todo = 1; // XXXX\n";
        assert_eq!(lines(unfinished(&Source::new("a/src/b.rs", text))), [2, 4]);
    }

    #[test]
    fn a_library_that_prints_is_caught() {
        let text = "fn a() {\n    println!(\"x\");\n    std::eprintln!();\n}\n#[cfg(test)]\nmod tests { fn b() { println!(); } }\n";
        assert_eq!(lines(printing(&Source::new("hitless-core/src/a.rs", text))), [2, 3]);
        for path in ["xtask/src/main.rs", "hitless-tokio/examples/a.rs", "conformance/src/bin/server.rs"] {
            assert!(printing(&Source::new(path, text)).is_empty(), "{path}");
        }
    }

    #[test]
    fn a_path_of_one_machine_is_caught() {
        let text = format!("see /{}/main\nand a/{}/b or https://x.org/{}/\n", "work", "root", "home");
        assert_eq!(lines(machine_paths(&Source::new("README.md", text))), [1]);
    }
}
