# shellcheck shell=bash
# The cluster's cgroups. Every process of the cluster, pods included, lives
# below a cgroup with the cluster's name in at least one hierarchy, so what is
# ours can be told from what is not even after a crash.
#   /NAME/system    the parts and the containerd shims
#   /NAME/kubepods  the pods (kubelet's cgroupRoot is /NAME)

# Mount points of all cgroup hierarchies, v1 and v2.
cgroup_mounts() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts; }

# The hierarchy that says what is ours: pids on v1 (moving a process there
# changes no limit that its caller set), else cgroup2.
own_cgroup_dir() {
	local root
	root=$(awk '$3 == "cgroup" && $4 ~ /(^|,)pids(,|$)/ { print $2; exit }' /proc/mounts)
	[[ -n $root ]] || root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	printf '%s/%s' "$root" "$RMO_NETNS"
}

# kubelet demands that its cgroup root exists in every hierarchy.
make_cgroups() {
	local root dir file
	while read -r root; do
		dir=$root/$RMO_NETNS
		mkdir -p "$dir"
		# A new v1 cpuset is empty, and nothing can run in an empty one.
		for file in cpuset.cpus cpuset.mems; do
			if [[ -f $root/cgroup.clone_children && -f $dir/$file ]]; then
				cat "$root/$file" >"$dir/$file"
			fi
		done
		# On v2 a controller must be handed down from the root.
		if [[ -f $root/cgroup.subtree_control ]]; then
			sed 's/[^ ]*/+&/g' "$root/cgroup.controllers" >"$root/cgroup.subtree_control" 2>/dev/null || true
			sed 's/[^ ]*/+&/g' "$dir/cgroup.controllers" >"$dir/cgroup.subtree_control" 2>/dev/null || true
		fi
	done < <(cgroup_mounts)
	mkdir -p "$(own_cgroup_dir)/system"
}

# All our cgroup directories, the deepest first.
our_cgroups() {
	local root
	while read -r root; do
		[[ -d $root/$RMO_NETNS ]] && find "$root/$RMO_NETNS" -depth -type d
	done < <(cgroup_mounts) 2>/dev/null
	return 0
}

# Every process in any of them.
our_cgroup_pids() {
	local dir
	while read -r dir; do
		cat "$dir/cgroup.procs" 2>/dev/null || true
	done < <(our_cgroups) | sort -un
}

remove_cgroups() {
	local dir
	while read -r dir; do
		rmdir "$dir" 2>/dev/null || true
	done < <(our_cgroups)
	[[ -z $(our_cgroups) ]]
}
