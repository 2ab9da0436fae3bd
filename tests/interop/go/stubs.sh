#!/bin/sh
# Makes the Go stubs in graven/v1, below the current folder: stubs.sh FOLDER_OF_GRAVEN_PROTOS
# `protoc` is the one that comes with Python's grpcio-tools.
set -eu
GOBIN="$PWD/bin" go install tool
PATH="$PWD/bin:$PATH" python3 -m grpc_tools.protoc -I "$1" \
  --go_out=. --go_opt=paths=source_relative \
  --go-grpc_out=. --go-grpc_opt=paths=source_relative \
  "$1"/graven/v1/*.proto
