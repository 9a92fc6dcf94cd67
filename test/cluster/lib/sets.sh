# Sourced after common.sh: sets of namespaces. The control plane is one ("control-plane"), each node is one ("n1", "n2"...).
# A set has its own cgroup in every hierarchy, and an init process that keeps its namespaces alive. Killing the cgroup ends
# all its processes; the kernel then frees its network, mounts and process ids.
# shellcheck shell=bash

# cgroup_dirs SET prints the set's directory in every v1 hierarchy and in the v2 tree.
cgroup_dirs() {
  local controller path root
  while IFS=: read -r _ controller path; do
    case $controller in
      name=*) root=/sys/fs/cgroup/${controller#name=} ;;
      ?*) root=/sys/fs/cgroup/$controller ;;
      # Together with v1, the v2 tree is mounted at unified. With v2 alone, only the root can have processes and delegate
      # controllers.
      "") root=/sys/fs/cgroup/unified; [ -d $root ] || root=/sys/fs/cgroup path=/ ;;
    esac
    [ ! -e "$root/cgroup.procs" ] || echo "$root${path%/}/$id-$1"
  done < /proc/self/cgroup
}

# make_cgroups SET records each cgroup before it makes it, so that "down" finds it after a crash.
make_cgroups() {
  local dir file
  cgroup_dirs "$1" > "$state/$1.cgroups"
  while read -r dir; do
    mkdir -p "$dir"
    # A new v1 cpuset is empty and accepts no process until it has CPUs and memory.
    for file in cpuset.cpus cpuset.mems; do
      [[ $dir != */cpuset/* ]] || cat "${dir%/*}/$file" > "$dir/$file"
    done
  done < "$state/$1.cgroups"
}

# join_cgroups SET moves this process into the set's cgroup.
join_cgroups() {
  local dir
  while read -r dir; do
    # See hand_down_controllers.
    [ ! -d "$dir/init" ] || dir=$dir/init
    echo $BASHPID > "$dir/cgroup.procs"
  done < "$state/$1.cgroups"
}

# start_set SET COMMAND... runs COMMAND as the init of a new set and records its pid on the host.
start_set() {
  local set=$1 parent pid=
  shift
  make_cgroups "$set"
  # In an empty directory: for a container without a log, which only a broken client makes, the kubelet deletes the files of
  # its working directory (pattern "*"). That must be neither the caller's nor the machine's root.
  mkdir -p "$state/empty"
  ( join_cgroups "$set"; cd "$state/empty"; exec setsid unshare --net --mount --pid --uts --cgroup --fork --mount-proc -- "$@" ) \
    > "$state/logs/$set.log" 2>&1 < /dev/null &
  parent=$!
  while [ -z "$pid" ]; do
    kill -0 $parent 2> /dev/null || { cat "$state/logs/$set.log" >&2; die "$set did not start"; }
    # unshare is there before it has forked; until then the file is empty.
    [ "$(cat /proc/$parent/comm 2> /dev/null)" != unshare ] || read -r pid _ < /proc/$parent/task/$parent/children || true
    sleep 0.01
  done
  hand_down_controllers "$set"
  echo "$pid $(readlink "/proc/$pid/ns/net")" > "$state/$set.pid"
}

# hand_down_controllers SET: with v2 alone, a cgroup can delegate controllers only if all its processes are in leaves.
hand_down_controllers() {
  local dir name
  [ -e /sys/fs/cgroup/cgroup.controllers ] || return 0
  dir=$(cat "$state/$1.cgroups")
  mkdir "$dir/init"
  while read -r name; do echo "$name" > "$dir/init/cgroup.procs" || true; done < "$dir/cgroup.procs"
  for name in $(cat "$dir/cgroup.controllers"); do echo "+$name" > "$dir/cgroup.subtree_control"; done
}

# pid_of SET prints the pid of the set's init, or fails if it does not run. It compares namespaces because pids are reused.
pid_of() {
  local pid net
  read -r pid net 2> /dev/null < "$state/$1.pid" && [ "$(readlink "/proc/$pid/ns/net")" = "$net" ] && echo "$pid"
}

# enter SET COMMAND... replaces this process by COMMAND in the set's namespaces and cgroup.
enter() {
  local set=$1 pid
  shift
  [ ! -e "$state/$set.vm" ] || { in_vm "$set" "$@"; exit; }
  pid=$(pid_of "$set") || die "$set is not running"
  join_cgroups "$set"
  exec nsenter --target "$pid" --net --mount --pid --uts --cgroup -- "$@"
}

# in_vm SET COMMAND... runs COMMAND, without input, on a node that is a VM (test/vm/node), and returns its status.
in_vm() {
  local pid address port out
  pid=$(pid_of control-plane)
  read -r address port < "$state/$1.vm"
  shift
  out=$(echo "{ $(printf '%q ' "$@"); } < /dev/null 2>&1; printf '\\n%d' \$?" | nsenter --target "$pid" --net busybox nc "$address" "$port") || true
  [ "${out%$'\n'*}" = "" ] || printf '%s' "${out%$'\n'*}"
  [[ ${out##*$'\n'} =~ ^[0-9]+$ ]] || { say "no answer from the VM"; return 125; }
  return "${out##*$'\n'}"
}

# kill_set SET kills all processes of a set and removes its cgroups. Succeeds if the set does not exist.
kill_set() {
  local dir
  rm -f "$state/$1.pid"
  [ -e "$state/$1.cgroups" ] || return 0
  while read -r dir; do
    [ ! -d "$dir" ] || kill_cgroup "$dir" || say "could not remove $dir"
  done < "$state/$1.cgroups"
  rm -f "$state/$1.cgroups"
}

kill_cgroup() {
  local end=$((SECONDS + 10))
  while [ -d "$1" ] && [ $SECONDS -lt $end ]; do
    # Read the list again each time: a process that was just forked may be missing.
    if [ -e "$1/cgroup.kill" ]; then echo 1 > "$1/cgroup.kill"
    else find "$1" -name cgroup.procs -exec cat {} + 2> /dev/null | xargs -r kill -KILL 2> /dev/null || true; fi
    find "$1" -depth -type d -exec rmdir {} + 2> /dev/null || sleep 0.02
  done
  [ ! -d "$1" ]
}

# start_node INDEX boots a node from its disk, which may be empty, and connects it to the control plane's bridge.
start_node() {
  local node pid bridge
  node=n$1
  mkdir -p "$state/$node"
  # Each boot gets its own id, as on a real machine; without this the node would see the host's.
  cat /proc/sys/kernel/random/uuid > "$state/$node/boot_id"
  start_set "$node" "$here/lib/node.sh" "$1" "$state"
  pid=$(pid_of "$node") bridge=$(pid_of control-plane)
  nsenter --target "$bridge" --net ip link add "$node" type veth peer name eth0 netns "$pid"
  nsenter --target "$bridge" --net ip link set "$node" master br0 up
  nsenter --target "$bridge" --net ip route replace "10.78.$1.0/24" via "10.77.0.$((10 + $1))"
}

# kubectl ARGUMENTS... from the control plane's network: its API server cannot be reached from the host's.
kubectl() {
  local pid
  pid=$(pid_of control-plane) || { say "no cluster is up: run test/cluster/up"; return 1; }
  nsenter --target "$pid" --net "$state/bin/kubectl" --kubeconfig "$state/admin.conf" "$@"
}

# node_ready NODE succeeds when this boot of the node, not the one before, has reported Ready.
node_ready() {
  [ "$(kubectl get node "$1" -o jsonpath='{.status.nodeInfo.bootID} {.status.conditions[?(@.type=="Ready")].status}')" = \
    "$(cat "$state/$1/boot_id") True" ]
}
