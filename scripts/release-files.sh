# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016  # set by scripts/release; the backticks are Markdown's
# What stands in a release, each file by one function. To be sourced by scripts/release, which has set version, commit, work
# and the time of the commit as SOURCE_DATE_EPOCH.

name=redis-memory-operator

# pack OUTPUT DIRECTORY FILE...: an archive that depends on names and contents alone.
pack() {
	local output=$1 directory=$2
	shift 2
	tar --create --format=gnu --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
		--mode='u=rwX,go=rX' --directory="$directory" "$@" | gzip -n -9 >"$output"
}

# As Krew, Go and container images name them.
system() {
	case $(uname -m) in
	x86_64) printf 'linux_amd64' ;;
	aarch64) printf 'linux_arm64' ;;
	*) printf 'linux_%s' "$(uname -m)" ;;
	esac
}

# Sets image and program: the program is taken out of the image, so that both are the same.
write_image() {
	local layer label labels=()
	for label in version="$version" revision="$commit" licenses=Apache-2.0; do
		labels+=(--label "org.opencontainers.image.$label")
	done
	image=$1/$name-$version-image_$(system).tar
	image/build --tag "localhost/$name:$version" --output "$image" "${labels[@]}" >/dev/null
	rm "$image.key"
	layer=$(tar -xOf "$image" manifest.json | jq -er '.[0].Layers[0]')
	tar -xOf "$image" "$layer" | tar -xf - -C "$work" "./$name"
	program=$1/${name}_$(system)
	install --mode=755 "$work/$name" "$program"
}

# The archive that Krew unpacks, and what a person puts on the PATH.
write_plugin() {
	local directory=$work/plugin
	mkdir "$directory"
	install --mode=755 "$program" "$directory/$name"
	cp LICENSE "$1/THIRD_PARTY_LICENSES.txt" "$directory"
	plugin=$1/kubectl-redis_memory_$(system).tar.gz
	pack "$plugin" "$directory" LICENSE THIRD_PARTY_LICENSES.txt "$name"
}

# pack_commit OUTPUT PATH...: what the commit has there; without any path all of it.
pack_commit() {
	local output=$1
	shift
	git -c tar.umask=0022 archive --format=tar --prefix="$name-$version/" "$commit" -- "$@" | gzip -n -9 >"$output"
}

# Helm's own package has the time of day in it: packed again, and looked at again by Helm.
write_chart() {
	local helm
	helm=$(built_tool helm)
	mkdir "$work/commit" "$work/chart"
	git archive "$commit" -- "$chart" | tar -xf - -C "$work/commit"
	"$helm" package "$work/commit/$chart" --destination "$work" >/dev/null
	tar -xzf "$work/$name-$version.tgz" -C "$work/chart"
	pack "$1/$name-$version.tgz" "$work/chart" "$name"
	"$helm" template release "$chart" >"$work/rendered"
	"$helm" template release "$1/$name-$version.tgz" | diff "$work/rendered" - >&2 ||
		die "the packed chart renders something else than the chart"
}

# What is applied without Helm, and the whole source.
write_manifests() {
	cp crds/redismemorypolicies.yaml "$1"
	pack_commit "$1/$name-$version-kustomize.tar.gz" config
	pack_commit "$1/$name-$version-source.tar.gz"
}

# What made the bytes: with the same of these the same bytes come out. Not by head, which would end a program that has more to say.
write_build() {
	{
		printf 'commit %s\nSOURCE_DATE_EPOCH %s\n\n' "$commit" "$SOURCE_DATE_EPOCH"
		rustc -vV
		cargo -V
		cc --version | sed -n 1p
		ld --version | sed -n 1p
		ldd --version 2>&1 | sed -n 1p
		tar --version | sed -n 1p
		gzip --version | sed -n 1p
	} >"$1/BUILD.txt"
}

# The section of this version in CHANGELOG.md, and what else a person who downloads wants to know.
write_notes() {
	local image_id file
	image_id=$(tar -xOf "$image" manifest.json | jq -er '.[0].Config | rtrimstr(".json")')
	{
		printf '# %s %s\n\n' "$name" "$version"
		awk -v head="## $version (" 'index($0, head) == 1 { inside = 1; next } inside && /^## / { exit } inside' CHANGELOG.md
		printf '## Files\n\nCommit %s. Image `localhost/%s:%s`, whose id is `sha256:%s`.\n\n| file | sha256 |\n|---|---|\n' \
			"$commit" "$name" "$version" "$image_id"
		while read -r file; do
			printf '| %s | `%s` |\n' "$file" "$(sha256sum "$1/$file" | cut -d' ' -f1)"
		done < <(cd "$1" && find . -type f -printf '%P\n' | sort)
		printf '\nTo verify them: `sha256sum --check SHA256SUMS`; docs/upgrade.md has the rest.\n'
	} >"$work/notes"
	mv "$work/notes" "$1/RELEASE_NOTES.md"
}

write_files() {
	write_image "$1"
	scripts/third-party >"$1/THIRD_PARTY_LICENSES.txt"
	scripts/sbom >"$1/$name-$version.cdx.json"
	write_plugin "$1"
	write_chart "$1"
	write_manifests "$1"
	write_build "$1"
	[[ -z ${RMO_RELEASE_URL:-} ]] || packaging/krew/manifest "$RMO_RELEASE_URL" "$plugin" >"$1/redis-memory.yaml"
}

# Notes and sums are of all that is there before them.
finish_files() {
	local files
	write_notes "$1"
	mapfile -t files < <(cd "$1" && find . -type f -printf '%P\n' | sort)
	(cd "$1" && sha256sum "${files[@]}" >SHA256SUMS)
}
