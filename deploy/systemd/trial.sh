#!/usr/bin/env bash
# trial.sh BINARY: runs the unit under a systemd of its own, in a container whose root is this machine's with a throw-away layer on
# top, and shows that it starts, reloads, restarts and stays down as it must. Needs root and systemd-nspawn.
set -euo pipefail

outside() {
  local binary=$1 here scratch
  here=$(cd "$(dirname "$0")" && pwd)
  scratch=$(mktemp -d)
  # shellcheck disable=SC2064 # The path of now.
  trap "umount -q '$scratch/root' '$scratch' || true; rmdir '$scratch'" EXIT
  mount -t tmpfs graven-trial "$scratch"
  mkdir "$scratch"/{upper,work,root}
  mount -t overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$scratch/root"
  local root=$scratch/root
  mkdir -p "$root"/{trial,etc/sysusers.d,etc/tmpfiles.d,usr/local/bin}
  cp -r "$here" "$here/../compose" "$root/trial"
  install "$binary" "$root/usr/local/bin/graven"
  cat > "$root/etc/systemd/system/trial.service" <<'UNIT'
[Unit]
After=basic.target
[Service]
Type=oneshot
ExecStart=/bin/bash /trial/systemd/trial.sh --inside
StandardOutput=file:/trial/said
StandardError=file:/trial/said
ExecStopPost=/bin/systemctl poweroff --no-block
UNIT
  timeout 120 systemd-nspawn --quiet --directory "$root" --register=no --keep-unit --private-network --boot \
    systemd.unit=basic.target systemd.wants=trial.service > "$scratch/console" 2>&1 < /dev/null || true
  if [[ ! -e $root/trial/passed ]]; then
    tail -n 40 "$scratch/console" "$root/trial/said"
    return 1
  fi
  grep '^trial:' "$root/trial/said"
}

inside() {
  set -x
  cd /trial/systemd
  install -m 0644 graven.sysusers.conf /etc/sysusers.d/graven.conf
  systemd-sysusers
  install -m 0644 graven.tmpfiles.conf /etc/tmpfiles.d/graven.conf
  systemd-tmpfiles --create graven.conf
  install -m 0644 graven.service /etc/systemd/system/graven.service
  systemctl daemon-reload
  (cd /trial/compose && GRAVEN=/usr/local/bin/graven ./prepare.sh example.com/audit)
  install -g graven -m 0640 graven.toml /trial/compose/state/access/credentials.toml /etc/graven
  install -m 0600 /trial/compose/state/tls/server.{pem,key} /etc/graven/tls
  local ca=/trial/compose/state/tls/ca.pem data=/var/lib/graven/data process

  systemctl start graven
  is ExecMainStatus 2
  systemctl stop graven
  say "without a data directory it does not come up, and makes none"
  [[ ! -e $data ]]

  setpriv --reuid=graven --regid=graven --clear-groups graven init --data-dir "$data" --origin example.com/audit
  systemctl start graven
  answers graven health
  answers curl --silent --fail --cacert "$ca" https://localhost:4740/readyz
  answers curl --silent --fail --output /trial/metrics http://localhost:4741/metrics
  grep -q '^process_start_time_seconds ' /trial/metrics
  process=$(systemctl show graven -p MainPID --value)
  grep -qP '^CapEff:\t0+$' "/proc/$process/status"
  grep -qP '^Seccomp:\t2$' "/proc/$process/status"
  [[ $(stat -c %U "/proc/$process") == graven ]]
  say "it serves over TLS with the key that systemd handed over, as its own user, without a capability"

  systemctl reload graven
  answers logged '"read again","what":"tls"'
  answers logged '"read again","what":"credentials"'
  say "it reloads"

  kill -KILL "$process"
  is NRestarts 1
  answers curl --silent --fail --cacert "$ca" https://localhost:4740/readyz
  say "it is restarted when it is killed"

  systemctl stop graven
  is ExecMainStatus 0
  is Result success
  say "it stops with everything sealed"

  cp -a "$data" /trial/kept
  dd if=/dev/urandom of="$data/logs/audit/signer" bs=1 count=64 seek=20 conv=notrunc
  systemctl start graven
  stays_down_with 1
  say "it stays down when its data is damaged"

  # The journal of before with the signatures of after.
  rm -r "$data" && cp -a /trial/kept "$data"
  systemctl start graven
  answers append /trial/systemd/graven.service
  systemctl stop graven
  rm -r "$data/journal" && cp -a /trial/kept/journal "$data/journal"
  systemctl start graven
  stays_down_with 4
  say "it stays down when its data went back in time"

  # Storage that fails all at once: folders take no new files.
  rm -r "$data" && cp -a /trial/kept "$data"
  systemctl start graven
  answers graven health
  find "$data/logs" -type d -exec chmod a-w {} +
  seq 1000 > /trial/lines
  append --lines /trial/lines || true
  stays_down_with 74
  say "it stays down when storage failed"
  touch /trial/passed
}

append() {
  graven append --log audit --wait published --server https://localhost:4740 --ca /trial/compose/state/tls/ca.pem \
    --token-file /trial/compose/state/private/token --policy /var/lib/graven/data/audit.policy "$@" > /dev/null
}
# stays_down_with CODE: it has ended with this, and is not started again.
stays_down_with() {
  is ExecMainStatus "$1"
  sleep 4
  is ActiveState failed
  is NRestarts 0
}
# is PROPERTY VALUE: the unit's property has this value, now or soon.
is() {
  answers property_is "$1" "$2"
}
property_is() {
  [[ $(systemctl show graven -p "$1" --value) == "$2" ]]
}
logged() {
  journalctl -u graven --no-pager -o cat | grep -q "$1"
}
# answers COMMAND…: it succeeds, now or within ten seconds.
answers() {
  local tries
  for ((tries = 0; tries < 50; tries++)); do
    if "$@"; then return 0; fi
    sleep 0.2
  done
  return 1
}
say() {
  echo "trial: $1"
}

if [[ $1 == --inside ]]; then inside; else outside "$1"; fi
