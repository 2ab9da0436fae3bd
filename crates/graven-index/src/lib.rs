//! Rebuildable followers of a log: the leaf-hash index.
