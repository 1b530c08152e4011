# shellcheck shell=bash
# Names and places that every script of the test cluster shares. To be sourced.
# Each can be set from outside; the defaults are what the Makefile and CI use.

# 1: use the cluster of $KUBECONFIG instead of one of our own.
export USE_EXISTING_CLUSTER="${USE_EXISTING_CLUSTER:-}"
[[ $USE_EXISTING_CLUSTER == true ]] && USE_EXISTING_CLUSTER=1
[[ $USE_EXISTING_CLUSTER == 0 || $USE_EXISTING_CLUSTER == false ]] && USE_EXISTING_CLUSTER=""

# Debian keeps nft and ip where only root's PATH leads.
[[ :$PATH: == *:/usr/sbin:* ]] || export PATH=$PATH:/usr/sbin:/sbin

# Built tools and image files. Outside target/, so that neither `cargo clean`
# nor a fresh clone builds Kubernetes again.
export RMO_CACHE="${RMO_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/redis-memory-operator}"

# All state of the running cluster. One per machine, so that a second checkout
# finds the cluster that is already up.
export RMO_CLUSTER_DIR="${RMO_CLUSTER_DIR:-/var/lib/redis-memory-operator-cluster}"

# Network namespace and cgroup of the cluster both have this name.
export RMO_NETNS="${RMO_NETNS:-rmo}"

export RMO_IMAGE_OPERATOR="${RMO_IMAGE_OPERATOR:-localhost/redis-memory-operator:test}"
export RMO_IMAGE_OPERATOR_CRASH="${RMO_IMAGE_OPERATOR_CRASH:-localhost/redis-memory-operator:crash-test}"
export RMO_IMAGE_REDIS="${RMO_IMAGE_REDIS:-localhost/rmo-redis:7.0.15}"
# For the deployments that people run: sidecars that keep labels, and the proxy.
export RMO_IMAGE_KUBECTL="${RMO_IMAGE_KUBECTL:-localhost/rmo-kubectl:test}"
export RMO_IMAGE_HAPROXY="${RMO_IMAGE_HAPROXY:-localhost/rmo-haproxy:test}"
export RMO_IMAGE_WRITER="${RMO_IMAGE_WRITER:-localhost/rmo-ack-writer:test}"

# Our own cluster has no registry to pull from: an image that is not loaded
# shall fail at once, not after a pull's time-out.
if [[ $USE_EXISTING_CLUSTER == 1 ]]; then
	export RMO_IMAGE_PULL_POLICY="${RMO_IMAGE_PULL_POLICY:-IfNotPresent}"
else
	export RMO_IMAGE_PULL_POLICY="${RMO_IMAGE_PULL_POLICY:-Never}"
fi
