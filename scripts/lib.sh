# shellcheck shell=bash
# What the scripts behind the Makefile share: where things are, and stages with
# elapsed time, a log each, and a table at the end. To be sourced.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repository" || exit
# shellcheck source=../tests/cluster/env.sh
. tests/cluster/env.sh
# shellcheck source=../tests/cluster/lib/log.sh
. tests/cluster/lib/log.sh

# Logs of the stages, and what was saved from a cluster after a failure.
logs=${CARGO_TARGET_DIR:-$repository/target}/test-logs

# need COMMAND WHERE-FROM: one clear message when it is missing.
need() { command -v "$1" >/dev/null || die "$1 is missing: $2"; }

need_rust() {
	need cargo "install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer with rustup"
	need cc "install a C compiler (Debian: gcc)"
}

# built_tool NAME: the path of a tool of the test cluster; builds it if needed.
built_tool() {
	local line
	line=$(tests/cluster/tools "$1")
	printf '%s' "${line#* }"
}

# The operator without and with crash points, and the tests' writer: built and
# loaded. An existing cluster pulls its images itself.
load_images() {
	[[ $USE_EXISTING_CLUSTER != 1 ]] || return 0
	# Not optimised: two to three times as quick to build, and what it adds to a write gap is little.
	export RMO_CARGO_PROFILE=${RMO_CARGO_PROFILE:-image-test}
	local archives=()
	tests/cluster/images >/dev/null
	archives+=("$(image/build)")
	archives+=("$(image/build --features crash-points)")
	archives+=("$(image/build-writer)")
	tests/cluster/load-image "${archives[@]}"
}

begun_us=${EPOCHREALTIME/[.,]/}
stage_names=() stage_results=() stage_seconds=() failed_stage=""

# Says every minute that a silent stage still runs. Ends when its input does.
heartbeat() {
	local status
	while :; do
		status=0
		read -rt 60 _ || status=$?
		((status > 128)) || return 0
		log "stage $1 is still running"
	done
}

# The process group of the stage that runs.
stage_job=""

# After a signal: ends the stage that runs, and waits for its end.
end_stage() {
	[[ -n $stage_job ]] || return 0
	kill -- "-$stage_job" 2>/dev/null || true
	wait "$stage_job" 2>/dev/null || true
	stage_job=""
}

# stage NAME COMMAND...: runs it, shows and records what it says. In a condition
# COMMAND must be a program, for there bash ignores -e in functions.
stage() {
	local name=$1 start=${EPOCHREALTIME/[.,]/} status=0 pulse
	shift
	mkdir -p "$logs"
	log "stage $name begins"
	exec {pulse}> >(heartbeat "$name")
	# A job of its own: a signal to this script is heard while it runs, and can
	# end all of it. The inner shell has -e again: a function's first failing
	# command ends it. The pulse is closed, so that nothing keeps it alive.
	set -m
	(
		exec {pulse}>&-
		set +e
		(
			set -e
			"$@"
		) 2>&1 | tee "$logs/$name.log"
		exit "${PIPESTATUS[0]}"
	) </dev/null &
	stage_job=$!
	set +m
	wait "$stage_job" || status=$?
	stage_job=""
	exec {pulse}>&-
	stage_names+=("$name")
	stage_seconds+=("$(seconds_since "$start")")
	if ((status == 0)); then
		stage_results+=(ok)
		log "stage $name: ok in $(seconds_since "$start") s"
	else
		stage_results+=(FAILED)
		failed_stage=${failed_stage:+$failed_stage, }$name
		log "stage $name FAILED after $(seconds_since "$start") s; its log: $logs/$name.log"
	fi
	return "$status"
}

# Sums cargo's own result lines of a stage.
tests_of() {
	[[ -r $logs/$1.log ]] || return 0
	sed -n 's/.*test result: .*\. \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored.*/\1 \2 \3/p' "$logs/$1.log" |
		awk '{ p += $1; f += $2; i += $3 } END { if (NR) printf "%d passed, %d failed, %d left to other stages", p, f, i }'
}

summary() {
	local i
	printf '\n%-14s %-7s %10s  %s\n' stage result seconds tests
	for i in "${!stage_names[@]}"; do
		printf '%-14s %-7s %10s  %s\n' "${stage_names[i]}" "${stage_results[i]}" "${stage_seconds[i]}" "$(tests_of "${stage_names[i]}")"
	done
	printf '%-14s %-7s %10s\n\n' total "$([[ -z $failed_stage ]] && echo ok || echo FAILED)" "$(seconds_since "$begun_us")"
	[[ -z $failed_stage ]] || printf 'failed: %s; logs: %s\n' "$failed_stage" "$logs"
}
