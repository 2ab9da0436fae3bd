"""Makes a sealed payload whose one group opens under two keys: Poly1305 does not commit to its key, so one free block solves for a tag
that is right under both. Only the commitment tells which text was meant.

    two_openings.py            prints tests/vectors/events/frames/two-openings-v1.json
"""

import base64
import json
import struct

from read_event import chacha20, group_hash, hkdf, root, sha256, unseal

PRIME = 2**130 - 5


def poly_key(key):
    block = chacha20(key, 0)
    r = int.from_bytes(block[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    return r, int.from_bytes(block[16:32], "little")


def blocks(associated, text):
    padded = lambda data: data + bytes(-len(data) % 16)
    message = padded(associated) + padded(text) + struct.pack("<QQ", len(associated), len(text))
    return [int.from_bytes(message[at : at + 16] + b"\x01", "little") for at in range(0, len(message), 16)]


def evaluate(r, parts):
    total = 0
    for part in parts:
        total = (total + part) * r % PRIME
    return total


def collide(first, second, associated, text, free):
    """The text with block `free` of it replaced, and the tag that is right under both keys; None where there is none."""
    (r1, s1), (r2, s2) = poly_key(first), poly_key(second)
    parts = blocks(associated, text)
    at = -(-len(associated) // 16) + free
    parts[at] = 0
    power = len(parts) - at
    slope = (pow(r1, power, PRIME) - pow(r2, power, PRIME)) % PRIME
    for carry in range(-5, 6):
        apart = evaluate(r2, parts) + s2 - evaluate(r1, parts) - s1 + carry * 2**128
        block = apart * pow(slope, -1, PRIME) % PRIME
        if not 2**128 <= block < 2**129:
            continue
        made = text[: 16 * free] + (block - 2**128).to_bytes(16, "little") + text[16 * free + 16 :]
        whole = blocks(associated, made)
        tags = {(evaluate(r, whole) + s) % 2**128 for r, s in ((r1, s1), (r2, s2))}
        if len(tags) == 1:
            return made, tags.pop().to_bytes(16, "little")
    return None


def main():
    leaf_id, log_key, subject, mine = bytes([0x77] * 16), bytes([3] * 32), bytes([0x11] * 16), bytes([0x21] * 32)
    group, pad = 1, bytes([5] * 32)
    secrets = lambda key: hkdf(log_key + key, leaf_id, b"graven payload v1" + bytes([group]), 64)
    associated = leaf_id + bytes([group]) + subject
    text = b"\x00" + b"alice did it, says the one who holds the first key".ljust(63)
    for attempt in range(2**20):
        other = sha256(b"two openings", struct.pack(">I", attempt))
        one, two = secrets(mine), secrets(other)
        # Under both, the first byte must say that what follows is not packed.
        if chacha20(one[:32], 1)[0] != chacha20(two[:32], 1)[0]:
            continue
        cipher = bytes(a ^ b for a, b in zip(text, chacha20(one[:32], 1)))
        found = collide(one[:32], two[:32], associated, cipher, 3)
        if found:
            break
    sealed = b"".join(found)
    texts = [unseal(key[:32], sealed, associated) for key in (one, two)]
    assert texts[0][0] == texts[1][0] == 0 and texts[0] != texts[1]
    commitment = group_hash(group, one[32:], texts[0][1:])
    hashes = [sha256(b"graven absent v1\n", bytes([n]), pad) for n in range(1, 9)]
    hashes[group - 1] = commitment
    payload = b"GRVNPAY1" + pad + b"\x01\x01" + subject + b"\x01" + commitment + struct.pack(">I", len(sealed)) + sealed
    case = {
        "name": "opens-under-two-keys",
        "id": leaf_id.hex(),
        "log_key": log_key.hex(),
        "reference": subject.hex(),
        "key": mine.hex(),
        "other_key": other.hex(),
        "text_hex": texts[0][1:].hex(),
        "other_text_hex": texts[1][1:].hex(),
        "payload_b64": base64.b64encode(payload).decode(),
        "commitment": root(hashes).hex(),
        "digest": sha256(payload).hex(),
    }
    print(json.dumps({"about": "a sealed group whose bytes are authentic under two keys; its leaf commits to one text", "cases": [case]}, indent=2))


if __name__ == "__main__":
    main()
