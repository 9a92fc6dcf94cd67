# Sourced by the commands of this directory: paths, messages and waiting.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# State of one cluster: keys, logs, the nodes' disks. Another directory is another cluster.
state=${CLUSTER_STATE:-/tmp/dra-netdev-cluster-$UID}
# Unique name for what is outside the state directory: the cluster's cgroups.
id=dra-netdev-$(printf %s "$state" | cksum | cut -d' ' -f1)

say() { echo "${0##*/}: $*" >&2; }
die() { say "$@"; exit 1; }
need_root() { [ "$(id -u)" = 0 ] || die "needs root: it makes namespaces, mounts and cgroups"; }
# seconds_since EPOCHREALTIME prints the seconds since then, with one decimal.
seconds_since() { local us=$(( ${EPOCHREALTIME/./} - ${1/./} )); printf '%d.%d' $((us / 1000000)) $((us / 100000 % 10)); }

# wait_for SECONDS WHAT COMMAND... runs COMMAND until it succeeds; after SECONDS it fails with a message that names WHAT.
wait_for() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" > /dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { say "gave up waiting for $what"; return 1; }
    sleep 0.05
  done
}
