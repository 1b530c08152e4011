# shellcheck shell=bash
# Addresses of the cluster and places inside its state directory.
# The addresses exist only inside the cluster's own network namespace.

export NODE_NAME=rmo-node
export NODE_IP=172.30.0.2
export POD_CIDR=10.244.0.0/24
export SERVICE_CIDR=10.96.0.0/16
export API_SERVICE_IP=10.96.0.1
export API_URL=https://$NODE_IP:6443

export NETNS_FILE=/run/netns/$RMO_NETNS
export CONTAINERD_SOCKET=$RMO_CLUSTER_DIR/run/containerd.sock
export CONTAINERD_STATE=$RMO_CLUSTER_DIR/run/containerd
export ADMIN_KUBECONFIG=$RMO_CLUSTER_DIR/kubeconfig
export PAUSE_IMAGE=localhost/rmo-pause:1

# Places that Kubernetes and containerd have written into their code. In the
# cluster's mount namespace each is a directory of the state directory; on the
# machine itself it stays empty, and `down` removes it.
export PRIVATE_DIRS=(/tmp/hostpath_pv /run/containerd /var/log/containers /var/lib/cni /var/lib/kubelet)

# private_dir DIR: where its content really is.
private_dir() { printf '%s/private%s' "$RMO_CLUSTER_DIR" "${1//\//-}"; }

# Not inside the state directory, because `down` removes that while it holds
# the lock.
export CLUSTER_LOCK=/run/lock/redis-memory-operator-$RMO_NETNS.lock

# One `up` or `down` at a time on this machine, whichever checkout it is from.
lock_cluster() {
	mkdir -p /run/lock
	exec 9>"$CLUSTER_LOCK"
	flock -n 9 && return 0
	log "another up or down is running: waiting for it"
	flock -w 900 9 || die "another up or down still holds $CLUSTER_LOCK after 900 s"
}

# Clients with the administrator's rights.
admin() { nsenter --net="$NETNS_FILE" "$RMO_CLUSTER_DIR/bin/kubectl" --kubeconfig="$ADMIN_KUBECONFIG" "$@"; }
cri_images() { ctr --address "$CONTAINERD_SOCKET" --namespace k8s.io "$@"; }
