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

rootfs_redis() {
	local root=$1 program
	mkdir -p "$root"/{bin,usr/bin,etc,data,tmp,run,var}
	copy_busybox "$root"
	for program in redis-server redis-cli; do
		copy_program "$root" "$program"
	done
	# These are the server under other names.
	for program in redis-sentinel redis-check-aof redis-check-rdb; do
		ln -s redis-server "$root/usr/bin/$program"
	done
	# Any user may write here, for the pods decide who they are.
	chmod 1777 "$root/data" "$root/tmp" "$root/run"
	ln -s ../run "$root/var/run"
	printf '%s\n' 'root:x:0:0:root:/:/bin/sh' 'redis:x:999:999:redis:/data:/bin/sh' 'nobody:x:65534:65534:nobody:/:/bin/sh' >"$root/etc/passwd"
	printf '%s\n' 'root:x:0:' 'redis:x:999:' 'nogroup:x:65534:' >"$root/etc/group"
	printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
	if [[ -r /etc/ssl/certs/ca-certificates.crt ]]; then
		install -D --mode=644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
	fi
}
