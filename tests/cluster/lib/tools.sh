# shellcheck shell=bash
# Where the built tools are. The versions are pinned by the go.mod and go.sum
# of each set in tools.d; their hash is part of the cache's path, so a changed
# pin builds anew and an old one is still there.

TOOLS_D=$(cd "$(dirname "${BASH_SOURCE[0]}")/../tools.d" && pwd)
# The sets that the cluster needs; the others are only asked for by name.
# shellcheck disable=SC2034  # for those who source this file
ALL_SETS=(kubernetes coredns helm)

tools_of_set() {
	case $1 in
	kubernetes) echo kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl kube-proxy ;;
	coredns | helm | helm3 | dashboards | argohealth) echo "$1" ;;
	esac
}

set_of_tool() {
	case $1 in
	coredns | helm | helm3 | dashboards | argohealth) echo "$1" ;;
	*) echo kubernetes ;;
	esac
}

set_dir() {
	local hash
	hash=$(cd "$TOOLS_D/$1" && find . -type f -print0 | sort -z | xargs -0 cat | sha256sum)
	printf '%s/tools/%s-%s' "$RMO_CACHE" "$1" "${hash:0:16}"
}

# tool_path NAME: whether it is built or not.
tool_path() {
	local dir
	dir=$(set_dir "$(set_of_tool "$1")")
	printf '%s/%s' "$dir" "$1"
}
