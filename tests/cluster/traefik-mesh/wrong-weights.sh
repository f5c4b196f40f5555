# shellcheck shell=bash
# A mutant: Traefik Mesh's proxy with one line changed, so that backends of any weight above 0 share HTTP requests
# evenly. A suite that is to find wrong weights must find these. The line is changed in a copy of the module, which the
# build takes instead: Go lets no overlay change what lies in its module cache.

readonly WRONG_WEIGHTS=traefik-wrong-weights
readonly WRONG_WEIGHTS_OF=github.com/traefik/traefik/v2
readonly WRONG_WEIGHTS_FILE=pkg/server/service/loadbalancer/wrr/wrr.go
readonly RIGHT_LINE=$'\th := &namedHandler{Handler: handler, name: name, weight: float64(w)}'
readonly WRONG_LINE=$'\th := &namedHandler{Handler: handler, name: name, weight: 1}'

wrong_weights_parts() {
    local script=$HERE/traefik-mesh/wrong-weights.sh made_by=$PARTS/$WRONG_WEIGHTS.sh
    # The hash of the pins does not cover this script: what another one made is made again.
    cmp -s "$script" "$made_by" || {
        rm -f "$BIN/$WRONG_WEIGHTS" "$IMAGES/$WRONG_WEIGHTS.tar"
        cp "$script" "$made_by" || return 1
    }
    build_wrong_weights || return 1
    archive "$WRONG_WEIGHTS" "$(pinned traefik "$WRONG_WEIGHTS_OF")" "$BIN/$WRONG_WEIGHTS"
}

# $BIN/traefik-wrong-weights, as `build` makes the others, but from the changed copy.
build_wrong_weights() {
    local log=$PARTS/build-$WRONG_WEIGHTS.log start=$SECONDS
    [[ -x $BIN/$WRONG_WEIGHTS ]] && return 0
    check_go
    mkdir -p "$BUILD"
    (
        folder=$(mktemp -d)
        trap 'rm -rf "$folder"' EXIT
        export CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off GOCACHE=$BUILD GOFLAGS=-buildvcs=false
        changed_copy "$folder" &&
            timeout "$BUILD_TIMEOUT" nice go build -trimpath -ldflags \
                "-s -w -X $WRONG_WEIGHTS_OF/pkg/version.Version=$(pinned traefik "$WRONG_WEIGHTS_OF")" \
                -o "$BIN/.$WRONG_WEIGHTS" "$WRONG_WEIGHTS_OF/cmd/traefik"
    ) >"$log" 2>&1 || {
        complain "$WRONG_WEIGHTS was not built" "see the log" "$log"
        return 1
    }
    mv "$BIN/.$WRONG_WEIGHTS" "$BIN/$WRONG_WEIGHTS"
    rm -f "$log"
    stage "built $WRONG_WEIGHTS in $((SECONDS - start)) s"
}

# changed_copy FOLDER, and into it: go/traefik, which takes for the module the copy beside it, with the changed line. Or a
# failure, where the module's file does not have the line exactly once.
changed_copy() {
    local module file=module/$WRONG_WEIGHTS_FILE
    cp "$HERE"/go/traefik/go.{mod,sum} "$1" || return 1
    cd "$1" || return 1
    timeout "$DOWNLOAD_TIMEOUT" go mod download "$WRONG_WEIGHTS_OF" || return 1
    module=$(go list -m -f '{{.Dir}}' "$WRONG_WEIGHTS_OF") || return 1
    cp -R --no-preserve=mode "$module" module || return 1
    awk -v right="$RIGHT_LINE" -v wrong="$WRONG_LINE" \
        '$0 == right { $0 = wrong; times++ } { print } END { exit times != 1 }' "$module/$WRONG_WEIGHTS_FILE" >"$file" || {
        printf '%s: not exactly once, the line that is to be changed: %s\n' "$WRONG_WEIGHTS_FILE" "$RIGHT_LINE"
        return 1
    }
    go mod edit -replace "$WRONG_WEIGHTS_OF=./module"
}
