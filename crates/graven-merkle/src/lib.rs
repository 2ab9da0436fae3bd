//! RFC 6962 Merkle trees: hashes, tiles and proofs, with no I/O.
