//! R1 inside the core: its modules stand on each other in layers, as ARCHITECTURE.md has them.

use std::collections::BTreeMap;

use super::Finding;
use super::source::Source;

const CORE: &str = "hitless-core/src/";
const TABLE: &str = "Module layers of `hitless-core`";
/// They stand above all layers: the crate's root, what is documentation, and tests.
const ABOVE: &[&str] = &["lib", "guide", "forbidden", "tests"];

/// A module of the core uses only modules of lower layers.
pub(super) fn layers(files: &[Source]) -> Vec<Finding> {
    let architecture = files.iter().find(|file| file.path == "ARCHITECTURE.md");
    let layers = architecture.map(|file| table(&file.text)).unwrap_or_default();
    files.iter().flat_map(|file| file_layers(&layers, file)).collect()
}

/// The layer of each module, by the table that follows its title.
fn table(text: &str) -> BTreeMap<&str, usize> {
    let lines =
        text.lines().skip_while(|line| !line.starts_with(TABLE)).skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).enumerate();
    // Between backticks stands every second part.
    rows.flat_map(|(layer, row)| row.split('`').skip(1).step_by(2).map(move |module| (module, layer)))
        .collect()
}

fn file_layers(layers: &BTreeMap<&str, usize>, file: &Source) -> Vec<Finding> {
    let Some(path) = file.path.strip_prefix(CORE).filter(|_| file.is_rust()) else { return Vec::new() };
    let module = path.split(['/', '.']).next().unwrap_or(path);
    if ABOVE.contains(&module) {
        return Vec::new();
    }
    let Some(own) = layers.get(module) else {
        let message = format!("`{module}` has no layer: put it into the table of ARCHITECTURE.md");
        return vec![Finding::new(file.path.as_str(), 1, message)];
    };
    let imports = file.imports().into_iter();
    let imports =
        imports.filter_map(|(offset, path)| Some((offset, path.strip_prefix("crate::")?.to_owned())));
    let paths = file.find("crate::").map(|offset| (offset, file.code[offset + "crate::".len()..].to_owned()));
    let used = imports.chain(paths).filter_map(|(offset, rest)| {
        let name = rest.split(|letter: char| letter != '_' && !letter.is_alphanumeric()).next()?;
        let is_lower = name == module || name.is_empty() || layers.get(name).is_some_and(|layer| layer < own);
        (!is_lower).then(|| (file.line(offset), name.to_owned()))
    });
    let mut used: Vec<_> = used.collect();
    // A path in a `use` declaration is found in both ways.
    used.sort();
    used.dedup();
    let message = |name| {
        format!(
            "`{name}` is in no layer below `{module}`: move what is needed down, or the module that needs it up"
        )
    };
    used.into_iter().map(|(line, name)| Finding::new(file.path.as_str(), line, message(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let table = format!(
            "{TABLE}, lowest first:\n\n| layer | modules |\n|---|---|\n| 1 | `ids`, `rng` |\n| 2 | `client` |\n"
        );
        let files = [Source::new("ARCHITECTURE.md", table), Source::new(path, text)];
        layers(&files).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_module_that_uses_its_own_layer_or_a_higher_one_is_caught() {
        let text = "use crate::ids::ConnId;\nuse crate::{client, ids};\nfn a(rng: crate::rng::Rng) {}\n";
        assert_eq!(lines("hitless-core/src/ids.rs", text), [2, 3]);
        assert_eq!(lines("hitless-core/src/rng/words.rs", text), [1, 2, 2]);
        assert!(lines("hitless-core/src/client/mod.rs", text).is_empty());
    }

    #[test]
    fn tests_the_root_and_other_crates_may_use_every_module() {
        let text = "#[cfg(test)]\nmod tests {\n    use crate::client::Client;\n}\n";
        assert!(lines("hitless-core/src/ids.rs", text).is_empty());
        assert!(lines("hitless-core/src/lib.rs", "pub use crate::client::Client;").is_empty());
        assert!(lines("hitless-tokio/src/net.rs", "use crate::runtime::Adapter;").is_empty());
    }

    #[test]
    fn a_module_without_a_layer_is_caught() {
        assert_eq!(lines("hitless-core/src/extra.rs", "fn a() {}"), [1]);
        assert_eq!(lines("hitless-core/src/client/mod.rs", "use crate::extra::A;"), [1]);
    }
}
