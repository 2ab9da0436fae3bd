"""Reads leaves, sealed payloads and disclosures of a log of events with the standard library alone (before Python 3.14, and zstandard).

Written from the drawings in the documentation of graven-event's `frame`, `facts`, `codec`, `group`, `payload` and `disclosure`.

    read_event.py VECTORS DICTIONARIES      checks tests/vectors/events/frames
"""

import base64
import hashlib
import hmac
import json
import struct
import sys
import zlib
from pathlib import Path

# --- fields with a tag: tag (1), length (2), value; in the order of their tags

ONE, MAYBE, EACH = "put", "maybe", "each"


def word(most):
    def read(value):
        text = value.decode("utf-8")
        turns = {0x61C, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
        bad = any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or ord(c) in turns for c in text)
        if not 1 <= len(value) <= most or bad:
            raise ValueError("not a word")
        return text

    return read


def number(size):
    def read(value):
        if len(value) != size:
            raise ValueError("a number of another width")
        return int.from_bytes(value, "big")

    return read


def octets(size):
    def read(value):
        if size is not None and len(value) != size:
            raise ValueError("bytes of another length")
        return value.hex()

    return read


WORD, KEY, BYTE, U64, REF, HASH, BYTES = word(256), word(4096), number(1), number(8), octets(16), octets(32), octets(None)
TEXT = lambda value: value.decode("utf-8")


def fields(layout, data, limits=False):
    found, at, counts = {}, 0, {}
    for tag, (name, how, kind) in sorted(layout.items()):
        values = []
        while at < len(data) and data[at] == tag:
            if at + 3 > len(data):
                raise ValueError("cut short")
            length = int.from_bytes(data[at + 1 : at + 3], "big")
            value = data[at + 3 : at + 3 + length]
            if len(value) != length:
                raise ValueError("cut short")
            if limits and (length > 4096 or len(values) == 256):
                raise ValueError("too long or too many")
            values.append(kind(value))
            at += 3 + length
            if how != EACH:
                break
        if how == ONE and not values:
            raise ValueError(f"{name} is missing")
        found[name] = values if how == EACH else values[0] if values else None
    if at != len(data):
        raise ValueError("a field is unknown, out of order or there twice")
    return found


def layout(rows, /, **kinds):
    rows = (row.split() for row in rows.strip().splitlines())
    return {int(tag): (name, how, kinds[kind]) for tag, how, name, kind in rows}


def facts(text):
    return layout(text, word=WORD, key=KEY, byte=BYTE, u64=U64, ref=REF, hash=HASH, bytes=BYTES)


GAP = facts("1 put producer ref\n2 put first u64\n3 put last u64")
KINDS = {
    0: ("genesis", facts("1 put origin word\n2 put kind word\n3 put recovery key\n4 each administrators ref\n5 maybe signature bytes")),
    1: ("event", facts("""
        1 put action word
        2 maybe product word
        3 maybe event_time u64
        4 put actor ref
        5 maybe client ref
        6 each targets ref
        7 each requested word
        8 each granted word
        9 each used word
        10 maybe token ref
        11 maybe place ref
        12 each on_behalf_of ref
        13 each about ref""")),
    2: ("scope", facts("""
        1 put command byte
        2 maybe grant ref
        3 maybe revision u64
        4 put by ref
        5 maybe client ref
        6 maybe subject ref
        7 each scopes word
        8 maybe resource word
        9 maybe tier byte
        10 maybe recording byte
        11 maybe not_before u64
        12 maybe expires u64
        13 maybe token ref
        14 maybe review ref
        15 maybe verdict byte
        16 maybe refused word
        17 maybe issued_before u64
        18 each approvers ref
        19 maybe approvals byte
        20 maybe longest u64
        21 put rules byte
        22 maybe signature bytes""")),
    3: ("decision", facts("""
        1 put action word
        2 put client ref
        3 maybe subject ref
        4 maybe token ref
        5 maybe issued u64
        6 each scopes word
        7 maybe resource word
        8 put state_size u64
        9 put decided_at u64
        10 put consistency byte
        11 each grants ref
        12 put reason word
        13 maybe place ref
        14 maybe count u64
        15 maybe since u64
        16 maybe bound u64
        17 maybe expires u64
        18 each presented word
        19 put rules byte""")),
    4: ("alert", facts("""
        1 put rule hash
        2 put name word
        3 put severity byte
        4 each leaves u64
        5 maybe count u64
        6 each about ref
        7 put state_size u64""")),
    5: ("gap", GAP),
    6: ("filled", GAP),
    7: ("erasure", facts("1 each erased ref\n2 put by ref\n3 put authority word")),
    8: ("retention", facts("1 put class byte\n2 put name word\n3 maybe seconds u64\n4 put by ref")),
    9: ("hold", facts("1 put hold ref\n2 each subjects ref\n3 each classes byte\n4 put by ref\n5 put authority word")),
    10: ("release", facts("1 put hold ref\n2 put by ref\n3 put authority word")),
    11: ("expiry", facts("1 put class byte\n2 put before u64")),
    12: ("rejected", facts("1 put digest hash\n2 put reason word")),
    13: ("rule", facts("1 put rule hash\n2 put name word\n3 put language word\n4 put severity byte\n5 put by ref\n6 maybe source bytes")),
}
OUTCOMES = [None, "success", "failure", "denied", "unknown"]


