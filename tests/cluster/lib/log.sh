# shellcheck shell=bash
# Progress lines with the elapsed time, and waiting for a condition.

# Of the script that was called first: its helpers count on.
export RMO_LOG_START=${RMO_LOG_START:-${EPOCHREALTIME/[.,]/}}

# seconds_since MICROSECONDS: with one decimal.
seconds_since() {
	local us=$((${EPOCHREALTIME/[.,]/} - $1))
	printf '%d.%d' $((us / 1000000)) $((us / 100000 % 10))
}

# Progress goes to stderr: the stdout of a script is its result.
log() { printf '[%6ss] %s\n' "$(seconds_since "$RMO_LOG_START")" "$*" >&2; }

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# What a time-out shows; a caller names the log file of the part it waits for.
WAIT_LOG=""

# wait_for WHAT SECONDS COMMAND...: tries until COMMAND succeeds. After the
# deadline it shows why and fails.
wait_for() {
	local what=$1 limit=$2 start=${EPOCHREALTIME/[.,]/} told=0 waited
	shift 2
	until "$@" >/dev/null 2>&1; do
		waited=$(((${EPOCHREALTIME/[.,]/} - start) / 1000000))
		if ((waited >= limit)); then
			log "gave up on: $what, after ${waited}s"
			printf '  last answer of: %s\n' "$*" >&2
			"$@" 2>&1 | tail -n 5 | sed 's/^/  | /' >&2 || true
			if [[ -n $WAIT_LOG && -r $WAIT_LOG ]]; then
				printf '  last lines of %s:\n' "$WAIT_LOG" >&2
				tail -n 20 "$WAIT_LOG" | sed 's/^/  | /' >&2
			fi
			return 1
		fi
		if ((waited >= told + 10)); then
			told=$waited
			log "still waiting for: $what (${waited}s of at most ${limit}s)"
		fi
		sleep 0.1
	done
	log "$what"
}
