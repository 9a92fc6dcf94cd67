# Sourced by the commands of this directory: where things are, and how they speak.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# State of one cluster: keys, logs, the nodes' disks. Two clusters live side by side in two directories.
state=${CLUSTER_STATE:-/tmp/dra-netdev-cluster-$UID}
# Keys the names of what is not in the state directory: its cgroups.
id=dra-netdev-$(printf %s "$state" | cksum | cut -d' ' -f1)

say() { echo "${0##*/}: $*" >&2; }
die() { say "$@"; exit 1; }
need_root() { [ "$(id -u)" = 0 ] || die "needs root: it makes namespaces, mounts and cgroups"; }
# seconds_since EPOCHREALTIME prints the seconds since then, with one decimal.
seconds_since() { local us=$(( ${EPOCHREALTIME/./} - ${1/./} )); printf '%d.%d' $((us / 1000000)) $((us / 100000 % 10)); }

# wait_for SECONDS WHAT COMMAND... runs COMMAND until it succeeds, and says what was waited for when it does not.
wait_for() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" > /dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { say "gave up waiting for $what"; return 1; }
    sleep 0.05
  done
}
