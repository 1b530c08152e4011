# shellcheck shell=bash
# File trees of the images that are made from this system's own packages.

# Nothing, for a static program.
libraries_of() { ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | sort || true; }

# copy_program ROOT PROGRAM: with the shared libraries and the loader it needs.
copy_program() {
	local root=$1 program file
	program=$(command -v "$2") || die "no program $2: run tests/cluster/prerequisites"
	install -D --mode=755 "$program" "$root$program"
	for file in $(libraries_of "$program"); do
		[[ -e $root$file ]] || install -D --mode=755 "$file" "$root$file"
	done
}

# A shell with the usual small programs, at /bin.
copy_busybox() {
	local root=$1 applet
	install -D --mode=755 "$(command -v busybox)" "$root/bin/busybox"
	for applet in $("$root/bin/busybox" --list); do
		[[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"
	done
}

rootfs_pause() {
	install -D --mode=755 "$(command -v busybox)" "$1/busybox"
}

# A system with nothing but a shell: places, users, name look-ups.
rootfs_bare() {
	local root=$1
	mkdir -p "$root"/{bin,usr/bin,etc,tmp,run,var}
	copy_busybox "$root"
	chmod 1777 "$root/tmp" "$root/run"
	printf '%s\n' 'root:x:0:0:root:/:/bin/sh' 'redis:x:999:999:redis:/data:/bin/sh' 'nobody:x:65534:65534:nobody:/:/bin/sh' >"$root/etc/passwd"
	printf '%s\n' 'root:x:0:' 'redis:x:999:' 'nogroup:x:65534:' >"$root/etc/group"
	printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
}

rootfs_haproxy() {
	rootfs_bare "$1"
	copy_program "$1" haproxy
}

# For sidecars that keep a label, or a Service's selector, by what Redis or Sentinel says.
rootfs_kubectl() {
	rootfs_bare "$1"
	copy_program "$1" redis-cli
	install -D --mode=755 "$(tool_path kubectl)" "$1/usr/bin/kubectl"
}

rootfs_redis() {
	local root=$1 program
	rootfs_bare "$root"
	mkdir -p "$root/data"
	for program in redis-server redis-cli; do
		copy_program "$root" "$program"
	done
	# These are the server under other names.
	for program in redis-sentinel redis-check-aof redis-check-rdb; do
		ln -s redis-server "$root/usr/bin/$program"
	done
	# Any user may write here, for the pods decide who they are.
	chmod 1777 "$root/data"
	ln -s ../run "$root/var/run"
	if [[ -r /etc/ssl/certs/ca-certificates.crt ]]; then
		install -D --mode=644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
	fi
}
