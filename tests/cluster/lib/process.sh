# shellcheck shell=bash
# Starting and stopping the long-lived parts. A part is known by its pid AND
# the pid's start time: a number alone may belong to somebody else by now.

pid_start_time() {
	local stat
	stat=$(<"/proc/$1/stat") || return 1
	# The command name may hold spaces and brackets: count fields behind it.
	# shellcheck disable=SC2086
	set -- ${stat##*) }
	[[ $1 != Z ]] && printf '%s' "${20}"
} 2>/dev/null

# part_pid NAME: prints the pid if the part still runs.
part_pid() {
	local pid started
	read -r pid started <"$RMO_CLUSTER_DIR/pids/$1" || return 1
	[[ $(pid_start_time "$pid") == "$started" ]] && printf '%s' "$pid"
} 2>/dev/null

# start_part NAME COMMAND...: inside the cluster's namespaces and cgroup.
start_part() {
	local name=$1 pidfile=$RMO_CLUSTER_DIR/pids/$1 enter=(nsenter --net="$NETNS_FILE")
	shift
	# The same surroundings whoever called, and none of the caller's secrets.
	local env=(env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
	# The first part, the holder, makes the mount namespace that the others join.
	if [[ $name != holder ]]; then
		enter+=(--mount="/proc/$(part_pid holder)/ns/mnt")
	fi
	rm -f "$pidfile"
	# shellcheck disable=SC2016  # expanded by the inner shell
	# setsid and no standard input: a part must not hang its caller's shell, nor
	# die with it. The inherited descriptors are closed, or the part would keep
	# the caller's lock and pipes. The pid is kept through every exec.
	setsid bash -c '
		name=$1 pidfile=$2 procs=$3
		shift 3
		cd / && umask 022
		for fd in /proc/self/fd/*; do
			fd=${fd##*/}
			((fd > 2 && fd != 255)) && eval "exec $fd>&-"
		done
		ulimit -n "$(ulimit -Hn)"
		echo $$ >"$procs"
		stat=$(</proc/$$/stat)
		set -- "${stat##*) }" "$@"
		read -ra fields <<<"$1"
		shift
		printf "%s %s\n" $$ "${fields[19]}" >"$pidfile.new" && mv "$pidfile.new" "$pidfile"
		exec "$@"
	' part "$name" "$pidfile" "$(own_cgroup_dir)/system/cgroup.procs" "${env[@]}" "${enter[@]}" "$@" \
		</dev/null >>"$RMO_CLUSTER_DIR/log/$name.log" 2>&1 &
	disown
	export WAIT_LOG=$RMO_CLUSTER_DIR/log/$name.log
}
