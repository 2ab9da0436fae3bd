//! merkle/*.json: roots, proofs to accept and proofs to reject.

use crate::{
    assert_count, hash, hashes,
    trees::{MemoryTree, index, size},
    vectors::{b64, cases, hex, json_files, name, number, text, verdict},
};
use graven_merkle::{
    ConsistencyProof, Frontier, InclusionProof, LeafIndex, Subtree, TreeSize, leaf_hash, prove_consistency,
    prove_inclusion, verify_consistency, verify_inclusion, verify_subtree_consistency,
    verify_subtree_inclusion,
};
use serde_json::Value;

#[test]
fn proof_vectors_are_accepted_and_rejected_as_they_say() {
    let mut judged = [0; 4];
    for (file, content) in json_files("merkle") {
        for case in
            ["cases", "inclusion", "consistency"].iter().flat_map(|section| one_or_many(&content[*section]))
        {
            let Some(kind) = kind(case) else { continue };
            let Some(want) = wanted(&file, case) else { continue };
            let outcome = (kind.check)(case);
            assert_eq!(outcome.is_some(), want, "{file} {} ({})", name(case), kind.name);
            judged[kind.slot] += 1;
        }
    }
    let [inclusion, consistency, subtree_inclusion, subtree_consistency] = judged;
    assert_count("inclusion proofs", inclusion, 49 + 23 + 1);
    assert_count("consistency proofs", consistency, 45 + 1);
    assert_count("subtree inclusion proofs", subtree_inclusion, 102);
    assert_count("subtree consistency proofs", subtree_consistency, 50);
}

#[test]
fn root_vectors_of_generated_leaves() {
    let mut judged = 0;
    for (file, content) in json_files("merkle") {
        let about = content["about"].as_str().unwrap_or_default();
        let roots: Vec<_> = cases(&content, "cases").iter().filter(|case| is_root_case(case)).collect();
        if !roots.is_empty() && !about.contains("\"leaf-\" + decimal") {
            println!("skipped: {file} has roots of leaves that this test cannot generate: {about}");
            continue;
        }
        for case in roots {
            let mut frontier = Frontier::new();
            frontier
                .append((0..number(case, "size")).map(|leaf| leaf_hash(format!("leaf-{leaf}").as_bytes())));
            assert_eq!(Some(frontier.root()), hash(text(case, "root")), "{file}: {case}");
            judged += 1;
        }
    }
    assert_count("roots of generated leaves", judged, 17);
}

#[test]
fn whole_tree_vectors_hold_in_every_part() {
    let mut judged = 0;
    for (file, content) in json_files("merkle") {
        if content.get("leaf_inputs").is_some() {
            whole_tree(&file, &content);
            judged += 1;
        }
    }
    assert_count("trees given whole", judged, 1);
}

struct Kind {
    name: &'static str,
    slot: usize,
    /// `Some` where the case's claim verifies. A value that is no index, size, hash or proof at all rejects like any other.
    check: fn(&Value) -> Option<()>,
}

fn kind(case: &Value) -> Option<Kind> {
    let has = |field: &str| case.get(field).is_some();
    if !case.get("proof").is_some_and(Value::is_array) {
        return None;
    }
    if has("subtree_root") {
        return Some(Kind { name: "subtree consistency", slot: 3, check: subtree_consistency });
    }
    if has("start") && has("index") {
        return Some(Kind { name: "subtree inclusion", slot: 2, check: subtree_inclusion });
    }
    if has("size1") {
        return Some(Kind { name: "consistency", slot: 1, check: consistency });
    }
    has("index").then_some(Kind { name: "inclusion", slot: 0, check: inclusion })
}

/// Rekor's cases say apart what the inclusion proof alone should give; real proofs say nothing, and hold.
fn wanted(file: &str, case: &Value) -> Option<bool> {
    if let Some(inclusion) = case["inclusion"].as_str() {
        return Some(inclusion == "ok");
    }
    if case.get("want_ok").is_none() && case.get("expect").is_none() {
        return Some(true);
    }
    // A case with a checkpoint may be wrong for its signature alone.
    verdict(file, case).filter(|&want| want || case.get("checkpoint").is_none())
}

/// A section that is one case, or an array of them.
fn one_or_many(section: &Value) -> &[Value] {
    section.as_array().map_or(std::slice::from_ref(section), Vec::as_slice)
}

fn inclusion(case: &Value) -> Option<()> {
    if let Some(leaf) = case.get("leaf_b64").and_then(Value::as_str) {
        assert_eq!(Some(leaf_hash(&b64(leaf))), hash(text(case, "leaf_hash")));
    }
    let (leaf, root) = (hash(text(case, "leaf_hash"))?, hash(text(case, "root"))?);
    let (at, of) = (LeafIndex::new(number(case, "index"))?, TreeSize::new(number(case, "size"))?);
    verify_inclusion(leaf, at, of, &inclusion_proof(case)?, &root).ok()
}

