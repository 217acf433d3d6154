//! What the README must say, and what ARCHITECTURE.md may name.

use super::Finding;
use super::source::Source;

/// The README names the two commands that a newcomer runs, and the three names of the feature.
pub(super) fn readme(files: &[Source]) -> Vec<Finding> {
    let Some(file) = files.iter().find(|file| file.path == "README.md") else {
        return vec![Finding::new("README.md", 1, "missing")];
    };
    let needed = [
        "cargo xtask demo",
        "cargo xtask test-all",
        "smart client handoffs",
        "maintenance notifications",
        "hitless upgrades",
    ];
    // A phrase may be broken over two lines.
    let text = file.text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let missing = needed.into_iter().filter(|phrase| !text.contains(phrase));
    missing
        .map(|phrase| Finding::new("README.md", 1, format!("say `{phrase}`, so that people find it")))
        .collect()
}

/// Every Rust file that ARCHITECTURE.md names exists, and so does each function that it names right behind a file.
pub(super) fn architecture(files: &[Source]) -> Vec<Finding> {
    let Some(file) = files.iter().find(|file| file.path == "ARCHITECTURE.md") else {
        return vec![Finding::new("ARCHITECTURE.md", 1, "missing")];
    };
    let mut findings = Vec::new();
    let mut quotes = file.text.match_indices('`').map(|(offset, _)| offset);
    while let (Some(open), Some(close)) = (quotes.next(), quotes.next()) {
        let name = &file.text[open + 1..close];
        if !name.ends_with(".rs") {
            continue;
        }
        // `*/runtime.rs` is one such file in each crate.
        let path = name.trim_start_matches("*/");
        let named: Vec<&Source> = files.iter().filter(|file| is_at(&file.path, path)).collect();
        if named.is_empty() {
            findings.push(Finding::at(file, open, format!("no file `{name}`: name the one that there is")));
            continue;
        }
        for function in functions_behind(&file.text[close + 1..]) {
            let definition = format!("fn {function}");
            if !named.iter().any(|file| file.find_all(&definition).next().is_some()) {
                let message = format!("`{name}` has no function `{function}`: name the one that there is");
                findings.push(Finding::at(file, open, message));
            }
        }
    }
    findings
}

/// Whether `path` is `end`, or ends with it behind a directory.
fn is_at(path: &str, end: &str) -> bool {
    path.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

/// The functions that stand right behind the name of a file, as in "`file.rs`, `one` and `two`" and "`file.rs` (`one`, `two`)".
fn functions_behind(mut text: &str) -> Vec<&str> {
    let mut functions = Vec::new();
    let mut separators: &[&str] = &["(", ","];
    loop {
        let text_behind = text.trim_start();
        let behind = separators.iter().find_map(|separator| text_behind.strip_prefix(separator));
        let quoted = behind.and_then(|behind| behind.trim_start().strip_prefix('`'));
        let Some((name, rest)) = quoted.and_then(|quoted| quoted.split_once('`')) else { return functions };
        if !name.chars().all(|letter| letter == '_' || letter.is_ascii_lowercase()) {
            return functions;
        }
        functions.push(name);
        (text, separators) = (rest, &[", and", ",", "and"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readme_without_the_commands_is_caught() {
        assert_eq!(readme(&[]).len(), 1);
        let text =
            "`cargo xtask demo`: Smart client handoffs, maintenance\nnotifications or hitless upgrades";
        let findings = readme(&[Source::new("README.md", text)]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.contains("test-all"));
    }

    fn architecture_of(text: &str) -> Vec<(usize, String)> {
        let findings = architecture(&[
            Source::new("ARCHITECTURE.md", text),
            Source::new("core/src/client/send.rs", "fn send() {}\nfn complete() {} // fn sent\n"),
            Source::new("tokio/src/runtime.rs", ""),
        ]);
        findings.into_iter().map(|finding| (finding.line, finding.message)).collect()
    }

    #[test]
    fn files_and_functions_that_exist_may_be_named() {
        let text = "`client/send.rs`, `send` and\n  `complete`; `send.rs` (`send`, `complete`), `*/runtime.rs`, `Client`";
        assert_eq!(architecture_of(text), []);
    }

    #[test]
    fn a_file_that_does_not_exist_is_caught() {
        for (name, text) in [
            ("client/sent.rs", "first\n`client/sent.rs`, `send`"),
            ("end.rs", "first\n`end.rs`"),
            ("pool/send.rs", "first\n(`pool/send.rs`)"),
        ] {
            let message = format!("no file `{name}`: name the one that there is");
            assert_eq!(architecture_of(text), [(2, message)]);
        }
    }

    #[test]
    fn a_function_that_its_file_does_not_have_is_caught() {
        for text in [
            "first\n`client/send.rs`, `sent`",
            "first\n`client/send.rs`,\n`send` and `sent`",
            "first\n`send.rs` (`send`, `sent`)",
            "first\n`send.rs`, `send`, and `sent`",
        ] {
            let findings = architecture_of(text);
            assert_eq!(findings.len(), 1, "{text}");
            assert_eq!(findings[0].0, 2);
            assert!(findings[0].1.contains("has no function `sent`"), "{text}");
        }
    }
}
