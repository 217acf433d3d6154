//! Edits inside one function.

use std::ops::Range;

use super::list::Edit;
use crate::tidy::source::{Source, closing, find_word, item_body};

/// The text of `source` with the edit made, or why it cannot be made.
pub(crate) fn apply(source: &Source, edit: &Edit) -> Result<String, String> {
    let function = function(source, &edit.function)?;
    let body = &source.text[function.clone()];
    let mut places = body.match_indices(&edit.find);
    let place = places.next();
    match (place, places.next()) {
        (Some((offset, found)), None) => {
            let start = function.start + offset;
            let mut text = source.text.clone();
            text.replace_range(start..start + found.len(), &edit.replace);
            Ok(text)
        }
        (None, _) => Err(format!("`{}` in {} no longer has `{}`", edit.function, edit.file, edit.find)),
        (Some(_), Some(_)) => {
            Err(format!("`{}` in {} has `{}` more than once", edit.function, edit.file, edit.find))
        }
    }
}

/// Where the one function of that name is, from its `fn` to its closing brace; tests do not count.
fn function(source: &Source, name: &str) -> Result<Range<usize>, String> {
    let (owner, name) = name.rsplit_once("::").map_or((None, name), |(owner, name)| (Some(owner), name));
    let mut found = source.find("fn").filter(|start| {
        let rest = source.code[start + "fn".len()..].trim_start();
        find_word(rest, name).next() == Some(0) && owner.is_none_or(|owner| is_inside(source, owner, *start))
    });
    let start = found.next().ok_or_else(|| format!("{} has no function `{name}`", source.path))?;
    if found.next().is_some() {
        return Err(format!("{} has several functions `{name}`: name the type as well", source.path));
    }
    let body = item_body(&source.code, start).filter(|body| source.code.as_bytes()[*body] == b'{');
    let end = body.and_then(|body| closing(&source.code, body));
    end.map(|end| start..end + 1).ok_or_else(|| format!("`{name}` in {} has no body", source.path))
}

/// Whether the offset lies in an `impl` of this type. The last type that the header names is the one: `impl From<A> for B`.
fn is_inside(source: &Source, owner: &str, offset: usize) -> bool {
    source.find("impl").any(|start| {
        let Some(body) = item_body(&source.code, start) else { return false };
        let header = &source.code[start..body];
        let named = header.rsplit_once(" for ").map_or(header, |(_, named)| named);
        find_word(named, owner).next().is_some()
            && closing(&source.code, body).is_some_and(|end| (body..end).contains(&offset))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "struct A;\nimpl A {\n    fn go(&self) { x(); y(); y(); }\n    fn once() { x(); }\n}\n\
        impl From<A> for B<u8> {\n    fn go(&self) { x(); }\n}\ntrait T { fn bare(); }\n\
        #[cfg(test)]\nmod tests { fn once() { x(); } }\n";

    fn edited(function: &str, find: &str) -> Result<String, String> {
        let edit = Edit {
            file: "a.rs".into(),
            function: function.into(),
            find: find.into(),
            replace: "z();".into(),
        };
        apply(&Source::new("a.rs", TEXT), &edit)
    }

    #[test]
    fn only_the_named_function_is_edited() {
        assert_eq!(edited("once", "x();").unwrap(), TEXT.replacen("once() { x();", "once() { z();", 1));
        assert_eq!(edited("A::go", "x();").unwrap(), TEXT.replacen("x(); y();", "z(); y();", 1));
        assert_eq!(
            edited("B::go", "x();").unwrap(),
            TEXT.replacen("{ x(); }\n}\ntrait", "{ z(); }\n}\ntrait", 1)
        );
    }

    #[test]
    fn an_edit_that_does_not_apply_says_why() {
        let why = |function, find| edited(function, find).unwrap_err();
        assert_eq!(why("gone", "x();"), "a.rs has no function `gone`");
        assert_eq!(why("C::go", "x();"), "a.rs has no function `go`");
        assert_eq!(why("go", "x();"), "a.rs has several functions `go`: name the type as well");
        assert_eq!(why("bare", "x();"), "`bare` in a.rs has no body");
        assert_eq!(why("once", "y();"), "`once` in a.rs no longer has `y();`");
        assert_eq!(why("A::go", "y();"), "`A::go` in a.rs has `y();` more than once");
    }
}
