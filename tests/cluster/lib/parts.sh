# shellcheck shell=bash
# The parts of the cluster: how each is started and when it is ready.

ALL_PARTS=(holder etcd kube-apiserver kube-controller-manager kube-scheduler
	containerd kubelet kube-proxy coredns volume-modes)

# Makes the mount namespace that all parts share: the pods' mounts and the
# content of PRIVATE_DIRS exist only in there, and vanish with the last process.
start_holder() {
	local dir pairs=()
	for dir in "${PRIVATE_DIRS[@]}"; do
		mkdir -p "$dir" "$(private_dir "$dir")"
		pairs+=("$(private_dir "$dir")" "$dir")
	done
	# shellcheck disable=SC2016  # expanded by the inner shell
	start_part holder unshare --mount --propagation private bash -c '
		set -e
		mount --make-rshared /
		ready=$1
		shift
		while (($# > 0)); do
			mount --bind "$1" "$2"
			shift 2
		done
		: >"$ready"
		exec sleep infinity' holder "$RMO_CLUSTER_DIR/run/holder-ready" "${pairs[@]}"
	wait_for "namespaces are there" 10 test -e "$RMO_CLUSTER_DIR/run/holder-ready"
}

start_etcd() {
	start_part etcd etcd --name rmo --data-dir "$RMO_CLUSTER_DIR/etcd" --logger zap --log-level warn \
		--listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
		--listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
		--initial-cluster rmo=http://127.0.0.1:2380
}

start_apiserver() {
	local pki=$RMO_CLUSTER_DIR/pki
	start_part kube-apiserver "$RMO_CLUSTER_DIR/bin/kube-apiserver" \
		--etcd-servers=http://127.0.0.1:2379 \
		--bind-address="$NODE_IP" --advertise-address="$NODE_IP" --secure-port=6443 \
		--service-cluster-ip-range="$SERVICE_CIDR" --allow-privileged=true \
		--client-ca-file="$pki/ca.crt" --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
		--requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy-client \
		--requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
		--requestheader-extra-headers-prefix=X-Remote-Extra- \
		--kubelet-certificate-authority="$pki/ca.crt" --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" \
		--kubelet-client-key="$pki/apiserver-kubelet-client.key" --kubelet-preferred-address-types=InternalIP \
		--service-account-issuer=https://kubernetes.default.svc.cluster.local \
		--service-account-signing-key-file="$pki/service-account.key" --service-account-key-file="$pki/service-account.pub" \
		--authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
		--audit-policy-file="$RMO_CLUSTER_DIR/conf/audit.yaml" --audit-log-path="$RMO_CLUSTER_DIR/audit.log" \
		--audit-log-format=json --audit-log-maxsize=100 --audit-log-maxbackup=2
	wait_for "API server answers" 90 admin get --raw /readyz
}

start_controllers() {
	local pki=$RMO_CLUSTER_DIR/pki kubeconfigs=$RMO_CLUSTER_DIR/kubeconfigs
	start_part kube-controller-manager "$RMO_CLUSTER_DIR/bin/kube-controller-manager" \
		--kubeconfig="$kubeconfigs/controller-manager" \
		--authentication-kubeconfig="$kubeconfigs/controller-manager" \
		--authorization-kubeconfig="$kubeconfigs/controller-manager" \
		--bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials=true \
		--root-ca-file="$pki/ca.crt" --service-account-private-key-file="$pki/service-account.key" \
		--cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
		--enable-hostpath-provisioner=true
	start_part kube-scheduler "$RMO_CLUSTER_DIR/bin/kube-scheduler" \
		--kubeconfig="$kubeconfigs/scheduler" --authentication-kubeconfig="$kubeconfigs/scheduler" \
		--authorization-kubeconfig="$kubeconfigs/scheduler" --bind-address=127.0.0.1 --leader-elect=false
}

# The provisioner makes volumes that only root may write, and Redis is not
# root: open each one when it appears, long before a pod can be started on it.
start_volume_modes() {
	# shellcheck disable=SC2016  # expanded by the inner shell
	start_part volume-modes bash -c '
		inotifywait --quiet --monitor --event create --format %f "$1" |
			while read -r volume; do chmod 0777 "$1/$volume" || true; done' \
		volume-modes "$(private_dir /tmp/hostpath_pv)"
}

start_containerd() {
	start_part containerd containerd --config "$RMO_CLUSTER_DIR/conf/containerd.toml"
	wait_for "containerd answers" 30 cri_images version
}

start_node() {
	start_part kubelet "$RMO_CLUSTER_DIR/bin/kubelet" --config="$RMO_CLUSTER_DIR/conf/kubelet.yaml" \
		--kubeconfig="$RMO_CLUSTER_DIR/kubeconfigs/kubelet" --root-dir="$RMO_CLUSTER_DIR/kubelet" \
		--cert-dir="$RMO_CLUSTER_DIR/pki" --node-ip="$NODE_IP" --hostname-override="$NODE_NAME"
	start_part kube-proxy "$RMO_CLUSTER_DIR/bin/kube-proxy" --config="$RMO_CLUSTER_DIR/conf/kube-proxy.yaml"
	start_part coredns "$RMO_CLUSTER_DIR/bin/coredns" -conf "$RMO_CLUSTER_DIR/conf/Corefile"
}

node_is_ready() {
	admin wait --for=condition=Ready "node/$NODE_NAME" --timeout=0 >/dev/null
}

dns_answers() {
	nsenter --net="$NETNS_FILE" busybox nslookup -type=a \
		kubernetes.default.svc.cluster.local "$NODE_IP" | grep "$API_SERVICE_IP"
}

wait_for_node() {
	export WAIT_LOG=$RMO_CLUSTER_DIR/log/kubelet.log
	wait_for "node is Ready" 90 node_is_ready
	WAIT_LOG=$RMO_CLUSTER_DIR/log/coredns.log
	wait_for "DNS answers" 60 dns_answers
	WAIT_LOG=$RMO_CLUSTER_DIR/log/kube-proxy.log
	wait_for "services are reachable" 60 \
		nsenter --net="$NETNS_FILE" curl --silent --insecure --max-time 2 --output /dev/null "https://$API_SERVICE_IP/readyz"
	WAIT_LOG=$RMO_CLUSTER_DIR/log/kube-controller-manager.log
	wait_for "default service account exists" 60 admin --namespace default get serviceaccount default
}

# Everything runs, and answers: in a second, since `up` asks it first.
cluster_is_healthy() {
	local part
	for part in "${ALL_PARTS[@]}"; do
		part_pid "$part" >/dev/null || return 1
	done
	[[ -e $RMO_CLUSTER_DIR/up ]] && timeout 5 nsenter --net="$NETNS_FILE" "$RMO_CLUSTER_DIR/bin/kubectl" \
		--kubeconfig="$ADMIN_KUBECONFIG" --request-timeout=4s wait --for=condition=Ready "node/$NODE_NAME" --timeout=0
} >/dev/null 2>&1