fn consistency(case: &Value) -> Option<()> {
    let (from, to) = (TreeSize::new(number(case, "size1"))?, TreeSize::new(number(case, "size2"))?);
    let (from_root, to_root) = (hash(text(case, "root1"))?, hash(text(case, "root2"))?);
    verify_consistency(from, &from_root, to, &to_root, &consistency_proof(case)?).ok()
}

fn subtree_inclusion(case: &Value) -> Option<()> {
    let (leaf, root) = (hash(text(case, "leaf_hash"))?, hash(text(case, "root"))?);
    let at = LeafIndex::new(number(case, "index"))?;
    verify_subtree_inclusion(leaf, at, subtree(case)?, &inclusion_proof(case)?, &root).ok()
}

fn subtree_consistency(case: &Value) -> Option<()> {
    let (subtree_root, root) = (hash(text(case, "subtree_root"))?, hash(text(case, "root"))?);
    let of = TreeSize::new(number(case, "size"))?;
    verify_subtree_consistency(subtree(case)?, &subtree_root, of, &root, &consistency_proof(case)?).ok()
}

fn subtree(case: &Value) -> Option<Subtree> {
    Subtree::new(number(case, "start")..number(case, "end"))
}

fn inclusion_proof(case: &Value) -> Option<InclusionProof> {
    InclusionProof::from_hashes(hashes(&case["proof"])?).ok()
}

fn consistency_proof(case: &Value) -> Option<ConsistencyProof> {
    ConsistencyProof::from_hashes(hashes(&case["proof"])?).ok()
}

fn is_root_case(case: &Value) -> bool {
    case.as_object().is_some_and(|fields| fields.len() == 2 && case.get("size").is_some())
        && case["root"].is_string()
}

fn whole_tree(file: &str, content: &Value) {
    let inputs = cases(content, "leaf_inputs").iter().map(|input| hex(input.as_str().expect("a hex string")));
    let tree = MemoryTree::of(inputs.map(|input| leaf_hash(&input)));
    if let Some(leaves) = content.get("leaf_hashes") {
        assert_eq!(Some(&tree.leaves), hashes(leaves).as_ref(), "{file}: leaf hashes");
    }
    for (level, row) in cases(content, "nodes").iter().enumerate() {
        let level = u8::try_from(level).expect("a level");
        for (at, node) in hashes(row).expect("hashes").into_iter().enumerate() {
            assert_eq!(tree.node(node_id(level, at as u64)), Some(node), "{file}: node {level}/{at}");
        }
    }
    for (of, root) in cases(content, "roots").iter().enumerate() {
        let root = hash(root.as_str().expect("a hex string"));
        assert_eq!(graven_merkle::root(&tree, size(of as u64)).ok(), root, "{file}: root of {of}");
    }
    for (of, range) in cases(content, "compact_ranges").iter().enumerate() {
        compact_range(&tree, of as u64, range);
    }
    for (key, proof) in content["inclusion"].as_object().into_iter().flatten() {
        let (at, of) = pair(key, "@");
        let proved = prove_inclusion(&tree, index(at), size(of)).expect("a proof");
        assert_eq!(Some(proved.hashes()), hashes(proof).as_deref(), "{file}: inclusion {key}");
    }
    for (key, proof) in content["consistency"].as_object().into_iter().flatten() {
        let (from, to) = pair(key, "->");
        let proved = prove_consistency(&tree, size(from), size(to)).expect("a proof");
        assert_eq!(Some(proved.hashes()), hashes(proof).as_deref(), "{file}: consistency {key}");
    }
}

fn compact_range(tree: &MemoryTree, of: u64, range: &Value) {
    let ids: Vec<_> = Frontier::peak_ids(size(of)).collect();
    let nodes = range.as_array().expect("an array");
    assert_eq!(ids.len(), nodes.len());
    for (id, node) in ids.into_iter().zip(nodes) {
        let level = u8::try_from(number(node, "level")).expect("a level");
        assert_eq!(id, node_id(level, number(node, "index")));
        assert_eq!(tree.node(id), hash(text(node, "hash")));
    }
}

fn pair(key: &str, between: &str) -> (u64, u64) {
    let (first, second) = key.split_once(between).expect("two numbers");
    (first.parse().expect("a number"), second.parse().expect("a number"))
}

fn node_id(level: u8, index: u64) -> graven_merkle::NodeId {
    graven_merkle::NodeId::new(level, index)
}
