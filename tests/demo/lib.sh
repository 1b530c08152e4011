# shellcheck shell=bash
# What the scripts of the demo share. To be sourced.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=/dev/null
. "$here/../cluster/env.sh"

NAMESPACE=rmo-demo
OPERATOR_NAMESPACE=redis-memory-operator
REDIS=redis
PODS=("$REDIS-0" "$REDIS-1" "$REDIS-2")

started_us=${EPOCHREALTIME/[.,]/}
# The directory of this run: the record of pod changes, the writer's answers, the result.
work=$(mktemp -d)

elapsed() { printf '%d' $(((${EPOCHREALTIME/[.,]/} - started_us) / 1000000)); }
bold="" dim="" plain=""
if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; fi
heading() { printf '\n%s%s%s  %s%ss%s\n' "$bold" "$*" "$plain" "$dim" "$(elapsed)" "$plain"; }
say() { printf '  %s\n' "$*"; }

kubectl() { "$here/../cluster/kubectl" --namespace "$NAMESPACE" "$@"; }
operator_logs() { "$here/../cluster/kubectl" --namespace "$OPERATOR_NAMESPACE" logs deployment/redis-memory-operator "$@"; }
redis() { kubectl exec "$1" --container redis -- redis-cli "${@:2}"; }
writer() { kubectl exec "$REDIS-writer" -- /ack-writer "$@"; }
policy() { kubectl get redismemorypolicy "$REDIS" --output json; }

# quietly COMMAND...: its output is shown only when it fails.
quietly() {
	local out=$work/out
	"$@" >"$out" 2>&1 || { local code=$?; sed 's/^/    /' "$out" >&2; return "$code"; }
}

# wait_until SECONDS WHAT COMMAND...: tries until COMMAND succeeds.
wait_until() {
	local limit=$1 what=$2 begin=$SECONDS
	shift 2
	until "$@" >/dev/null 2>&1; do
		if ((SECONDS - begin > limit)); then
			printf 'error: gave up after %s s: %s\n' "$limit" "$what" >&2
			return 1
		fi
		sleep 0.5
	done
}

# numbers_of POD: role used rss ratio, as words.
numbers_of() {
	redis "$1" INFO | tr -d '\r' | awk -F: '
		$1 == "role" { role = $2 == "master" ? "primary" : "replica" }
		$1 == "used_memory" { used = $2 }
		$1 == "used_memory_rss" { rss = $2 }
		$1 == "mem_fragmentation_ratio" { ratio = $2 }
		END { print role, used, rss, ratio }'
}

primary_pod() {
	local pod
	for pod in "${PODS[@]}"; do
		if [[ $(redis "$pod" ROLE 2>/dev/null | head -n 1) == master* ]]; then
			printf '%s\n' "$pod"
			return 0
		fi
	done
	return 1
}

mebibytes() { awk -v bytes="$1" 'BEGIN { printf "%.0f MiB", bytes / 1048576 }'; }

start_cluster() {
	"$here/../cluster/up"
	"$here/../cluster/kubectl" get nodes --no-headers | awk '{ printf "  node %s is %s, Kubernetes %s\n", $1, $2, $5 }'
}

load_images() {
	if [[ $USE_EXISTING_CLUSTER == 1 ]]; then
		say "the cluster pulls them: $RMO_IMAGE_OPERATOR, $RMO_IMAGE_REDIS, $RMO_IMAGE_WRITER"
	elif [[ ${RMO_DEMO_IMAGES_READY:-} == 1 ]]; then
		say "they are loaded already"
	else
		# Not optimised: quicker to build, and a write gap is made of round trips.
		export RMO_CARGO_PROFILE=${RMO_CARGO_PROFILE:-image-test}
		local operator writer
		operator=$("$here/../../image/build")
		writer=$("$here/../../image/build-writer")
		quietly "$here/../cluster/load-image" "$operator" "$writer"
		say "operator and writer are built and loaded"
	fi
}

install_operator() {
	quietly "$here/install"
	say "release redis-memory-operator in namespace $OPERATOR_NAMESPACE: may resize, restart, and keep the role label"
}

# A fresh Redis with its writer; the first role labels are ours, for the operator keeps labels but makes no primary.
deploy_redis() {
	quietly "$here/../cluster/kubectl" delete namespace "$NAMESPACE" --ignore-not-found --timeout=120s
	quietly "$here/../cluster/kubectl" create namespace "$NAMESPACE"
	"$here/../manifests/render" redis.yaml NAME="$REDIS" NAMESPACE="$NAMESPACE" >"$work/redis.yaml"
	quietly kubectl apply --filename "$work/redis.yaml"
	quietly kubectl rollout status "statefulset/$REDIS" --timeout=180s
	quietly kubectl label pod "${PODS[0]}" redismemory.io/role=primary
	quietly kubectl label pod "${PODS[@]:1}" redismemory.io/role=replica
	"$here/../manifests/render" writer.yaml NAME="$REDIS" NAMESPACE="$NAMESPACE" >"$work/writer.yaml"
	quietly kubectl apply --filename "$work/writer.yaml"
	quietly kubectl wait --for=condition=Ready "pod/$REDIS-writer" --timeout=60s
	wait_until 30 "the writer's first acknowledged write" writer_has_written
}

writer_has_written() { writer status | jq -e '.acknowledged > 0'; }

