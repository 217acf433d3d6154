//! R5: files that can be held in mind, functions that fit a screen.

use super::Finding;
use super::source::{Source, closing, item_body};

const FILE_SOFT: usize = 400;
const FILE_HARD: usize = 700;
const FUNCTION: usize = 60;

/// R5: the length of a file, tests left out.
pub(super) fn files(source: &Source) -> Vec<Finding> {
    if !source.is_rust() {
        return Vec::new();
    }
    match source.lines_without_tests() {
        ..=FILE_SOFT => Vec::new(),
        lines @ ..=FILE_HARD => {
            let message =
                format!("{lines} lines without tests, {FILE_SOFT} are pleasant: look for a part to take out");
            vec![Finding::new(source.path.as_str(), FILE_SOFT, message).warning()]
        }
        lines => {
            let message = format!("{lines} lines without tests, {FILE_HARD} are the limit: take a part out");
            vec![Finding::new(source.path.as_str(), FILE_HARD, message)]
        }
    }
}

/// R5: the length of a function from its `fn` to its closing brace, tests left out.
pub(super) fn functions(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for start in source.find("fn") {
        let name = source.code[start + "fn".len()..].trim_start();
        let length = name.find(|character: char| character != '_' && !character.is_alphanumeric());
        let name = &name[..length.unwrap_or(name.len())];
        let body = item_body(&source.code, start).filter(|body| source.code.as_bytes()[*body] == b'{');
        // `fn(u8)` is a type, `fn a();` has no body.
        let (false, Some(body)) = (name.is_empty(), body) else { continue };
        let Some(end) = closing(&source.code, body) else { continue };
        let lines = source.line(end) - source.line(start) + 1;
        if lines > FUNCTION {
            let message = format!("`{name}` has {lines} lines, {FUNCTION} fit a screen: take a step out");
            findings.push(Finding::at(source, start, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn function(name: &str, lines: usize) -> String {
        format!("fn {name}(x: [u8; 3]) -> fn(u8) {{\n{}}}\n", "    a(\"}\"); // }\n".repeat(lines - 2))
    }

    #[test]
    fn a_long_file_is_caught() {
        let levels = |lines: usize| {
            let findings = files(&Source::new("a/src/b.rs", "//\n".repeat(lines)));
            findings.iter().map(|finding| finding.level).collect::<Vec<_>>()
        };
        assert_eq!(levels(400), []);
        assert_eq!(levels(401), [Level::Warning]);
        assert_eq!(levels(700), [Level::Warning]);
        assert_eq!(levels(701), [Level::Failure]);
        let tests = format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}\n", "//\n".repeat(900));
        assert!(files(&Source::new("a/src/b.rs", tests)).is_empty());
    }

    #[test]
    fn a_long_function_is_caught() {
        let text = function("fits", 60) + &function("long", 61) + "trait A { fn a(); }\n";
        let findings = functions(&Source::new("a/src/b.rs", text.as_str()));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 61);
        assert!(findings[0].message.contains("`long` has 61 lines"));
        assert!(functions(&Source::new("a/tests/b.rs", text)).is_empty());
    }
}
