//! The public vectors for trees, proofs, tiles and whole logs. Cases are told apart by their shape, so that another folder of
//! the same layout, with other files and cases, is read as well.

#[path = "support/trees.rs"]
mod trees;
#[path = "support/vectors.rs"]
mod vectors;

#[path = "merkle_vectors/accumulated.rs"]
mod accumulated;
#[path = "merkle_vectors/layout.rs"]
mod layout;
#[path = "merkle_vectors/logs.rs"]
mod logs;
#[path = "merkle_vectors/proofs.rs"]
mod proofs;

use graven_merkle::Hash;
use serde_json::Value;

/// Our own copy has this many cases of a kind; other folders may have any number.
fn assert_count(what: &str, found: usize, ours: usize) {
    println!("{what}: {found}");
    if vectors::is_default() {
        assert_eq!(found, ours, "{what} in our copy of the vectors");
    }
}

/// The hash that 64 hex digits stand for, or `None` where the vector's bytes are not 32.
fn hash(digits: &str) -> Option<Hash> {
    Hash::try_from(vectors::hex(digits).as_slice()).ok()
}

/// The hashes of an array of hex strings, or `None` where one is not a hash.
fn hashes(array: &Value) -> Option<Vec<Hash>> {
    array.as_array()?.iter().map(|digits| hash(digits.as_str()?)).collect()
}
