//! How much the core shows to its users, and its machines to their own parts.

use super::Finding;
use super::source::Source;

const ROOT: &str = "hitless-core/src/lib.rs";
const MODULES: usize = 20;

const MACHINES: &[&str] = &["hitless-core/src/client/", "hitless-core/src/coordinator/"];
const FIELDS: usize = 20;

/// R6: the core has few public modules. Those that the documentation hides count, since users can name them all the same.
pub(super) fn public_modules(source: &Source) -> Vec<Finding> {
    if source.path != ROOT {
        return Vec::new();
    }
    let modules: Vec<usize> = source.find("pub mod").collect();
    let first_too_many = modules.get(MODULES).into_iter();
    let finding = first_too_many.map(|offset| {
        let message = format!(
            "{} public modules, {MODULES} are the limit: make those private that users need not name",
            modules.len()
        );
        Finding::at(source, *offset, message)
    });
    finding.collect()
}

/// R6: the parts of the machines see few fields of each other.
pub(super) fn shared_fields(files: &[Source]) -> Vec<Finding> {
    let machines =
        files.iter().filter(|file| MACHINES.iter().any(|directory| file.path.starts_with(directory)));
    let fields: Vec<(&Source, usize)> =
        machines.flat_map(|file| shared_fields_of(file).map(move |offset| (file, offset))).collect();
    let first_too_many = fields.get(FIELDS).into_iter();
    let finding = first_too_many.map(|(file, offset)| {
        let message = format!(
            "{} fields are `pub(super)` under {}, {FIELDS} are the limit: let their owner have a method that says what it does",
            fields.len(),
            MACHINES.join(" and ")
        );
        Finding::at(file, *offset, message)
    });
    finding.collect()
}

/// Where a field is `pub(super)`, be it named or that of a tuple.
fn shared_fields_of(file: &Source) -> impl Iterator<Item = usize> {
    const VISIBILITY: &str = "pub(super)";
    file.find(VISIBILITY).filter(|offset| {
        let is_of_tuple = file.code[..*offset].trim_end().ends_with(['(', ',']);
        let rest = file.code[offset + VISIBILITY.len()..].trim_start();
        let name = rest.find(|character: char| character != '_' && !character.is_alphanumeric());
        let after = rest[name.unwrap_or(rest.len())..].trim_start();
        let is_named = after.starts_with(':') && !after.starts_with("::");
        is_named || is_of_tuple
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_public_modules_are_caught() {
        let root = |public: usize| {
            let text = "mod private;\n".to_owned() + &"#[doc(hidden)]\npub mod a;\n".repeat(public);
            let tests = "#[cfg(test)]\npub mod tests;\npub use a::A;\n";
            public_modules(&Source::new(ROOT, text + tests))
        };
        assert_eq!(root(20), []);
        let found = root(21);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 1 + 2 * 21, "at the first that is too many");
        assert!(found[0].message.starts_with("21 public modules"));
        assert!(
            public_modules(&Source::new("hitless-tokio/src/lib.rs", "pub mod a;\n".repeat(21))).is_empty()
        );
    }

    #[test]
    fn too_many_shared_fields_are_caught_and_functions_and_types_do_not_count() {
        let fields = |count: usize| {
            let named = "    pub(super) count: u32,\n".repeat(count - 2);
            let text = format!(
                "pub(super) struct A {{\n{named}}}\npub(super) struct B(pub(super) u8, pub(super) u8);\n"
            );
            let others = "impl A {\n    pub(super) fn f(&self) {}\n    pub(super) const C: u8 = 1;\n}\npub(super) use a::A;\n";
            let tests = "#[cfg(test)]\nmod tests { struct T { pub(super) field: u8 } }\n";
            Source::new("hitless-core/src/coordinator/a.rs", text + others + tests)
        };
        assert_eq!(shared_fields(&[fields(20)]), []);
        let other = Source::new("hitless-core/src/client/b.rs", "struct D { pub(super) one: u8 }\n");
        let found = shared_fields(&[fields(20), other]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), found[0].line), ("hitless-core/src/client/b.rs", 1));
        assert!(found[0].message.starts_with("21 fields"));
    }
}
