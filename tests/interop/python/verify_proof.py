"""Checks offline that an entry is in a log: exit code 1 when the proof does not show it."""

import argparse
import sys

import tlog


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("entry", type=argparse.FileType("rb"))
    parser.add_argument("proof", type=argparse.FileType("rb"))
    parser.add_argument("--keys", required=True, help="verifier keys, one a line: each must have signed")
    arguments = parser.parse_args()
    try:
        keys = tlog.read_keys(arguments.keys)
        index, head = tlog.verify_proof(arguments.proof.read(), arguments.entry.read(), keys)
    except ValueError as error:
        sys.exit(f"refused: {error}")
    print(f"proof: this is entry {index} of {head.origin}, under the signed head of {head.size} entries")


if __name__ == "__main__":
    main()
