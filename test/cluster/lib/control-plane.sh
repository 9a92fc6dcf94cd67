#!/bin/bash
# control-plane.sh STATE: init of the control plane's namespaces: a bridge for the nodes, and etcd, kube-apiserver,
# kube-scheduler and kube-controller-manager.
set -eu
state=$1 bin=$1/bin pki=$1/pki logs=$1/logs

ip link set lo up
ip link add br0 type bridge stp_state 0 forward_delay 0
ip addr add 10.77.0.1/24 dev br0
# The cluster IP of the service default/kubernetes is an address of this bridge, so that clients in pods need no kube-proxy.
ip addr add 10.96.0.1/32 dev br0
ip link set br0 up
# Packets between pods of two nodes arrive on br0 and leave through it.
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects
echo 0 > /proc/sys/net/ipv4/conf/br0/send_redirects
touch "$state/bridge-up"

"$bin/etcd" --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
  --initial-cluster default=http://127.0.0.1:2380 > "$logs/etcd.log" 2>&1 &

# Alpha features of DRA that a driver may meet, in addition to what is on by default.
gates=DRADeviceTaintRules=true,DRAListTypeAttributes=true,DRAResourcePoolStatus=true
# Without --requestheader-client-ca-file the scheduler and the controller manager log errors all the time.
"$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 --secure-port=443 \
  --advertise-address=10.77.0.1 --service-cluster-ip-range=10.96.0.0/24 --allow-privileged=true \
  --authorization-mode=Node,RBAC --client-ca-file="$pki/ca.crt" \
  --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
  --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
  --kubelet-preferred-address-types=InternalIP --requestheader-client-ca-file="$pki/ca.crt" \
  --requestheader-allowed-names=front-proxy-client --requestheader-username-headers=X-Remote-User \
  --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
  --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$pki/sa.key" \
  --service-account-signing-key-file="$pki/sa.key" \
  --runtime-config=resource.k8s.io/v1beta2=true,resource.k8s.io/v1alpha3=true --feature-gates=$gates \
  --profiling=false --max-requests-inflight=0 --max-mutating-requests-inflight=0 --enable-priority-and-fairness=false \
  > "$logs/kube-apiserver.log" 2>&1 &
until curl -sf --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" https://127.0.0.1:443/readyz > /dev/null; do
  sleep 0.1
done
touch "$state/apiserver-ready"

"$bin/kube-scheduler" --kubeconfig="$pki/scheduler.conf" --authentication-kubeconfig="$pki/scheduler.conf" \
  --authorization-kubeconfig="$pki/scheduler.conf" --leader-elect=false --bind-address=127.0.0.1 \
  --feature-gates=$gates > "$logs/kube-scheduler.log" 2>&1 &
# All controllers use the administrator's account, not a service account each: the first pod can start 4 s earlier.
"$bin/kube-controller-manager" --kubeconfig="$pki/controller-manager.conf" --authentication-kubeconfig="$pki/controller-manager.conf" \
  --authorization-kubeconfig="$pki/controller-manager.conf" --leader-elect=false --bind-address=127.0.0.1 \
  --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" \
  --controllers='*,-persistentvolume-binder-controller,-persistentvolume-attach-detach-controller,-persistentvolume-expander-controller' \
  --feature-gates=$gates > "$logs/kube-controller-manager.log" 2>&1 &

# The namespaces end with this init process. bash reaps orphans while it waits.
while :; do sleep 3600 & wait $!; done
