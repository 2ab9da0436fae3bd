"""Puts an entry into a Graven log and keeps the proof that it is there.

    GRAVEN_SERVER=https://localhost:4740 GRAVEN_CA=ca.pem GRAVEN_TOKEN=gvn_… append.py KEY ENTRY PROOF

KEY names this append: however often it is repeated, also by another process, there is one entry.
"""

import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

from graven.v1.errors_pb2 import ErrorReason
from graven.v1.log_service_pb2 import AppendRequest, AppendResponse
from graven.v1.log_service_pb2_grpc import LogServiceStub
from graven.v1.types_pb2 import WAIT_PUBLISHED

PATIENCE_S = 60


def main(key: str, entry: str, proof: str) -> None:
    with connect(os.environ["GRAVEN_SERVER"], os.environ["GRAVEN_CA"], os.environ["GRAVEN_TOKEN"]) as channel:
        # A repeat that comes after the server forgot the key is refused, not appended again.
        issued = Timestamp()
        issued.GetCurrentTime()
        request = AppendRequest(
            log="audit",
            entry=Path(entry).read_bytes(),
            idempotency_key=key,
            idempotency_issued_at=issued,
            wait=WAIT_PUBLISHED,
        )
        answer = send(LogServiceStub(channel), request)
    Path(proof).write_bytes(answer.proof)
    print(f"entry {answer.index} is published (repeated: {answer.duplicate})")


def connect(server: str, ca: str, token: str) -> grpc.Channel:
    tls = grpc.ssl_channel_credentials(Path(ca).read_bytes())
    bearer = grpc.access_token_call_credentials(token)
    return grpc.secure_channel(urlsplit(server).netloc, grpc.composite_channel_credentials(tls, bearer))


def send(logs: LogServiceStub, request: AppendRequest) -> AppendResponse:
    """Repeats the very same request for as long as the server says that this may help."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return logs.Append(request, timeout=until - time.monotonic())
        except grpc.RpcError as error:
            reason, delay = refusal(error)
            if reason == ErrorReason.Name(ErrorReason.WAIT_TIMED_OUT):
                delay = 0  # Durable, but not published yet: the repeat goes on waiting.
            elif not reason and error.code() == grpc.StatusCode.UNAVAILABLE:
                delay = 1  # The connection broke, perhaps after the append.
            if delay is None or time.monotonic() + delay > until:
                sys.exit(f"{reason or error.code().name}: {error.details()}")
            print(f"{error.details()}: again in {delay} s", file=sys.stderr)
            time.sleep(delay)


def refusal(error: grpc.RpcError) -> tuple[str | None, float | None]:
    """The reason, a name in ErrorReason, and how long to wait before a retry, if that helps."""
    reason = delay = None
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info, retry = ErrorInfo(), RetryInfo()
        if detail.Unpack(info) and info.domain == "graven.v1":
            reason = info.reason
        elif detail.Unpack(retry):
            delay = retry.retry_delay.ToTimedelta().total_seconds()
    return reason, delay


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: append.py KEY ENTRY PROOF")
    main(*sys.argv[1:])