apply_policy() { # MODE [WORD=value]...
	"$here/../manifests/render" policy.yaml NAME="$REDIS" NAMESPACE="$NAMESPACE" MODE="$1" "${@:2}" >"$work/policy.yaml"
	quietly kubectl apply --filename "$work/policy.yaml"
}
set_mode() { quietly kubectl patch redismemorypolicy "$REDIS" --type merge --patch "{\"spec\":{\"mode\":\"$1\"}}"; }

# What becomes of each pod, by the API server's own watch: a line `pod UID role-label` for each change.
watch_pods() {
	"$here/../cluster/kubectl" --namespace "$NAMESPACE" get pods --selector "app=$REDIS" --watch --no-headers \
		--output 'custom-columns=N:.metadata.name,U:.metadata.uid,R:.metadata.labels.redismemory\.io/role' \
		>"$work/pods.log" 2>/dev/null &
	watch_pid=$!
	wait_until 20 "the watch of the pods" test -s "$work/pods.log"
}

stop_watch() {
	[[ -n ${watch_pid:-} ]] || return 0
	kill "$watch_pid" 2>/dev/null || true
	wait "$watch_pid" 2>/dev/null || true
	watch_pid=""
}

# What happened, in order: "restart POD" for each new UID, "switchover POD" when a pod that lives loses the role.
order_of_events() {
	awk '{
		if ($1 in uid && uid[$1] != $2) print "restart", $1
		else if (role[$1] == "primary" && $3 != "primary") print "switchover", $1
		uid[$1] = $2; role[$1] = $3
	}' "$work/pods.log"
}

uid_changes() { order_of_events | awk -v pod="$1" '$1 == "restart" && $2 == pod { n++ } END { print n + 0 }'; }

# The remediation is the last one that the status remembers, and none is under way.
remediation_id() { policy | jq -r '.status.workloads[0].remediation // ""'; }

# follow_remediation OLD-ID SECONDS: prints each step as it begins, until another remediation than OLD-ID has ended.
follow_remediation() {
	local old=$1 limit=$2 begin=$SECONDS seen="" told="" now
	while :; do
		now=$(policy)
		jq -r '.status.journal // empty | . as $j | range(0; [(.cursor + 1), (.steps | length)] | min) |
			"\(. + 1)/\($j.steps | length)|\($j.steps[.].kind)|\($j.steps[.].pod)\(if $j.steps[.].to then " to " + $j.steps[.].to else "" end)"' \
			<<<"$now" >"$work/steps"
		while IFS='|' read -r number kind what; do
			[[ $seen != *"<$number>"* ]] || continue
			seen+="<$number>"
			printf '  %s%4ss%s  %-6s %-16s %s\n' "$dim" "$(elapsed)" "$plain" "$number" "$kind" "$what"
		done <"$work/steps"
		now_blocked=$(jq -r '.status.conditions[]? | select(.type == "RemediationBlocked" and .status == "True") | "\(.reason): \(.message)"' <<<"$now")
		if [[ -n $now_blocked && $now_blocked != "$told" ]]; then
			printf '  %s%4ss%s  waiting: %s\n' "$dim" "$(elapsed)" "$plain" "$now_blocked"
			told=$now_blocked
		fi
		if jq -e --arg old "$old" '(.status.journal == null) and ((.status.workloads[0].remediation // "") as $id | $id != "" and $id != $old)' \
			<<<"$now" >/dev/null; then
			return 0
		fi
		if ((SECONDS - begin > limit)); then
			printf 'error: no end of the remediation after %s s\n' "$limit" >&2
			return 1
		fi
		sleep 0.5
	done
}

# print_plan FILE: number, kind, pod and reason of each step; long reasons go on below themselves.
print_plan() {
	local width=120 number kind pod reason lines
	[[ ! -t 1 ]] || width=$(tput cols 2>/dev/null || echo 120)
	((width >= 80)) || width=80
	while IFS='|' read -r number kind pod reason; do
		mapfile -t lines < <(fold -s -w "$((width - 45))" <<<"$reason")
		printf '  %2s  %-16s %-19s %s%s%s\n' "$number" "$kind" "$pod" "$dim" "${lines[0]}" "$plain"
		for reason in "${lines[@]:1}"; do
			printf '%43s%s%s%s\n' "" "$dim" "$reason" "$plain"
		done
	done < <(jq -r 'to_entries[] | "\(.key + 1)|\(.value.kind)|\(.value.pod)\(if .value.to then " to " + .value.to else "" end)|\(.value.reason)"' "$1")
}

# How long the server held writes back (Guarded: CLIENT PAUSE; Native: FAILOVER), in milliseconds, by the operator's own
# log since a time (RFC 3339).
paused_ms() {
	operator_logs --since-time="$1" 2>/dev/null | grep -o '"paused_ms":[0-9.]*' | tail -n 1 | cut -d: -f2
}

# The method of the last switchover since then: Guarded or Native.
switchover_method() {
	operator_logs --since-time="$1" 2>/dev/null | grep 'switchover completed' | grep -o '"method":"[A-Za-z]*"' | tail -n 1 |
		cut -d'"' -f4
}

# What a person would want to see after a failure.
dump() {
	{
		printf '\n--- policy\n'
		kubectl get redismemorypolicy "$REDIS" --output yaml || true
		printf '\n--- pods\n'
		kubectl get pods --output wide --show-labels || true
		printf '\n--- events\n'
		kubectl get events --sort-by=.metadata.creationTimestamp | tail -n 40 || true
		printf '\n--- pods as they changed (pod, UID, role)\n'
		cat "$work/pods.log" || true
		printf '\n--- operator, last lines\n'
		operator_logs --tail=60 || true
		operator_logs --previous --tail=20 || true
	} >&2 2>/dev/null
}
