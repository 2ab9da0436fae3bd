//! An interface as a list of facts, held against those that were promised.

use std::{collections::BTreeSet, env, fs, path::Path};

/// Where the promises of this version are kept.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/compat/v1");

/// Facts in an order that people can follow, each a line of its own.
pub(crate) type Facts = Vec<String>;

/// The promised facts that are not true any more.
pub(crate) fn broken(promised: &str, facts: &Facts) -> Facts {
    let true_now: BTreeSet<_> = facts.iter().map(String::as_str).collect();
    promised.lines().filter(|fact| !true_now.contains(fact)).map(str::to_owned).collect()
}

/// The facts that nobody promised so far.
pub(crate) fn unpromised(promised: &str, facts: &Facts) -> Facts {
    let promised: BTreeSet<_> = promised.lines().collect();
    facts.iter().filter(|fact| !promised.contains(fact.as_str())).cloned().collect()
}

/// Demands that what was promised in the file `name` is true, and that nothing else is.
pub(crate) fn keep(name: &str, facts: &Facts) {
    let path = Path::new(FOLDER).join(name);
    let promised = fs::read_to_string(&path).unwrap_or_default();
    let broken = broken(&promised, facts);
    assert!(
        broken.is_empty(),
        "{name}: programs rely on this, and it is not so any more:\n{}",
        broken.join("\n")
    );
    let new = unpromised(&promised, facts);
    if !new.is_empty() && env::var_os("GRAVEN_PROMISE").is_some() {
        fs::write(&path, facts.iter().flat_map(|fact| [fact, "\n"]).collect::<String>()).unwrap();
        return;
    }
    assert!(
        new.is_empty(),
        "{name}: this is new; `GRAVEN_PROMISE=1 cargo test -p graven --test compat` promises it for ever:\n{}",
        new.join("\n")
    );
}

#[test]
fn what_goes_is_a_breach_and_what_comes_is_none() {
    let facts = |list: &[&str]| list.iter().map(|&fact| fact.to_owned()).collect::<Facts>();
    assert_eq!(broken("a\nb\n", &facts(&["b", "c"])), ["a"]);
    assert_eq!(unpromised("a\nb\n", &facts(&["b", "c"])), ["c"]);
    assert!(broken("a\nb\n", &facts(&["b", "a"])).is_empty(), "the order says nothing");
}
