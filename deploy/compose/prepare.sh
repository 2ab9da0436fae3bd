#!/usr/bin/env bash
# prepare.sh ORIGIN [HOST…]: makes, once, what compose.yaml needs: a certificate authority of this machine's own, the server's
# certificate (for `graven`, `localhost` and each HOST), the log's data directory, and a token that may append and read.
#
# Nothing that is there is replaced, so it can be run again. GRAVEN names a binary to use instead of the image `graven`.
set -euo pipefail
cd "$(dirname "$0")"
origin=${1:?usage: prepare.sh PREFIX/NAME [HOST...]}
shift
name=${origin##*/}

# All paths are relative to ./state, for the image and for a binary alike.
graven() {
  if [[ -n ${GRAVEN-} ]]; then
    (cd state && "$GRAVEN" "$@")
  else
    docker run --rm --user "$(id -u):$(id -g)" --network none --volume "$PWD/state:/state" --workdir /state graven "$@"
  fi
}

# Folders that the other containers look into are open to read; keys and the token are not.
mkdir -p state/tls state/access state/data state/private
chmod 0700 state/data state/private
echo "GRAVEN_USER=$(id -u):$(id -g)" > .env
(
  umask 077
  if [[ ! -e state/private/ca.key ]]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 3650 -subj "/CN=Graven on this machine" \
      -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign \
      -keyout state/private/ca.key -out state/private/ca.pem
  fi
  if [[ ! -e state/tls/server.key ]]; then
    names="DNS:graven,DNS:localhost,IP:127.0.0.1"
    for host in "$@"; do names+=",DNS:$host"; done
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj "/CN=graven" -addext "subjectAltName=$names" \
      -addext extendedKeyUsage=serverAuth -addext keyUsage=critical,digitalSignature \
      -addext basicConstraints=critical,CA:FALSE -keyout state/private/server.key -out state/private/server.csr
    openssl x509 -req -in state/private/server.csr -copy_extensions copy -days 365 -CA state/private/ca.pem \
      -CAkey state/private/ca.key -out state/private/server.pem
    install -m 0644 state/private/ca.pem state/private/server.pem state/tls/
    mv state/private/server.key state/tls/server.key
  fi
  if [[ ! -e state/data/log ]]; then
    graven init --data-dir data/log --origin "$origin" > state/audit.vkeys
  fi
  if [[ ! -e state/private/token ]]; then
    graven token new --name local --grant "append:$name" --grant "read:$name" --credentials access/credentials.toml > state/private/token
  fi
)
cat <<DONE

The log's recovery key is state/data/log/recovery-key.pem: move it off this machine now.
Next:
  docker compose up -d
  export GRAVEN_SERVER=https://localhost:4740 GRAVEN_CA=$PWD/state/tls/ca.pem GRAVEN_TOKEN_FILE=$PWD/state/private/token
  export GRAVEN_POLICY=$PWD/state/data/log/$name.policy
DONE
