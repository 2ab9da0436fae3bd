"""Verifies a pack of evidence: that its leaves are in the tree that its checkpoint states. Standard library alone.

Whether the checkpoint's signatures count is for its keys to say; this looks at the tree, and at what the leaves say they are.
"""

import base64
import hashlib
import json
import pathlib
import sys


def leaf_hash(leaf):
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(size, leaves, proof):
    """The root that follows from leaves by index and the siblings that they lack (RFC 6962: an odd node goes up as it is)."""
    level, width, proof = dict(leaves), size, iter(proof)
    while width > 1:
        above = {}
        for index in sorted(level):
            if index // 2 in above:
                continue
            left, right = index & ~1, index | 1
            if right == width:
                above[index // 2] = level[index]
                continue
            one = level[left] if left in level else next(proof)
            other = level[right] if right in level else next(proof)
            above[index // 2] = node_hash(one, other)
        level, width = above, (width + 1) // 2
    if next(proof, None) is not None:
        raise ValueError("a proof with hashes that nothing needs")
    return level[0]


def log_time(leaf):
    if leaf[:5] != b"GRVE\1":
        raise ValueError("a leaf that is none of a log of events")
    return int.from_bytes(leaf[8:16], "big")


def main(folder):
    folder = pathlib.Path(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    origin, size, root = (folder / "checkpoint").read_text().split("\n")[:3]
    size, root = int(size), base64.b64decode(root)
    assert manifest["format"] == "graven-evidence/v1"
    assert (manifest["origin"], manifest["tree_size"]) == (origin, size)
    lines = [json.loads(line) for line in (folder / "leaves.jsonl").read_text().splitlines()]
    leaves = {line["index"]: base64.b64decode(line["leaf"], validate=True) for line in lines}
    assert len(leaves) == len(lines) == manifest["leaves"] and list(leaves) == sorted(leaves)
    assert all(manifest["first_index"] <= index < manifest["end_index"] <= size for index in leaves)
    times = [log_time(leaf) for leaf in leaves.values()]
    assert times == sorted(times), "log time goes back"
    proven = []
    for proof in manifest["proofs"]:
        claimed = {index: leaf_hash(leaves[index]) for index in proof["indices"]}
        hashes = [base64.b64decode(text, validate=True) for text in proof["hashes"]]
        assert root_of(size, claimed, hashes) == root, "the leaves are not in the tree that was signed"
        proven += proof["indices"]
    assert proven == list(leaves), "a leaf without a proof"
    assert sum(manifest["counts"].values()) == len(leaves)
    print(f"{len(leaves)} entries of {origin} are in the tree of {size} entries with root {root.hex()}")


if __name__ == "__main__":
    main(sys.argv[1])