def frame(leaf):
    if len(leaf) < 156 or leaf[:5] != b"GRVE\x01":
        raise ValueError("not a frame of version 1")
    kind, outcome, retention, log_time = struct.unpack(">BBBQ", leaf[5:16])
    payload_format, length = struct.unpack(">HH", leaf[152:156])
    rest = leaf[156:]
    if len(rest) != length or length > 32768 or outcome > 4 or payload_format > 1:
        raise ValueError("not a frame")
    if payload_format == 0 and any(leaf[88:152]):
        raise ValueError("a commitment to nothing")
    name, known = KINDS[kind]
    if outcome == 0 and name in ("event", "decision"):
        raise ValueError("no outcome")
    said = fields(known, rest, limits=True)
    if name == "hold":
        said["classes"] = bytes(said["classes"]).hex()
    return {
        "kind": name,
        "outcome": OUTCOMES[outcome],
        "retention": retention,
        "log_time": log_time,
        "id": leaf[16:32].hex(),
        "producer": leaf[32:48].hex(),
        "sequence": int.from_bytes(leaf[48:56], "big"),
        "previous": leaf[56:88].hex(),
        "commitment": leaf[88:120].hex() if payload_format else None,
        "digest": leaf[120:152].hex() if payload_format else None,
        "facts": said,
    }


def leaf_hash(leaf):
    return hashlib.sha256(b"\x00" + leaf).digest()


# --- groups

PARTY = {1: ("kind", ONE, TEXT), 2: ("id", ONE, TEXT), 3: ("name", MAYBE, TEXT)}


def rfc3339(value):
    from datetime import datetime, timezone

    nanoseconds = number(8)(value)
    whole = datetime.fromtimestamp(nanoseconds // 10**9, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    part = nanoseconds % 10**9
    return whole + (f".{part:09d}".rstrip("0") if part else "") + "Z"


def nested(known):
    return lambda value: {name: found for name, found in fields(known, value).items() if found not in (None, [])}


party = nested(PARTY)
TOKEN = layout(
    "1 maybe id text\n2 maybe issuer text\n3 each audience text\n4 maybe grant_type text\n5 maybe expires time\n"
    "6 maybe confirmation text\n7 maybe acr text\n8 each amr text",
    text=TEXT, time=rfc3339,
)
CONTEXT = layout("1 maybe request_id text\n2 maybe trace_id text\n3 maybe ip text\n4 maybe user_agent text", text=TEXT)
DECISION = layout("1 maybe reason text\n2 maybe policy text", text=TEXT)
CHANGE = layout("1 put field text\n2 maybe before text\n3 maybe after text", text=TEXT)
LABEL = layout("1 put key text\n2 put value text", text=TEXT)
GROUPS = {
    1: layout("1 put actor party\n2 each on_behalf_of party\n3 maybe session text", party=party, text=TEXT),
    2: layout("1 each targets party\n2 each about party", party=party),
    3: layout("1 maybe client party\n2 maybe token token", party=party, token=nested(TOKEN)),
    6: layout("1 each changes change", change=nested(CHANGE)),
    8: layout("1 maybe service text\n2 maybe event_id text\n3 each labels label", text=TEXT, label=nested(LABEL)),
}


def event_of(texts):
    event = {}
    for group, text in texts.items():
        if group == 4:
            event["context"] = nested(CONTEXT)(text)
        elif group == 5:
            event["decision"] = nested(DECISION)(text)
        elif group == 7:
            length = int.from_bytes(text[1:3], "big")
            event["raw"] = {"format": text[3 : 3 + length].decode(), "text": text[3 + length :].decode()}
        else:
            event.update(nested(GROUPS[group])(text))
    source = {name: event.pop(name) for name in ("service", "event_id") if name in event}
    if source:
        event["source"] = source
    if "labels" in event:
        event["labels"] = {label["key"]: label["value"] for label in event["labels"]}
    return event


# --- ChaCha20-Poly1305 (RFC 8439)


def chacha20(key, counter):
    state = list(struct.unpack("<4I8I4I", b"expand 32-byte k" + key + struct.pack("<I", counter) + bytes(12)))
    work = state[:]

    def quarter(a, b, c, d):
        for x, y, z, shift in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            work[x] = (work[x] + work[y]) & 0xFFFFFFFF
            turned = work[z] ^ work[x]
            work[z] = (turned << shift | turned >> (32 - shift)) & 0xFFFFFFFF

    for _ in range(10):
        for turn in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            quarter(*turn)
        for turn in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(*turn)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(state, work)))


