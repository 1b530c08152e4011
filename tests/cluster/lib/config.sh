# shellcheck shell=bash
# Configuration files of the parts, written into $RMO_CLUSTER_DIR/conf.

write_configs() {
	local conf=$RMO_CLUSTER_DIR/conf
	mkdir -p "$conf/cni"
	config_audit >"$conf/audit.yaml"
	config_containerd >"$conf/containerd.toml"
	config_cni >"$conf/cni/10-bridge.conflist"
	config_kubelet >"$conf/kubelet.yaml"
	config_kube_proxy >"$conf/kube-proxy.yaml"
	config_coredns >"$conf/Corefile"
	config_first_objects >"$conf/first-objects.yaml"
}

# Every write is recorded, so that a test can tell what the operator did and
# that it did nothing else; of reads only the operator's, which show that each
# of its rights is used. Those of others would only fill the file.
config_audit() {
	cat <<-'YAML'
		apiVersion: audit.k8s.io/v1
		kind: Policy
		omitStages: [RequestReceived]
		rules:
		- level: Metadata
		  verbs: [create, update, patch, delete, deletecollection]
		- level: Metadata
		  users: ["system:serviceaccount:redis-memory-operator:redis-memory-operator"]
		- level: None
	YAML
}

config_containerd() {
	cat <<-TOML
		version = 2
		root = "$RMO_CLUSTER_DIR/containerd"
		state = "$CONTAINERD_STATE"
		disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
		  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
		[grpc]
		  address = "$CONTAINERD_SOCKET"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "$PAUSE_IMAGE"
		  # Without CAP_SYS_RESOURCE a lower oom_score_adj is refused, and runc dies.
		  restrict_oom_score_adj = true
		  disable_apparmor = true
		  # Else the pods' namespaces are mounted in /run/netns, and stay there.
		  netns_mounts_under_state_dir = true
		  [plugins."io.containerd.grpc.v1.cri".cni]
		    bin_dir = "/usr/lib/cni"
		    conf_dir = "$RMO_CLUSTER_DIR/conf/cni"
		  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
		    runtime_type = "io.containerd.runc.v2"
		    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
		      SystemdCgroup = false
	TOML
}

config_cni() {
	cat <<-JSON
		{"cniVersion": "0.4.0", "name": "rmo", "plugins": [
		  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
		   "ipam": {"type": "host-local", "dataDir": "$RMO_CLUSTER_DIR/cni", "ranges": [[{"subnet": "$POD_CIDR"}]], "routes": [{"dst": "0.0.0.0/0"}]}}
		]}
	JSON
}

config_kubelet() {
	local pki=$RMO_CLUSTER_DIR/pki
	cat <<-YAML
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		address: $NODE_IP
		authentication:
		  anonymous: {enabled: false}
		  webhook: {enabled: true}
		  x509: {clientCAFile: $pki/ca.crt}
		authorization: {mode: Webhook}
		tlsCertFile: $pki/kubelet-serving.crt
		tlsPrivateKeyFile: $pki/kubelet-serving.key
		containerRuntimeEndpoint: unix://$CONTAINERD_SOCKET
		clusterDomain: cluster.local
		clusterDNS: [$NODE_IP]
		# No outside name server: a test must not depend on one.
		resolvConf: ""
		cgroupRoot: /$RMO_NETNS
		cgroupDriver: cgroupfs
		failCgroupV1: false
		failSwapOn: false
		enforceNodeAllocatable: []
		oomScoreAdj: 0
		# The machine is shared with builds: a full disk or busy memory must not
		# evict test pods, and images cannot be pulled again once collected.
		evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%"}
		imageGCHighThresholdPercent: 100
		imageGCLowThresholdPercent: 99
		# A test that makes a container crash waits seconds, not five minutes.
		crashLoopBackOff: {maxContainerRestartPeriod: 10s}
		podLogsDir: $RMO_CLUSTER_DIR/pod-logs
		volumePluginDir: $RMO_CLUSTER_DIR/volume-plugins
		logging: {verbosity: 1}
	YAML
}

config_kube_proxy() {
	cat <<-YAML
		apiVersion: kubeproxy.config.k8s.io/v1alpha1
		kind: KubeProxyConfiguration
		clientConnection: {kubeconfig: $RMO_CLUSTER_DIR/kubeconfigs/kube-proxy}
		mode: nftables
		clusterCIDR: $POD_CIDR
		hostnameOverride: $NODE_NAME
		bindAddress: $NODE_IP
		healthzBindAddress: $NODE_IP:10256
		metricsBindAddress: $NODE_IP:10249
		oomScoreAdj: 0
		# The limits are the machine's, not the namespace's: leave them alone.
		conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
	YAML
}

config_coredns() {
	cat <<-CONF
		cluster.local:53 in-addr.arpa:53 {
		  bind $NODE_IP
		  errors
		  ready $NODE_IP:8181
		  kubernetes cluster.local in-addr.arpa {
		    kubeconfig $RMO_CLUSTER_DIR/kubeconfigs/coredns
		    # A pod that comes back has another address at once.
		    ttl 1
		  }
		}
		# "No such name" at once, where a name server that is not there would make
		# Redis wait for it.
		.:53 {
		  bind $NODE_IP
		  template ANY ANY {
		    rcode NXDOMAIN
		  }
		}
	CONF
}

config_first_objects() {
	cat <<-'YAML'
		apiVersion: storage.k8s.io/v1
		kind: StorageClass
		metadata:
		  name: standard
		  annotations: {storageclass.kubernetes.io/is-default-class: "true"}
		provisioner: kubernetes.io/host-path
		reclaimPolicy: Delete
		---
		apiVersion: rbac.authorization.k8s.io/v1
		kind: ClusterRole
		metadata: {name: "system:coredns"}
		rules:
		- apiGroups: [""]
		  resources: [endpoints, services, pods, namespaces]
		  verbs: [list, watch]
		- apiGroups: [discovery.k8s.io]
		  resources: [endpointslices]
		  verbs: [list, watch]
		---
		apiVersion: rbac.authorization.k8s.io/v1
		kind: ClusterRoleBinding
		metadata: {name: "system:coredns"}
		roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}
		subjects:
		- {apiGroup: rbac.authorization.k8s.io, kind: User, name: "system:coredns"}
	YAML
}
