"""Appends and verifies with no code generated: every message is made from what the server's reflection tells.

A line for each check, exit code 1 at the first that fails. GRAVEN_SERVER, GRAVEN_CA and GRAVEN_TOKEN are as for
append.py.
"""

import argparse
import os
import sys
import uuid
from urllib.parse import urlsplit

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import tlog
from tlog import require


class Service:
    """A service as its server describes it: `service.Method(field=value)`."""

    def __init__(self, channel: grpc.Channel, name: str):
        database = ProtoReflectionDescriptorDatabase(channel)
        require(name in database.get_services(), f"the server names no {name}")
        self.pool = descriptor_pool.DescriptorPool(database)
        for method in self.pool.FindServiceByName(name).methods:
            setattr(self, method.name, self._call(channel, name, method))

    @staticmethod
    def _call(channel: grpc.Channel, service: str, method):
        request = message_factory.GetMessageClass(method.input_type)
        answer = message_factory.GetMessageClass(method.output_type)
        shapes = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            (True, False): channel.stream_unary,
            (True, True): channel.stream_stream,
        }
        shape = shapes[method.client_streaming, method.server_streaming]
        call = shape(f"/{service}/{method.name}", request.SerializeToString, answer.FromString)
        return lambda **fields: call(request(**fields), timeout=30)


def check(channel: grpc.Channel, log: str, keys: list[tlog.VerifierKey]) -> None:
    logs = Service(channel, "graven.v1.LogService")
    published = logs.pool.FindEnumTypeByName("graven.v1.Wait").values_by_name["WAIT_PUBLISHED"].number
    entry = f"appended by reflection alone, {uuid.uuid4()}".encode()

    fields = {"log": log, "entry": entry, "idempotency_key": str(uuid.uuid4()), "wait": published}
    first, again = logs.Append(**fields), logs.Append(**fields)
    require(not first.duplicate and again.duplicate, "the repeat is not told from the first append")
    require(first.index == again.index, f"a repeat made entry {again.index} of {first.index}")
    index, head = tlog.verify_proof(first.proof, entry, keys)
    require(index == first.index, "the proof is of another entry")
    print(f"append: entry {index}, twice; its proof holds under the head of {head.size} entries")

    other = logs.Append(log=log, entry=b"one more", wait=published)
    newest, _ = tlog.open_checkpoint(logs.GetTreeHead(log=log).head.checkpoint, keys)
    require(newest.size > other.index, "the newest head is older than an entry that is published")
    print(f"head: {newest.size} entries, signed by all {len(keys)} keys")

    leaf = tlog.leaf_hash(entry)
    for target in ({"index": index}, {"leaf_hash": leaf}):
        proof = logs.GetInclusionProof(log=log, tree_size=newest.size, **target).proof
        tlog.verify_inclusion(leaf, proof.index, newest.size, list(proof.hashes), newest.root)
        require(proof.index == index, "the proof is of another entry")
    print(f"inclusion: entry {index}, by its index and by its leaf hash")

    growth = logs.GetConsistencyProof(log=log, first_size=head.size, second_size=newest.size).proof
    tlog.verify_consistency(head.size, newest.size, list(growth.hashes), head.root, newest.root)
    print(f"consistency: the tree of {newest.size} entries begins with that of {head.size}")

    answers = logs.GetEntries(log=log, first=index, count=1)
    require([e for answer in answers for e in answer.entries] == [entry], "the entry is not what was appended")
    print("entries: what is read is what was appended")


def connect(server: str, ca: str, token: str) -> grpc.Channel:
    with open(ca, "rb") as file:
        tls = grpc.ssl_channel_credentials(file.read())
    bearer = grpc.access_token_call_credentials(token)
    return grpc.secure_channel(urlsplit(server).netloc, grpc.composite_channel_credentials(tls, bearer))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", default="audit")
    parser.add_argument("--keys", required=True, help="verifier keys, one a line: each must have signed")
    arguments = parser.parse_args()
    try:
        keys = tlog.read_keys(arguments.keys)
        with connect(*(os.environ[f"GRAVEN_{name}"] for name in ("SERVER", "CA", "TOKEN"))) as channel:
            check(channel, arguments.log, keys)
    except (ValueError, grpc.RpcError) as error:
        sys.exit(f"refused: {error}")


if __name__ == "__main__":
    main()
