//! Trees in small exhaustive worlds, in enormous sparse ones, and beside two other implementations.

#[path = "support/trees.rs"]
mod trees;

#[path = "merkle_properties/enormous.rs"]
mod enormous;
#[path = "merkle_properties/every_size.rs"]
mod every_size;
#[path = "merkle_properties/multi.rs"]
mod multi;
#[path = "merkle_properties/oracles.rs"]
mod oracles;
#[path = "merkle_properties/tiles.rs"]
mod tiles;

use graven_merkle::Hash;

/// The hash with one of its 256 bits flipped.
fn flip(hash: &Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Hash::from(bytes)
}

/// Every list that differs from `hashes` by one hash that is lost, repeated, foreign or out of place.
fn rearranged(hashes: &[Hash]) -> Vec<Vec<Hash>> {
    let foreign = graven_merkle::leaf_hash(b"foreign");
    let mut lists = Vec::new();
    for at in 0..=hashes.len() {
        lists.push([&hashes[..at], &[foreign], &hashes[at..]].concat());
    }
    for at in 0..hashes.len() {
        lists.push([&hashes[..at], &hashes[at + 1..]].concat());
        lists.push([&hashes[..=at], &hashes[at..]].concat());
        let mut swapped = hashes.to_vec();
        swapped.swap(at, hashes.len() - 1);
        lists.push(swapped);
    }
    lists.retain(|list| list != hashes);
    lists
}
