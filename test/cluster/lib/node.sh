#!/bin/bash
# node.sh INDEX STATE: init of one node's namespaces: sets up the node's mounts and network, then runs containerd and kubelet.
# STATE/nINDEX is the node's disk; everything else, such as /run, is new with each boot.
set -eu
index=$1 node=n$1 state=$2 disk=$2/n$1 bin=$2/bin logs=$2/logs
mkdir -p "$disk"/{containerd,kubelet,pods,cni,nri,sysctl,tmp}
# Temporary files that survive a power cut must not accumulate in the host's /tmp.
export TMPDIR=$disk/tmp PATH=$bin:$PATH
log() { echo "$EPOCHREALTIME $*"; }

# /proc is this pid namespace's already; a new sysfs shows this network namespace's /sys/class/net.
mount -t sysfs sysfs /sys
if ! grep -q '^[0-9]*:[^:]' /proc/self/cgroup; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
  mount -t tmpfs cgroup /sys/fs/cgroup
  while IFS=: read -r _ controller _; do
    dir=/sys/fs/cgroup/${controller#name=}
    case $controller in
      "") mkdir "${dir}unified"; mount -t cgroup2 cgroup2 "${dir}unified" ;;
      name=*) mkdir "$dir"; mount -t cgroup -o "none,$controller" cgroup "$dir" ;;
      *) mkdir "$dir"; mount -t cgroup -o "$controller" cgroup "$dir" ;;
    esac
  done < /proc/self/cgroup
fi
mount -t tmpfs tmpfs /run

# The kubelet requires these machine-wide settings. It gets files with these values; the host's settings do not change.
while read -r file value; do
  echo "$value" > "$disk/sysctl/${file//\//.}"
  mount --bind "$disk/sysctl/${file//\//.}" "/proc/sys/$file"
done << 'END'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
END
mount --bind "$disk/boot_id" /proc/sys/kernel/random/boot_id

# What the node writes to /etc, /opt and /var stays on its disk. Do not mount anything on a directory of the host: if the
# host removed that directory, it would be unmounted here.
for dir in etc opt var; do
  mkdir -p "$disk/root/$dir/upper" "$disk/root/$dir/work"
  mount -t overlay overlay -o "lowerdir=/$dir,upperdir=$disk/root/$dir/upper,workdir=$disk/root/$dir/work" "/$dir"
done
mkdir -p /var/lib/kubelet /var/log/pods /etc/cdi
mount --bind "$disk/kubelet" /var/lib/kubelet
mount --bind "$disk/pods" /var/log/pods
mount --make-rshared /

hostname "$node"
ip link set lo up
until ip link show eth0 > /dev/null 2>&1; do sleep 0.02; done
ip addr add "10.77.0.$((10 + index))/24" dev eth0
ip link set eth0 up
ip route add default via 10.77.0.1
echo 1 > /proc/sys/net/ipv4/ip_forward

cat > "$disk/cni/10-bridge.conflist" << END
{"cniVersion": "1.0.0", "name": "podnet", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": [[{"subnet": "10.78.$index.0/24"}]]}}]}
END
cat > "$disk/containerd.toml" << END
version = 3
root = "$disk/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.differ.v1.erofs"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "cluster.test/pause:1"
[plugins.'io.containerd.cri.v1.runtime']
  # A container that lacks CAP_SYS_RESOURCE may not lower oom_score_adj.
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
  enable_cdi = true
  cdi_spec_dirs = ["/etc/cdi", "/var/run/cdi"]
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["$bin/cni"]
    conf_dir = "$disk/cni"
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      runtime_path = "$bin/containerd-shim-runc-v2"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = "$bin/runc"
        SystemdCgroup = false
[plugins.'io.containerd.nri.v1.nri']
  disable = false
  socket_path = "/run/nri/nri.sock"
  plugin_path = "$disk/nri/plugins"
  plugin_config_path = "$disk/nri/config"
  plugin_registration_timeout = "5s"
  plugin_request_timeout = "2s"
  disable_connections = false
END
# syncFrequency: with the default of 1 min, a pod whose claim could not be prepared, as the driver was not yet
# there after a reboot, waits up to 1.5 min for the next attempt.
cat > "$disk/kubelet.yaml" << END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 10.77.0.$((10 + index))
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
authorization: {mode: Webhook}
failCgroupV1: false
cgroupDriver: cgroupfs
enforceNodeAllocatable: []
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
imageServiceEndpoint: unix:///run/containerd/containerd.sock
failSwapOn: false
syncFrequency: 10s
localStorageCapacityIsolation: false
resolvConf: ""
clusterDomain: cluster.test
clusterDNS: [10.96.0.1]
makeIPTablesUtilChains: false
evictionHard: {nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", memory.available: "10Mi"}
imageGCHighThresholdPercent: 100
nodeStatusReportFrequency: 30s
serializeImagePulls: false
eventRecordQPS: 100
eventBurst: 200
kubeAPIQPS: 100
kubeAPIBurst: 200
registryPullQPS: 0
podLogsDir: /var/log/pods
protectKernelDefaults: true
logging: {verbosity: 2}
END

# start SERVICE runs it as a child of this init, as a service manager would, and writes its pid to a file.
start() {
  case $1 in
    containerd) exec containerd --config "$disk/containerd.toml" ;;
    kubelet) exec kubelet --config="$disk/kubelet.yaml" --kubeconfig="$state/pki/$node.conf" --hostname-override="$node" \
      --node-ip="10.77.0.$((10 + index))" --root-dir=/var/lib/kubelet --cert-dir="$disk/kubelet-certs" ;;
  esac >> "$logs/$node-$1.log" 2>&1 3>&- &
  echo $! > "/run/$1.pid"
}
# The command "node" writes the names of services to start to this pipe.
rm -f "$disk/start"
mkfifo "$disk/start"
exec 3<> "$disk/start"

start containerd
until ctr version > /dev/null 2>&1; do sleep 0.05; done
for image in "$state"/images/*.tar; do
  [ -e "$disk/images-imported" ] || ctr --namespace k8s.io images import --local "$image"
done
# The examples use an image that real clusters can pull.
[ -e "$disk/images-imported" ] || ctr --namespace k8s.io images tag cluster.test/netshell:1 docker.io/library/busybox:1
touch "$disk/images-imported"
log "containerd is ready"
until [ -e "$state/apiserver-ready" ]; do sleep 0.05; done
start kubelet
log "kubelet started"

# The namespaces end with this init process. bash reaps orphans while it reads.
while :; do read -r service <&3 && start "$service"; done
