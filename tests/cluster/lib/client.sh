# shellcheck shell=bash
# Running a client against the cluster, embedded or existing.

# run_client NAME ARGUMENTS...: replaces this process, so that input, output
# and exit code are the client's own.
run_client() {
	local name=$1 path here
	shift
	if [[ $USE_EXISTING_CLUSTER == 1 ]]; then
		: "${KUBECONFIG:?USE_EXISTING_CLUSTER=1 needs KUBECONFIG: the file of the cluster to test on}"
		[[ -z ${RMO_KUBECONFIG:-} ]] || export KUBECONFIG=$RMO_KUBECONFIG
		path=$(command -v "$name") || {
			here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
			path=$("$here/tools" "$name")
			path=${path#* }
		}
		exec "$path" "$@"
	fi
	enter_cluster "$RMO_CLUSTER_DIR/bin/$name" "$@"
}

# enter_cluster COMMAND...: inside the embedded cluster's network.
enter_cluster() {
	if [[ ! -e /run/netns/$RMO_NETNS || ! -e $RMO_CLUSTER_DIR/kubeconfig ]]; then
		echo "error: the test cluster is not up: run tests/cluster/up" >&2
		exit 1
	fi
	if ((EUID != 0)); then
		echo "error: the test cluster is root's: only root can enter its network" >&2
		exit 1
	fi
	export KUBECONFIG=${RMO_KUBECONFIG:-$RMO_CLUSTER_DIR/kubeconfig}
	# A proxy of the machine's own network leads nowhere from in there.
	unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY
	exec nsenter --net="/run/netns/$RMO_NETNS" "$@"
}
