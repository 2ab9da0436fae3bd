#!/bin/sh
# Makes the Python stubs in graven/v1, below the current folder: stubs.sh FOLDER_OF_GRAVEN_PROTOS
set -eu
python3 -m grpc_tools.protoc -I "$1" --python_out=. --pyi_out=. --grpc_python_out=. "$1"/graven/v1/*.proto
