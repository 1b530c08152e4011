# shellcheck shell=bash
# Building a static program and packing it as an image that holds nothing else:
# no shell, no libraries, nothing to keep patched but the program itself.

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

image_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
repository=$(dirname "$image_dir")
# shellcheck source=/dev/null
. "$repository/tests/cluster/env.sh"

# Which cargo profile the program is built with; tests may want a faster one.
profile=${RMO_CARGO_PROFILE:-release}

target_directory() {
	cargo metadata --format-version 1 --no-deps --manifest-path "$repository/Cargo.toml" | jq -er .target_directory
}

# build_static KIND NAME CARGO-OPTIONS...: KIND is bin. Prints the
# program's path.
build_static() {
	local kind=$1 name=$2 triple directory
	shift 2
	# The host's own triple, for its libc is the one that is installed.
	triple=$(rustc -vV | sed -n 's/^host: //p')
	directory=$(target_directory)
	(
		cd "$repository" || exit
		# Where it was built is no part of a program: two checkouts make the same bytes. Of those that match the last counts.
		flags=(-C target-feature=+crt-static "--remap-path-prefix=$repository=/source"
			"--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" "--remap-path-prefix=$directory=/target")
		# What ends by abort is never unwound: a tenth of the program were tables for that.
		[[ $profile == dev ]] || flags+=(-C force-unwind-tables=no)
		# This one goes before RUSTFLAGS, and takes paths with spaces.
		CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && printf '%s' "${flags[*]}") \
			cargo build --locked --profile "$profile" --target "$triple" "--$kind" "$name" "$@" >&2
	)
	directory=$directory/$triple/$profile
	# Cargo's own name for the directory of the profile `dev`.
	[[ $profile != dev ]] || directory=${directory%dev}debug
	printf '%s/%s' "$directory" "$name"
}

# default_output REF: a file below target/.
default_output() {
	local directory name=${1##*/}
	directory=$(target_directory)
	printf '%s/image/%s.tar' "$directory" "${name//:/-}"
}

# pack_program PROGRAM REF OUTPUT DOCKER-ARCHIVE-OPTIONS...: skipped when OUTPUT
# is of this very program already.
pack_program() {
	local program=$1 reference=$2 output=$3 name key root
	shift 3
	name=$(basename "$program")
	# Without -l some programs look static and are not.
	! ldd "$program" >/dev/null 2>&1 || ldd "$program" | grep 'statically linked' >/dev/null ||
		die "$program is not static: it would not start in an empty image"
	key=$(cat "$program" "$image_dir/docker-archive" <(printf '%s\n' "$reference" "$@") | sha256sum)
	if [[ ! -e $output || $(cat "$output.key" 2>/dev/null) != "$key" ]]; then
		root=$(mktemp -d)
		# It becomes the image's /, which its user must be able to enter.
		chmod 755 "$root"
		install --mode=755 "$program" "$root/$name"
		"$image_dir/docker-archive" --rootfs "$root" --name "$reference" --output "$output" \
			--user 65532:65532 --entrypoint "[\"/$name\"]" "$@"
		rm -rf "$root"
		printf '%s' "$key" >"$output.key"
		printf 'packed %s: %s\n' "$reference" "$output" >&2
	fi
	printf '%s\n' "$output"
}
