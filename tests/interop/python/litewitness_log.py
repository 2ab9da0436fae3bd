"""Has a litewitness know a log: litewitness_log.py DATABASE ORIGIN VKEY

Its own tool for this cannot be had from the module proxy, which lacks one of its dependencies.
"""

import base64
import hashlib
import sqlite3
import sys


def main(database, origin, vkey):
    nothing = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    with sqlite3.connect(database, timeout=10) as witness:
        witness.execute("INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)", (origin, nothing))
        witness.execute("INSERT INTO key (origin, key) VALUES (?, ?)", (origin, vkey))


if __name__ == "__main__":
    main(*sys.argv[1:])
