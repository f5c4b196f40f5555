# shellcheck shell=bash
# The cluster's certificates and kubeconfigs, made new for every cluster.

readonly CERT_DAYS=30

# authority NAME
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$CERT_DAYS" -subj "/CN=smi-$1" \
        -keyout "$KEYS/$1.key" -out "$KEYS/$1.crt" 2>/dev/null
}

# certificate NAME AUTHORITY SUBJECT [ALTERNATIVE NAMES]
certificate() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$3" \
        -keyout "$KEYS/$1.key" -out "$KEYS/$1.csr" 2>/dev/null
    openssl x509 -req -in "$KEYS/$1.csr" -CA "$KEYS/$2.crt" -CAkey "$KEYS/$2.key" -CAcreateserial \
        -days "$CERT_DAYS" -out "$KEYS/$1.crt" -extfile <(
            printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n'
            [[ -z ${4:-} ]] || printf 'subjectAltName=%s\n' "$4"
        ) 2>/dev/null
}

# kubeconfig FILE NAME SERVER: with the key of that name in it, so that the file stands alone.
kubeconfig() {
    (
        umask 077
        cat >"$1" <<END
apiVersion: v1
kind: Config
clusters:
  - name: smi
    cluster:
      server: $3
      certificate-authority-data: $(base64 -w0 "$KEYS/ca.crt")
users:
  - name: $2
    user:
      client-certificate-data: $(base64 -w0 "$KEYS/$2.crt")
      client-key-data: $(base64 -w0 "$KEYS/$2.key")
contexts:
  - name: smi
    context: {cluster: smi, user: $2}
current-context: smi
END
    )
}

# keys_and_kubeconfigs PORT
keys_and_kubeconfigs() {
    local inside=https://$NODE_IP:6443 name
    mkdir -p "$KEYS"
    chmod 0700 "$KEYS"
    authority ca
    authority front-proxy-ca
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$KEYS/service-accounts.key" 2>/dev/null
    certificate kube-apiserver ca /CN=kube-apiserver \
        "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:$NODE_IP,IP:$API_SERVICE_IP"
    certificate kubelet-client ca /O=system:masters/CN=kube-apiserver-kubelet-client
    certificate front-proxy front-proxy-ca /CN=front-proxy-client
    certificate admin ca /O=system:masters/CN=smi-admin
    certificate kube-controller-manager ca /CN=system:kube-controller-manager
    certificate kube-scheduler ca /CN=system:kube-scheduler
    certificate kube-proxy ca /CN=system:kube-proxy
    certificate kubelet ca "/O=system:nodes/CN=system:node:$NODE" "DNS:$NODE,IP:$NODE_IP"
    for name in kube-controller-manager kube-scheduler kube-proxy kubelet; do
        kubeconfig "$KEYS/$name.kubeconfig" "$name" "$inside"
    done
    kubeconfig "$KEYS/admin.kubeconfig" admin "https://127.0.0.1:$1"
    openssl verify -CAfile "$KEYS/ca.crt" "$KEYS"/{kube-apiserver,kubelet,admin}.crt >/dev/null
}
