"""A second opinion on transparency logs: RFC 6962 and the C2SP formats, written from their texts alone.

Nothing here comes from Graven. Hashes are hashlib's, signatures are checked by `cryptography`, and whatever does
not hold raises `Refused`.
"""

import base64
import binascii
import dataclasses
import hashlib
import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

TILE_WIDTH = 256
ED25519, ECDSA_P256, ML_DSA_44 = 0x01, 0x02, 0x06


class Refused(ValueError):
    """What was read does not verify."""


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Refused(otherwise)


# --- Trees: RFC 6962 section 2.1 ---


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A whole tree in memory: `levels[h][i]` is the root over the 2^h leaves from i * 2^h on."""

    def __init__(self, leaves: list[bytes]):
        self.size = len(leaves)
        self.levels = [leaves]
        while len(below := self.levels[-1]) > 1:
            self.levels.append([node_hash(*below[i : i + 2]) for i in range(0, len(below) - 1, 2)])

    def root(self) -> bytes:
        """The perfect subtrees that the size's one bits stand for, joined from the smallest up."""
        root = b""
        for height, level in enumerate(self.levels):
            if self.size >> height & 1:
                subtree = level[(self.size >> height) - 1]
                root = node_hash(subtree, root) if root else subtree
        return root or hashlib.sha256().digest()


