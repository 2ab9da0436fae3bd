"""Reads a whole log over HTTP and recomputes it: a line for each check, exit code 1 at the first that fails.

The environment's GRAVEN_CA names certificates to trust, GRAVEN_TOKEN is a token to read with.
"""

import argparse
import gzip
import os
import ssl
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime

import tlog
from tlog import require


class Site:
    """The files below a log's URL, read by the standard library."""

    def __init__(self, url: str, ca: str | None, token: str | None):
        self.url, self.ca = url, ca
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, tls=ssl.TLSVersion.TLSv1_3, **headers: str):
        request = urllib.request.Request(f"{self.url}/{path}", headers=self.headers | headers)
        context = ssl.create_default_context(cafile=self.ca)
        context.minimum_version = context.maximum_version = tls
        return urllib.request.urlopen(request, timeout=20, context=context)

    def read(self, path: str) -> bytes:
        with self.get(path) as answer:
            return answer.read()


def check(site: Site, keys: list[tlog.VerifierKey]) -> None:
    checkpoint, time = tlog.open_checkpoint(site.read("checkpoint"), keys)
    algorithms = ", ".join(key.algorithm for key in keys)
    when = datetime.fromtimestamp(time, UTC).isoformat() if time else "an unknown time"
    print(f"checkpoint: {checkpoint.origin}, {checkpoint.size} entries, signed by {algorithms} at {when}")

    leaves = []
    for index, width in tlog.tiles(checkpoint.size):
        path = tlog.tile_path("entries", index, width)
        entries = tlog.parse_bundle(site.read(path))
        require(len(entries) == width, f"{path} has {len(entries)} entries")
        leaves += map(tlog.leaf_hash, entries)
    tree = tlog.Tree(leaves)
    require(tree.root() == checkpoint.root, f"the entries hash to {tree.root().hex()}, which was not signed")
    print(f"entries: all {tree.size} lead to the signed root {tree.root().hex()}")

    count = 0
    for level, row in enumerate(tree.levels[::8]):
        for index, width in tlog.tiles(len(row)):
            path, first = tlog.tile_path(level, index, width), index * tlog.TILE_WIDTH
            require(site.read(path) == b"".join(row[first : first + width]), f"{path} holds other hashes")
            count += 1
    print(f"tiles: all {count} hold the hashes of these entries")


def check_transport(site: Site) -> None:
    path = tlog.tile_path("entries", 0, tlog.TILE_WIDTH)
    with site.get(path, **{"Accept-Encoding": "gzip"}) as answer:
        require(answer.headers["Content-Encoding"] == "gzip", "a bundle is not compressed when asked for")
        packed = answer.read()
    require(gzip.decompress(packed) == site.read(path), "a compressed bundle differs")
    print(f"gzip: {path} takes {len(packed)} bytes and is the same")

    if site.url.startswith("https:"):
        try:
            site.get("checkpoint", tls=ssl.TLSVersion.TLSv1_2).close()
        except urllib.error.URLError as error:
            require(isinstance(error.reason, ssl.SSLError), f"TLS 1.2 fails otherwise: {error}")
        else:
            raise tlog.Refused("the server speaks TLS 1.2")
        print("TLS: all of it was read over 1.3, and 1.2 is refused")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="where the log's checkpoint lies; file: works too")
    parser.add_argument("--keys", required=True, help="verifier keys, one a line: each must have signed")
    arguments = parser.parse_args()
    site = Site(arguments.url.rstrip("/"), os.environ.get("GRAVEN_CA"), os.environ.get("GRAVEN_TOKEN"))
    try:
        check(site, tlog.read_keys(arguments.keys))
        if not site.url.startswith("file:"):
            check_transport(site)
    except (ValueError, OSError) as error:
        sys.exit(f"refused: {error}")


if __name__ == "__main__":
    main()
