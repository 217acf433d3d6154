//! The list of breakages, and how it is written.
//!
//! ```text
//! # a comment
//! [id-of-the-breakage]
//! The old connection is closed at the cut-over.
//! breaks: INV-03, PITFALL-08
//! in: hitless-core/src/client/settle.rs fn cut_over
//! - connection.drain();
//! + connection.handle_closed(CloseCause::MoveDeadline);
//! test: hitless-core lib client::tests::a_reply_from_a_draining_connection_is_delivered
//! ```
//!
//! The lines after `-` stand in the function exactly once and give way to those after `+`, which may be missing. A function
//! whose name the file has twice is named with its type: `Windows::open`. The test is that of a package, in its library
//! (`lib`) or in one of its files of tests. `hangs` says that the breakage shows by the test not ending.

use std::fmt;

/// Where the list is.
pub(crate) const PATH: &str = "conformance/breakages.txt";

/// A small edit that breaks one promise, and the test that must then fail.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Breakage {
    pub(crate) id: String,
    /// The line of the id, counted from 1.
    pub(crate) line: usize,
    /// What the broken code does.
    pub(crate) what: String,
    /// The invariants, pitfalls and rules whose tests it is to prove, such as `INV-05`.
    pub(crate) stands_for: Vec<String>,
    pub(crate) edit: Edit,
    pub(crate) test: Test,
    /// Whether the test does not end, instead of failing.
    pub(crate) hangs: bool,
}

/// A replacement inside one function.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) file: String,
    /// Its name, or its type and name.
    pub(crate) function: String,
    pub(crate) find: String,
    pub(crate) replace: String,
}

/// A test, as cargo finds it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) package: String,
    /// `lib`, or the name of a file of tests.
    pub(crate) target: String,
    pub(crate) path: String,
}

impl Test {
    /// What is built and run together.
    pub(super) fn key(&self) -> (&str, &str) {
        (&self.package, &self.target)
    }
}

/// Reads a list. An error starts with the line.
pub(crate) fn parse(text: &str) -> Result<Vec<Breakage>, String> {
    let mut breakages: Vec<Breakage> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(id) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if breakages.iter().any(|known| known.id == id) {
                return Err(format!("{number}: a second `{id}`"));
            }
            breakages.push(Breakage { id: id.to_owned(), line: number, ..Breakage::default() });
            continue;
        }
        let breakage =
            breakages.last_mut().ok_or_else(|| format!("{number}: a breakage starts with [id]"))?;
        breakage.add(line).map_err(|why| format!("{number}: {why}"))?;
    }
    match breakages.iter().find_map(|breakage| Some((breakage, breakage.missing()?))) {
        Some((breakage, missing)) => Err(format!("{}: `{}` has no {missing}", breakage.line, breakage.id)),
        None => Ok(breakages),
    }
}

impl Breakage {
    fn add(&mut self, line: &str) -> Result<(), &'static str> {
        if let Some(ids) = line.strip_prefix("breaks:") {
            self.stands_for.extend(ids.split(',').map(|id| id.trim().to_owned()));
        } else if let Some(place) = line.strip_prefix("in:") {
            let (file, function) = place.trim().split_once(" fn ").ok_or("in: <file> fn <function>")?;
            self.edit.file = file.to_owned();
            self.edit.function = function.to_owned();
        } else if let Some(test) = line.strip_prefix("test:") {
            let words: Vec<&str> = test.split_whitespace().collect();
            let &[package, target, path] = words.as_slice() else {
                return Err("test: <package> <target> <path>");
            };
            self.test = Test { package: package.into(), target: target.into(), path: path.into() };
        } else if line == "hangs" {
            self.hangs = true;
        } else if let Some(find) = line.strip_prefix('-') {
            push_line(&mut self.edit.find, find);
        } else if let Some(replace) = line.strip_prefix('+') {
            push_line(&mut self.edit.replace, replace);
        } else {
            push_line(&mut self.what, line);
        }
        Ok(())
    }

    fn missing(&self) -> Option<&'static str> {
        let parts = [
            ("sentence that says what it does", self.what.is_empty()),
            ("`breaks:`", self.stands_for.is_empty()),
            ("`in:`", self.edit.file.is_empty()),
            ("`-`", self.edit.find.is_empty()),
            ("`test:`", self.test.path.is_empty()),
        ];
        parts.into_iter().find_map(|(part, is_missing)| is_missing.then_some(part))
    }
}

/// The first blank after the mark belongs to the mark; what follows is taken as it is.
fn push_line(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(line.strip_prefix(' ').unwrap_or(line));
}

impl fmt::Display for Breakage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, what, edit, test, .. } = self;
        write!(
            formatter,
            "{id}: {}\n  {what}\n  {} in {}\n  {test}",
            self.stands_for.join(", "),
            edit.function,
            edit.file
        )
    }
}

impl fmt::Display for Test {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.package, self.target, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "# comment\n[a]\nIt is broken.\nbreaks: INV-01, PITFALL-02\nin: a/src/b.rs fn C::d\n- x\n-     y\n+ z\ntest: p lib d::e\n";

    #[test]
    fn a_breakage_is_read() {
        let expected = Breakage {
            id: "a".into(),
            line: 2,
            what: "It is broken.".into(),
            stands_for: vec!["INV-01".into(), "PITFALL-02".into()],
            edit: Edit {
                file: "a/src/b.rs".into(),
                function: "C::d".into(),
                find: "x\n    y".into(),
                replace: "z".into(),
            },
            test: Test { package: "p".into(), target: "lib".into(), path: "d::e".into() },
            hangs: false,
        };
        assert_eq!(parse(ONE), Ok(vec![expected]));
        assert!(parse(&format!("{ONE}hangs\n")).unwrap()[0].hangs);
    }

    #[test]
    fn what_is_missing_or_doubled_is_named_with_its_line() {
        let without = |part: &str| {
            let lines = ONE.lines().filter(|line| !line.starts_with(part));
            parse(&lines.collect::<Vec<_>>().join("\n")).unwrap_err()
        };
        assert_eq!(without("breaks:"), "2: `a` has no `breaks:`");
        assert_eq!(without("in:"), "2: `a` has no `in:`");
        assert_eq!(without("-"), "2: `a` has no `-`");
        assert_eq!(without("test:"), "2: `a` has no `test:`");
        assert_eq!(without("It"), "2: `a` has no sentence that says what it does");
        assert_eq!(without("["), "2: a breakage starts with [id]");
        assert_eq!(parse(&format!("{ONE}{ONE}")).unwrap_err(), "11: a second `a`");
        assert_eq!(parse("[a]\ntest: p lib").unwrap_err(), "2: test: <package> <target> <path>");
    }
}
