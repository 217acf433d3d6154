//! As much of a `Cargo.toml` as the rules need: its tables, and the keys in them with their lines.

/// One `key = value` of a manifest.
pub(crate) struct Entry {
    /// The name of the table, such as `dependencies` or `target.'cfg(unix)'.dependencies`.
    pub(crate) table: String,
    /// The key, without what follows its first dot: `bytes` of `bytes.workspace = true`.
    pub(crate) key: String,
    /// What follows the first dot of the key: `workspace`, or nothing.
    pub(crate) field: String,
    /// The value as it is written, on one line.
    pub(crate) value: String,
    /// The line of the key, counted from 1.
    pub(crate) line: usize,
}

/// The entries of a manifest in their order.
pub(crate) fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut table = String::new();
    let mut open_brackets = 0;
    for (index, line) in text.lines().enumerate() {
        let line = without_comment(line).trim();
        if open_brackets > 0 {
            if let Some(last) = entries.last_mut() {
                last.value.push_str(line);
            }
            open_brackets += bracket_balance(line);
        } else if line.starts_with('[') {
            table = line.trim_matches(|character| character == '[' || character == ']').to_owned();
        } else if let Some((key, value)) = line.split_once('=') {
            let (key, field) = key.split_once('.').unwrap_or((key, ""));
            open_brackets = bracket_balance(value);
            entries.push(Entry {
                table: table.clone(),
                key: key.trim().to_owned(),
                field: field.trim().to_owned(),
                value: value.trim().to_owned(),
                line: index + 1,
            });
        }
    }
    entries
}

/// A dependency that is built into the package itself, so neither for tests nor for build scripts.
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) is_optional: bool,
    pub(crate) line: usize,
}

/// The dependencies of the package itself.
pub(crate) fn dependencies(text: &str) -> Vec<Dependency> {
    let mut dependencies: Vec<Dependency> = Vec::new();
    for entry in entries(text) {
        let (name, is_optional) = if is_dependency_table(&entry.table) {
            let is_optional = entry.value.replace(' ', "").contains("optional=true");
            (entry.key, is_optional || (entry.field == "optional" && entry.value == "true"))
        } else if let Some((_, name)) =
            entry.table.rsplit_once('.').filter(|(parent, _)| is_dependency_table(parent))
        {
            (name.to_owned(), entry.key == "optional" && entry.value == "true")
        } else {
            continue;
        };
        match dependencies.iter_mut().find(|known| known.name == name) {
            Some(known) => known.is_optional |= is_optional,
            None => dependencies.push(Dependency { name, is_optional, line: entry.line }),
        }
    }
    dependencies
}

/// The names of the features, `default` left out.
pub(crate) fn features(text: &str) -> Vec<String> {
    let features = entries(text).into_iter().filter(|entry| entry.table == "features");
    features.map(|entry| entry.key).filter(|name| name != "default").collect()
}

/// The directories of a workspace's members.
pub(crate) fn members(text: &str) -> Vec<String> {
    let entries = entries(text);
    let list = entries.iter().find(|entry| entry.table == "workspace" && entry.key == "members");
    let list = list.map_or("", |entry| entry.value.as_str());
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn is_dependency_table(table: &str) -> bool {
    table == "dependencies" || (table.starts_with("target.") && table.ends_with(".dependencies"))
}

fn without_comment(line: &str) -> &str {
    let mut in_string = false;
    for (offset, character) in line.char_indices() {
        match character {
            '"' => in_string = !in_string,
            '#' if !in_string => return &line[..offset],
            _ => {}
        }
    }
    line
}

fn bracket_balance(text: &str) -> i32 {
    let count = |bracket| text.matches(bracket).count() as i32;
    count('[') + count('{') - count(']') - count('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_dependency_is_read() {
        let text = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb = \"1\" # c = 1\nd = { version = \"1\", optional = true }\n\
                    [target.'cfg(unix)'.dependencies]\ne = \"1\"\n[dependencies.f]\nversion = \"1\"\noptional = true\n[dev-dependencies]\ng = \"1\"\n";
        let found: Vec<_> = dependencies(text)
            .into_iter()
            .map(|dependency| (dependency.name, dependency.is_optional, dependency.line))
            .collect();
        let expected = [("a", false, 4), ("b", false, 5), ("d", true, 6), ("e", false, 8), ("f", true, 10)];
        assert_eq!(found, expected.map(|(name, is_optional, line)| (name.to_owned(), is_optional, line)));
    }

    #[test]
    fn members_may_stand_on_many_lines() {
        assert_eq!(members("[workspace]\nmembers = [\n  \"a\", # one\n  \"b/c\",\n]\n"), ["a", "b/c"]);
    }

    #[test]
    fn features_are_listed_without_default() {
        assert_eq!(
            features("[features]\ndefault = []\ndriver = []\ntls = [\n \"driver\",\n]\n"),
            ["driver", "tls"]
        );
    }
}