def verify_inclusion(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> None:
    """RFC 9162 section 2.1.3.2."""
    require(0 <= index < size, f"index {index} is not in a tree of {size}")
    fn, sn, r = index, size - 1, leaf
    for p in path:
        require(sn > 0, "the inclusion proof is too long")
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    require(sn == 0, "the inclusion proof is too short")
    require(r == root, f"entry {index} is not in the tree of {size} entries that was signed")


def verify_consistency(first: int, second: int, path: list[bytes], first_root: bytes, second_root: bytes) -> None:
    """RFC 9162 section 2.1.4.2."""
    require(0 < first <= second, f"sizes {first} and {second}")
    if first == second:
        require(not path and first_root == second_root, "two trees of one size")
        return
    path = path if first & (first - 1) else [first_root, *path]
    require(len(path) > 0, "the consistency proof is empty")
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        require(sn > 0, "the consistency proof is too long")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    require(sn == 0, "the consistency proof is too short")
    require(fr == first_root and sr == second_root, f"the tree of {second} does not begin with that of {first}")


# --- Signed notes: c2sp.org/signed-note, and what ML-DSA-44 signs: c2sp.org/tlog-cosignature ---


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """c2sp.org/tlog-checkpoint."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: bytes) -> "Checkpoint":
        lines = text.decode().split("\n")
        require(len(lines) == 4 and lines[3] == "", "a checkpoint has three lines here, and each is ended")
        return cls(lines[0], decimal(lines[1]), unhash(lines[2]))


class VerifierKey:
    """`name+keyid+base64(type || key)`; the key id must follow from name and key."""

    def __init__(self, vkey: str):
        self.name, key_id, key = vkey.split("+", 2)
        self.type, key = unbase64(key)[0], unbase64(key)[1:]
        match self.type:
            case 0x01:
                self.algorithm, self.key = "Ed25519", ed25519.Ed25519PublicKey.from_public_bytes(key)
            case 0x02:
                self.algorithm, self.key = "ECDSA P-256", load_der_public_key(key)
                require(isinstance(self.key.curve, ec.SECP256R1), "the key is on another curve")
            case 0x06:
                self.algorithm, self.key = "ML-DSA-44", mldsa.MLDSA44PublicKey.from_public_bytes(key)
            case other:
                raise Refused(f"a key of type {other}")
        hashed = key if self.type == ECDSA_P256 else f"{self.name}\n".encode() + bytes([self.type]) + key
        self.key_id = hashlib.sha256(hashed).digest()[:4]
        require(self.key_id.hex() == key_id, f"key id {key_id} does not follow from the key")

    def verify(self, text: bytes, signature: bytes) -> int | None:
        """The time that the signature states, if its type has one."""
        time = None
        try:
            if self.type == ED25519:
                self.key.verify(signature, text)
            elif self.type == ECDSA_P256:
                self.key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
            else:
                time = int.from_bytes(signature[:8])
                self.key.verify(signature[8:], self.subtree(Checkpoint.parse(text), time))
        except InvalidSignature:
            raise Refused(f"the {self.algorithm} signature does not verify") from None
        return time

    def subtree(self, checkpoint: Checkpoint, time: int) -> bytes:
        """The message of c2sp.org/tlog-cosignature for ML-DSA-44: a checkpoint is the subtree from 0 on."""
        name, origin = self.name.encode(), checkpoint.origin.encode()
        return b"".join([
            b"subtree/v1\n\x00",
            bytes([len(name)]) + name,
            struct.pack(">Q", time),
            bytes([len(origin)]) + origin,
            struct.pack(">QQ", 0, checkpoint.size),
            checkpoint.root,
        ])


def read_keys(path: str) -> list[VerifierKey]:
    """One vkey a line."""
    with open(path, encoding="utf-8") as file:
        return [VerifierKey(line) for line in file.read().split()]


def open_checkpoint(note: bytes, keys: list[VerifierKey]) -> tuple[Checkpoint, int | None]:
    """Checks that every one of `keys` signed, and gives the checkpoint and the latest time that they state."""
    text, separator, signatures = note.rpartition(b"\n\n")
    require(bool(separator) and signatures.endswith(b"\n"), "not a signed note")
    text += b"\n"
    times, missing = [], {(key.name, key.key_id): key for key in keys}
    for line in signatures.decode().removesuffix("\n").split("\n"):
        require(line.startswith("\u2014 ") and line.count(" ") == 2, "not a signature line")
        _, name, signature = line.split(" ")
        key_id, signature = unbase64(signature)[:4], unbase64(signature)[4:]
        if key := missing.pop((name, key_id), None):
            times.append(key.verify(text, signature))
    require(not missing, f"no signature by {', '.join(key.algorithm for key in missing.values())}")
    checkpoint = Checkpoint.parse(text)
    require(all(key.name == checkpoint.origin for key in keys), "signed for another log")
    return checkpoint, max((time for time in times if time), default=None)


# --- What a log serves: c2sp.org/tlog-tiles ---


def tile_path(level: int | str, index: int, width: int) -> str:
    """`width` hashes of tile `index`; the level is "entries" for a bundle."""
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03}")
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(groups)}{partial}"


def tiles(count: int) -> list[tuple[int, int]]:
    """Index and width of each tile in a row of `count` hashes."""
    return [(n, min(TILE_WIDTH, count - n * TILE_WIDTH)) for n in range(-(-count // TILE_WIDTH))]


def parse_bundle(bundle: bytes) -> list[bytes]:
    """Entries, each after its length in two bytes."""
    entries, at = [], 0
    while at < len(bundle):
        length = int.from_bytes(bundle[at : at + 2])
        entries.append(bundle[at + 2 : at + 2 + length])
        at += 2 + length
    require(at == len(bundle), "the bundle is cut short")
    return entries


# --- Offline proofs: c2sp.org/tlog-proof ---


def verify_proof(proof: bytes, entry: bytes, keys: list[VerifierKey]) -> tuple[int, Checkpoint]:
    """Checks that `entry` is in the log, and gives its index and the signed checkpoint that includes it."""
    head, separator, note = proof.partition(b"\n\n")
    require(bool(separator), "not a proof")
    first, *lines = head.decode().split("\n")
    require(first == "c2sp.org/tlog-proof@v1", "not a proof of version 1")
    if lines and lines[0].startswith("extra "):
        lines = lines[1:]
    require(bool(lines) and lines[0].startswith("index "), "the proof names no index")
    index = decimal(lines[0].removeprefix("index "))
    checkpoint, _ = open_checkpoint(note, keys)
    path = [unhash(line) for line in lines[1:]]
    verify_inclusion(leaf_hash(entry), index, checkpoint.size, path, checkpoint.root)
    return index, checkpoint


# --- Texts that have one form ---


def unbase64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Refused("not base64") from None
    require(base64.b64encode(data).decode() == text, "base64 that is not canonical")
    return data


def unhash(text: str) -> bytes:
    data = unbase64(text)
    require(len(data) == 32, "a hash has 32 bytes")
    return data


def decimal(text: str) -> int:
    require(text.isascii() and text.isdigit() and str(int(text)) == text, f"{text!r} is no number")
    return int(text)
