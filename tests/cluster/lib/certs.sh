# shellcheck shell=bash
# Keys, certificates and kubeconfig files. Everything uses client certificates,
# so RBAC sees each part under its real name.

make_ca() {
	mkdir -p "$RMO_CLUSTER_DIR/pki"
	chmod 700 "$RMO_CLUSTER_DIR/pki"
	(
		cd "$RMO_CLUSTER_DIR/pki" || exit
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
			-subj "/CN=redis-memory-operator test cluster" -keyout ca.key -out ca.crt
		# Service account tokens are signed with RSA keys elsewhere too.
		openssl genrsa -out service-account.key 2048
		openssl rsa -in service-account.key -pubout -out service-account.pub
	) >"$RMO_CLUSTER_DIR/log/openssl.log" 2>&1
}

# make_cert NAME SUBJECT [SUBJECT_ALT_NAMES]
make_cert() {
	local names="${3:-}"
	(
		cd "$RMO_CLUSTER_DIR/pki" || exit
		openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
			-subj "$2" -keyout "$1.key" -out "$1.csr"
		openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" \
			-extfile <(
				echo "keyUsage=critical,digitalSignature"
				echo "extendedKeyUsage=serverAuth,clientAuth"
				[[ -z $names ]] || echo "subjectAltName=$names"
			)
		rm "$1.csr"
	) >>"$RMO_CLUSTER_DIR/log/openssl.log" 2>&1
}

# make_kubeconfig CERTIFICATE FILE: self-contained, so that it can be copied.
make_kubeconfig() {
	local pki=$RMO_CLUSTER_DIR/pki
	(umask 077 && cat >"$2") <<-YAML
		apiVersion: v1
		kind: Config
		clusters:
		- name: rmo
		  cluster:
		    server: $API_URL
		    certificate-authority-data: $(base64 -w0 "$pki/ca.crt")
		users:
		- name: $1
		  user:
		    client-certificate-data: $(base64 -w0 "$pki/$1.crt")
		    client-key-data: $(base64 -w0 "$pki/$1.key")
		contexts:
		- name: rmo
		  context: {cluster: rmo, user: $1}
		current-context: rmo
	YAML
}

make_identities() {
	local dir=$RMO_CLUSTER_DIR/kubeconfigs
	mkdir -p "$dir"
	make_ca
	make_cert apiserver /CN=kube-apiserver \
		"IP:$NODE_IP,IP:$API_SERVICE_IP,IP:127.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
	make_cert apiserver-kubelet-client /O=system:masters/CN=apiserver-kubelet-client
	make_cert kubelet-serving "/CN=system:node:$NODE_NAME" "IP:$NODE_IP,DNS:$NODE_NAME"
	make_cert admin /O=system:masters/CN=admin
	make_cert kubelet "/O=system:nodes/CN=system:node:$NODE_NAME"
	make_cert controller-manager /CN=system:kube-controller-manager
	make_cert scheduler /CN=system:kube-scheduler
	make_cert kube-proxy /CN=system:kube-proxy
	make_cert coredns /CN=system:coredns
	local name
	for name in kubelet controller-manager scheduler kube-proxy coredns; do
		make_kubeconfig "$name" "$dir/$name"
	done
	make_kubeconfig admin "$ADMIN_KUBECONFIG"
}
