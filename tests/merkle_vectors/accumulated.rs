//! merkle/accumulated.json: one digest over the lines for every position of a small world.
//!
//! A case gives its lines as `"{i} {n} {proof...}" for n in 1..=130, i in 0..n if valid`, and its `id` says what is hashed
//! or proven.

use crate::{
    assert_count,
    trees::{MemoryTree, index, size},
    vectors::{cases, json_files, name, text},
};
use graven_merkle::{
    Hash, Subtree, prove_consistency, prove_inclusion, prove_subtree_consistency, prove_subtree_inclusion,
    root, subtree_root,
};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt::Write as _, ops::Range};

#[test]
fn accumulated_vectors_cover_every_position() {
    let tree = MemoryTree::of_bytes(u8::MAX);
    let mut judged = 0;
    for (file, content) in json_files("merkle") {
        for case in cases(&content, "cases").iter().filter(|case| case.get("line").is_some()) {
            let known = hashes_of(text(case, "id")).zip(parse(text(case, "line")));
            let Some((hashes, (template, loops))) = known else {
                println!("skipped: {file} accumulates something unknown: {case}");
                continue;
            };
            let mut digest = Sha256::new();
            run(&loops, &mut Place::default(), &mut |place| {
                digest.update(line(template, place, &hashes(&tree, place)));
            });
            let digest = Hash::from(<[u8; 32]>::from(digest.finalize()));
            assert_eq!(digest.to_string(), text(case, "want"), "{file} {}", name(case));
            judged += 1;
        }
    }
    assert_count("accumulated digests", judged, 3);
}

/// The numbers that a line is about, by their letter.
type Place = BTreeMap<String, u64>;

/// One `for` of a case: the letter and its range, whose bounds are numbers or letters.
struct Loop {
    letter: String,
    first: String,
    end: String,
    inclusive: bool,
    /// Whether `s` and `e` must make a subtree.
    valid: bool,
}

type HashesOf = fn(&MemoryTree, &Place) -> Vec<Hash>;

fn hashes_of(id: &str) -> Option<HashesOf> {
    Some(match id {
        "roots" => |tree, at| vec![root(tree, size(at["n"])).expect("a root")],
        "inclusion" => {
            |tree, at| prove_inclusion(tree, index(at["i"]), size(at["n"])).expect("a proof").into_hashes()
        }
        "consistency" => {
            |tree, at| prove_consistency(tree, size(at["m"]), size(at["n"])).expect("a proof").into_hashes()
        }
        "subtree-hash" => |tree, at| vec![subtree_root(tree, subtree(at)).expect("a root")],
        "subtree-inclusion" => |tree, at| {
            prove_subtree_inclusion(tree, index(at["i"]), subtree(at)).expect("a proof").into_hashes()
        },
        "subtree-consistency" => |tree, at| {
            prove_subtree_consistency(tree, subtree(at), size(at["n"])).expect("a proof").into_hashes()
        },
        _ => return None,
    })
}

fn subtree(at: &Place) -> Subtree {
    Subtree::new(at["s"]..at["e"]).expect("a subtree")
}

fn parse(line: &str) -> Option<(&str, Vec<Loop>)> {
    let (template, loops) = line.strip_prefix('"')?.rsplit_once("\" for ")?;
    Some((template, loops.split(',').map(parse_loop).collect::<Option<_>>()?))
}

fn parse_loop(each: &str) -> Option<Loop> {
    let each = each.trim();
    let (each, valid) = each.strip_suffix(" if valid").map_or((each, false), |each| (each, true));
    let (letter, range) = each.split_once(" in ")?;
    let (first, end) = range.split_once("..")?;
    Some(Loop {
        letter: letter.to_owned(),
        first: first.to_owned(),
        end: end.trim_start_matches('=').to_owned(),
        inclusive: end.starts_with('='),
        valid,
    })
}

fn run(loops: &[Loop], place: &mut Place, visit: &mut impl FnMut(&Place)) {
    let Some((outer, inner)) = loops.split_first() else {
        visit(place);
        return;
    };
    for value in range(outer, place) {
        place.insert(outer.letter.clone(), value);
        if !outer.valid || Subtree::new(place["s"]..place["e"]).is_some() {
            run(inner, place, visit);
        }
    }
    place.remove(&outer.letter);
}

fn range(each: &Loop, place: &Place) -> Range<u64> {
    let value = |bound: &str| bound.parse().unwrap_or_else(|_| place[bound]);
    value(&each.first)..value(&each.end) + u64::from(each.inclusive)
}

/// The template with its letters filled in, and the hashes in place of its last field, each after a space.
fn line(template: &str, place: &Place, hashes: &[Hash]) -> String {
    let (mut line, _) =
        template.rsplit_once(" {").map(|(head, field)| (head.to_owned(), field)).expect("fields");
    for (letter, value) in place {
        line = line.replace(&format!("{{{letter}}}"), &value.to_string());
    }
    hashes.iter().for_each(|hash| write!(line, " {hash}").expect("strings take writes"));
    line + "\n"
}
