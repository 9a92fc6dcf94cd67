# Sourced with CLUSTER=kind: the same commands for a kind cluster, on machines that have docker. Node n1 is its first
# worker. The default cluster does not use this file.
# shellcheck shell=bash

cluster=dra-netdev
config=$state.kubeconfig
for command in docker kind kubectl; do command -v $command > /dev/null || die "CLUSTER=kind needs docker, kind and kubectl: $command is missing"; done
docker info > /dev/null 2>&1 || die "CLUSTER=kind needs docker: its daemon does not answer"

workers() { kind get nodes --name $cluster 2> /dev/null | grep -v control-plane | sort -V; }
worker() { workers | sed -n "${1#n}p" | grep . || die "no node $1"; }
kind_kubectl() { command kubectl --kubeconfig "$config" "$@"; }
kind_helm() { command helm --kubeconfig "$config" "$@"; }

# The configuration sets the number of nodes.
kind_up() {
  local node link
  [ -z "$(workers)" ] || { say "the cluster is up already"; return; }
  kind create cluster --name $cluster --config "$here/../e2e/kind.yaml" --kubeconfig "$config" --wait 120s
  for node in $(workers); do
    for link in dummy0 dummy1; do docker exec "$node" ip link add $link type dummy; done
  done
}
kind_down() { kind delete cluster --name $cluster --kubeconfig "$config"; rm -f "$config"; }
kind_load() { local image; for image; do kind load image-archive --name $cluster "$image"; done; }
kind_node() {
  local node
  node=$(worker "$1")
  case $2 in
    reboot) docker restart --time 0 "$node" ;;
    service) case $4 in kill) docker exec "$node" systemctl kill -s KILL "$3" ;; *) docker exec "$node" systemctl "$4" "$3" ;; esac ;;
    *) docker exec -i "$node" "${@:2}" ;;
  esac
}
