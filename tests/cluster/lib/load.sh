# shellcheck shell=bash
# Getting image files into the embedded cluster's containerd.

# An image's id is the digest of its config, in the archive as in containerd.
archive_image_id() {
	local config
	config=$(tar -xOf "$1" manifest.json | jq -er '.[0].Config')
	config=${config##*/}
	printf 'sha256:%s' "${config%.json}"
}

archive_image_name() { tar -xOf "$1" manifest.json | jq -er '.[0].RepoTags[0]'; }

# loaded_image_id NAME: nothing if it is not there.
loaded_image_id() {
	local manifest
	manifest=$(cri_images images list "name==$1" | awk 'NR == 2 { print $3 }')
	[[ -z $manifest ]] || cri_images content get "$manifest" | jq -er .config.digest
}

# kubelet sees an image only when containerd's CRI has noticed it.
cri_knows() { cri_images images list --quiet | grep -x "$1"; }

load_archive() {
	local name id
	name=$(archive_image_name "$1")
	id=$(archive_image_id "$1")
	if [[ $(loaded_image_id "$name") == "$id" ]]; then
		return 0
	fi
	# An image of the same name is taken away first: containerd's CRI gives the
	# new one no id of its own otherwise, and waiting for it would time out.
	[[ -z $(loaded_image_id "$name") ]] || cri_images images remove "$name" >/dev/null
	# stderr shows the reason should it fail.
	cri_images images import "$1" >/dev/null
	wait_for "loaded $name" 20 cri_knows "$id"
}
