//! What the README must say.

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
}
