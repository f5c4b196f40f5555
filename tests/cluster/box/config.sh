# shellcheck shell=bash
# Configuration of the parts, each line for a reason that README.md's pitfalls give.

write_config() {
    mkdir -p "$CONFIG/cni" "$RUN/sysctl"
    containerd_config >"$CONFIG/containerd.toml"
    cni_config >"$CONFIG/cni/10-pods.conflist"
    kubelet_config >"$CONFIG/kubelet.yaml"
    proxy_config >"$CONFIG/kube-proxy.yaml"
    # Names outside the cluster: nothing listens there, so the answer is a quick failure.
    printf 'nameserver %s\n' "$NODE_IP" >"$CONFIG/resolv.conf"
}

containerd_config() {
    cat <<END
version = 2
root = "$RUN/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$CONFIG/cni"
END
}

# Each pod on a link of its own: no bridge, so nothing depends on br_netfilter.
cni_config() {
    cat <<END
{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni-addresses",
        "ranges": [[{"subnet": "$POD_CIDR"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    }
  ]
}
END
}

kubelet_config() {
    cat <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $KEYS/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $KEYS/kubelet.crt
tlsPrivateKeyFile: $KEYS/kubelet.key
clusterDomain: cluster.local
clusterDNS: [$DNS_IP]
resolvConf: $CONFIG/resolv.conf
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
maxPods: 200
podLogsDir: $RUN/pod-logs
volumePluginDir: $RUN/volume-plugins
# Images come from archives and can't be pulled again: never collect them, and never evict for a full disk before it
# is full.
imageGCHighThresholdPercent: 100
evictionHard:
  memory.available: 200Mi
  nodefs.available: 1%
  imagefs.available: 1%
END
}

proxy_config() {
    cat <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $KEYS/kube-proxy.kubeconfig}
hostnameOverride: $NODE
clusterCIDR: $POD_CIDR
mode: iptables
oomScoreAdj: 0
conntrack:
  maxPerCore: 0
  min: 0
  tcpEstablishedTimeout: 0s
  tcpCloseWaitTimeout: 0s
  udpTimeout: 0s
  udpStreamTimeout: 0s
iptables: {minSyncPeriod: 0s}
END
}