def unseal(key, sealed, associated):
    text, tag = sealed[:-16], sealed[-16:]
    block = chacha20(key, 0)
    r = int.from_bytes(block[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    s, accumulator = int.from_bytes(block[16:32], "little"), 0
    padded = lambda data: data + bytes(-len(data) % 16)
    message = padded(associated) + padded(text) + struct.pack("<QQ", len(associated), len(text))
    for at in range(0, len(message), 16):
        accumulator = (accumulator + int.from_bytes(message[at : at + 16] + b"\x01", "little")) * r % (2**130 - 5)
    if ((accumulator + s) % 2**128).to_bytes(16, "little") != tag:
        raise ValueError("the tag is wrong")
    stream = b"".join(chacha20(key, 1 + at) for at in range(-(-len(text) // 64)))
    return bytes(a ^ b for a, b in zip(text, stream))


def hkdf(material, salt, info, length):
    key, out, block = hmac.digest(salt, material, "sha256"), b"", b""
    for counter in range(1, 256):
        if len(out) >= length:
            break
        block = hmac.digest(key, block + info + bytes([counter]), "sha256")
        out += block
    return out[:length]


# --- payloads

sha256 = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
group_hash = lambda group, salt, text: sha256(b"graven group v1\n", bytes([group]), salt, text)


def root(hashes):
    while len(hashes) > 1:
        hashes = [sha256(b"graven groups v1\n", a, b) for a, b in zip(hashes[::2], hashes[1::2])]
    return hashes[0]


WAYS = set()


def unpack(packed, group, others, dictionaries):
    WAYS.add(packed[0])
    if packed[0] == 0:
        return packed[1:]
    kind = "records" if group == 7 else "groups"
    if packed[0] == 1:
        before = (dictionaries[kind, 1] + (others if group == 7 else b""))[-32768:]
        stream = zlib.decompressobj(-15, zdict=before)
        text = stream.decompress(packed[1:]) + stream.flush()
        assert stream.eof and not stream.unused_data
        return text
    assert packed[0] == 2
    width, least = {0x20: (1, 0), 0x60: (2, 256), 0xA0: (4, 65792)}[packed[1]]
    length = int.from_bytes(packed[2 : 2 + width], "little") + (256 if width == 2 else 0)
    assert least <= length <= 1310720
    stream = zstd_stream(dictionaries[kind, 2] + (others[-32768:] if group == 7 else b""))
    text = stream.decompress(b"\x28\xb5\x2f\xfd" + packed[1:])
    assert stream.eof and not stream.unused_data and len(text) == length
    return text


def zstd_stream(dictionary):
    try:
        from compression import zstd

        return zstd.ZstdDecompressor(zstd_dict=zstd.ZstdDict(dictionary))
    except ImportError:
        import zstandard

        whole = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_FULLDICT)
        return zstandard.ZstdDecompressor(dict_data=whole).decompressobj()


def read_payload(data, leaf_id, log_key, keys, dictionaries):
    assert data[:8] == b"GRVNPAY1"
    pad, present, count = data[8:40], data[40], data[41]
    subjects = [data[42 + 16 * n : 58 + 16 * n] for n in range(count)]
    assert subjects == sorted(set(subjects)) and count <= 32
    at, width, table = 42 + 16 * count, -(-count // 8), []
    for group in (g for g in range(1, 9) if present >> (g - 1) & 1):
        mask = int.from_bytes(data[at : at + width], "little")
        assert mask >> count == 0
        about = [subject for n, subject in enumerate(subjects) if mask >> n & 1]
        commitment = data[at + width : at + width + 32]
        length = int.from_bytes(data[at + width + 32 : at + width + 36], "big")
        table.append((group, about, commitment, length))
        at += width + 36
    hashes = {group: sha256(b"graven absent v1\n", bytes([group]), pad) for group in range(1, 9)}
    sealed = {}
    for group, about, commitment, length in table:
        hashes[group] = commitment
        sealed[group] = (about, data[at : at + length])
        at += length
    assert at == len(data) and set().union(*(about for about, _ in sealed.values())) == set(subjects)
    texts, salts = {}, {}
    for group in sorted(sealed, key=lambda group: (group == 7, group)):
        about, data_of = sealed[group]
        material = log_key + b"".join(keys[subject.hex()] for subject in about)
        secret = hkdf(material, leaf_id, b"graven payload v1" + bytes([group]), 64)
        packed = unseal(secret[:32], data_of, leaf_id + bytes([group]) + b"".join(about))
        assert group != 7 or about == subjects
        others = b"".join(texts[other] for other in sorted(texts))
        texts[group], salts[group] = unpack(packed, group, others, dictionaries), secret[32:]
        assert group_hash(group, salts[group], texts[group]) == hashes[group]
    return [hashes[group] for group in range(1, 9)], dict(sorted(texts.items())), salts


# --- disclosures


def read_disclosure(text):
    head, proof = text.split("\n\n", 1)
    lines = head.split("\n")
    assert lines[0] == "graven-disclosure/v1" and lines[1].startswith("leaf ") and len(lines) in (2, 10)
    leaf = base64.b64decode(lines[1][5:], validate=True)
    hashes, shown = [], {}
    for group, line in enumerate(lines[2:], 1):
        what, said, *rest = line.split(" ")
        assert int(said) == group
        values = [base64.b64decode(value, validate=True) for value in rest]
        if what == "group":
            shown[group] = values[1]
            hashes.append(group_hash(group, *values))
        else:
            assert what == "hash" and len(values) == 1 and len(values[0]) == 32
            hashes.append(values[0])
    says = frame(leaf)
    assert not hashes or root(hashes).hex() == says["commitment"]
    return leaf, says, hashes, shown, proof


# --- the vectors


def main(folder, dictionaries):
    load = lambda name: json.loads((folder / name).read_text())["cases"]
    leaves = load("leaves-v1.json")
    for case in leaves:
        leaf = bytes.fromhex(case["leaf"])
        assert frame(leaf) == case["frame"], case["name"]
        assert leaf_hash(leaf).hex() == case["leaf_hash"], case["name"]
    payloads = load("payloads-v1.json") + load("payloads-v2.json")
    for case in payloads:
        data, unhex = base64.b64decode(case["payload_b64"]), bytes.fromhex
        assert sha256(data).hex() == case["digest"]
        keys = {reference: unhex(key) for reference, key in case["subject_keys"].items()}
        hashes, texts, salts = read_payload(data, unhex(case["id"]), unhex(case["log_key"]), keys, dictionaries)
        assert root(hashes).hex() == case["commitment"]
        told = [
            {"group": group, "salt": salts[group].hex(), "text_b64": base64.b64encode(text).decode()}
            for group, text in texts.items()
        ]
        assert told == case["groups"], case["name"]
        expected = {name: value for name, value in case["event"].items() if name not in ("action", "outcome", "time", "scope")}
        expected.get("source", {}).pop("product", None)
        assert event_of(texts) == {name: value for name, value in expected.items() if value != {}}, case["name"]
    assert WAYS == {0, 1, 2}, "no vector for a way of packing"
    disclosures = load("disclosures-v1.json")
    for case in disclosures:
        leaf, says, hashes, shown, proof = read_disclosure(case["text"])
        expect, event = case["expect"], event_of(shown)
        assert says == expect["frame"] and list(shown) == expect["shown"], case["name"]
        assert [value.hex() for value in hashes] == expect["hashes"], case["name"]
        assert (event.get("actor"), event.get("context", {}).get("ip")) == (expect["actor"], expect["ip"])
        # Its log has this one leaf, so the root of its head is the leaf's hash.
        assert base64.b64decode(proof.split("\n")[5]) == leaf_hash(leaf)
        assert leaf_hash(leaf).hex() == expect["leaf_hash"], case["name"]
    print(f"{len(leaves)} leaves, {len(payloads)} payloads and {len(disclosures)} disclosures say what they should")


if __name__ == "__main__":
    beside = Path(sys.argv[2])
    main(Path(sys.argv[1]), {(name, version): (beside / f"{name}-v{version}.dict").read_bytes() for name in ("groups", "records") for version in (1, 2)})
