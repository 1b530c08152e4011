# shellcheck shell=bash
# The cluster's network namespace: the node's only network, so nothing leaves
# the machine and no address can clash with one outside.

make_network() {
	local ip=(nsenter --net="$NETNS_FILE" ip)
	mkdir -p /run/netns
	: >"$NETNS_FILE"
	# `ip netns add` would also bind /run/netns onto itself and leave that behind.
	unshare --net="$NETNS_FILE" true
	"${ip[@]}" link set lo up
	# A bridge without ports is the node's interface: a `dummy` device would be
	# the usual choice, but not every kernel has it.
	"${ip[@]}" link add eth0 type bridge
	"${ip[@]}" addr add "$NODE_IP/24" dev eth0
	"${ip[@]}" link set eth0 up
	# There is nothing behind the default route, but kubelet and the API server
	# find the node's address by it, and service addresses need a route to be
	# rewritten by kube-proxy.
	"${ip[@]}" route add default dev eth0
	# shellcheck disable=SC2016  # expanded by the inner shell
	nsenter --net="$NETNS_FILE" bash -c '
		echo 1 >/proc/sys/net/ipv4/ip_forward
		# Pods share one bridge: without this the answers of a service would go
		# from pod to pod past kube-proxy, with the wrong sender.
		f=/proc/sys/net/bridge/bridge-nf-call-iptables
		[[ ! -e $f ]] || echo 1 >$f'
}

remove_network() {
	if [[ -e $NETNS_FILE ]]; then
		while umount "$NETNS_FILE" 2>/dev/null; do :; done
		rm -f "$NETNS_FILE"
		# Only if nobody else has a namespace there.
		rmdir --ignore-fail-on-non-empty /run/netns 2>/dev/null || true
	fi
}
