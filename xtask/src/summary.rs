//! The counts that every verb ends with.

use std::fmt;

/// How many tests passed, failed and were skipped. A step that runs no tests counts as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Summary {
    /// The summary of one step that runs no tests of its own.
    pub(crate) fn of_step(passed: bool) -> Self {
        let mut summary = Self::default();
        summary.add_step(passed);
        summary
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    pub(crate) fn add_step(&mut self, passed: bool) {
        self.passed += usize::from(passed);
        self.failed += usize::from(!passed);
    }

    /// Adds the counts of a line such as `test result: ok. 5 passed; 0 failed; 1 ignored; ...`, and does nothing with any other line.
    pub(crate) fn add_test_result(&mut self, line: &str) {
        let Some((_, counts)) =
            line.trim().strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_tests_are_summed() {
        let mut summary = Summary::default();
        summary.add_test_result("running 7 tests");
        summary.add_test_result(
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.00s",
        );
        summary.add_test_result(
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        );
        assert_eq!(summary, Summary { passed: 6, failed: 2, skipped: 1 });
        assert_eq!(summary.to_string(), "6 passed, 2 failed, 1 skipped");
    }
}
