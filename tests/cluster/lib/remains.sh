# shellcheck shell=bash
# Finding everything that a cluster leaves on a machine, without trusting any
# record of its own: `down` removes by it, `leaks` reports by it.

# Processes that are certainly ours: in the cluster's cgroup (parts, shims,
# pods) or in its network namespace (clients, helpers of a test). Never this
# script and its ancestors.
our_pids() {
	local netns="" ours ancestors pid link
	ancestors=$(_ancestors)
	ours=" $(our_cgroup_pids | tr '\n' ' ')"
	netns=$(stat --dereference --format=%i "$NETNS_FILE" 2>/dev/null) || netns=none
	for pid in /proc/[0-9]*; do
		pid=${pid#/proc/}
		[[ $ancestors == *" $pid "* ]] && continue
		link=$(readlink "/proc/$pid/ns/net") || continue
		[[ $ours == *" $pid "* || $link == "net:[$netns]" ]] && printf '%s\n' "$pid"
	done 2>/dev/null
	return 0
}

# Other processes that use the state directory: with it in executable, working
# directory or command line. Reported, never killed: it may be somebody who
# reads a log.
users_of_state() {
	local ancestors pid
	ancestors=$(_ancestors)
	for pid in /proc/[0-9]*; do
		pid=${pid#/proc/}
		[[ $ancestors == *" $pid "* ]] || ! _uses_state "/proc/$pid" || printf '%s\n' "$pid"
	done
}

_uses_state() {
	local link
	link=$(readlink "$1/exe") || return 1 # a kernel thread, or gone
	[[ $link == "$RMO_CLUSTER_DIR"/* ]] && return 0
	link=$(readlink "$1/cwd")
	[[ $link == "$RMO_CLUSTER_DIR" || $link == "$RMO_CLUSTER_DIR"/* ]] && return 0
	tr '\0' '\n' <"$1/cmdline" | grep -qF "$RMO_CLUSTER_DIR/"
} 2>/dev/null

_ancestors() {
	local pid=$BASHPID
	printf ' '
	while [[ -n $pid && $pid != 0 ]]; do
		printf '%s ' "$pid"
		pid=$(awk '$1 == "PPid:" { print $2 }' "/proc/$pid/status" 2>/dev/null) || break
	done
}

# Mount points, the last one mounted first.
our_mounts() {
	awk -v dir="$RMO_CLUSTER_DIR" -v net="$NETNS_FILE" '
		$5 == net || $5 == dir || index($5, dir "/") == 1 || index($4, dir "/") == 1 { print $5 }' \
		/proc/self/mountinfo | tac
}

# Empty directories that are no mount point of any process. One that another
# cluster has mounted upon must stay: to remove it would unmount it in there.
left_private_dirs() {
	local dir
	for dir in "${PRIVATE_DIRS[@]}"; do
		[[ -d $dir && -z $(ls -A "$dir") ]] || continue
		grep -qsF " $dir " /proc/[0-9]*/mountinfo || printf '%s\n' "$dir"
	done
}

# The cluster is set up so that the next three never appear on the machine
# itself. They are looked for because a containerd that is set up otherwise
# leaves them; with another containerd at work they would be that one's.
foreign_containerd() {
	local pid ours
	mapfile -t ours < <(our_cgroup_pids)
	for pid in /proc/[0-9]*; do
		pid=${pid#/proc/}
		[[ $(cat "/proc/$pid/comm" 2>/dev/null) == containerd ]] || continue
		[[ " ${ours[*]} " == *" $pid "* ]] || return 0
	done
	return 1
}

cni_netns() { find /run/netns -maxdepth 1 -name 'cni-*' 2>/dev/null || true; }

stray_links() {
	ip -oneline link show 2>/dev/null |
		awk -F': ' '$2 ~ /^(cni0|veth[0-9a-f]+@.*)$/ { sub(/@.*/, "", $2); print $2 }'
}

stale_shim_sockets() {
	local socket
	for socket in /run/containerd/s/*; do
		[[ ! -S $socket ]] || grep -q " $socket\$" /proc/net/unix || printf '%s\n' "$socket"
	done
}
