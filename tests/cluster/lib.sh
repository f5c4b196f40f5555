# shellcheck shell=bash
# What `up`, `down`, `load` and `mesh` share: where things lie, how a stage is named and timed, how a wait ends.

set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${SMI_CI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/smi-ci}
# Everything of the running cluster: state, logs, kubeconfig. `down` removes it whole.
RUN=$CACHE/cluster-run
KUBECONFIG_PATH=$RUN/kubeconfig
# Logs of the last attempt that failed.
FAILED=$CACHE/cluster-failed
# Binaries and images, kept between runs, one folder for each set of pins.
PARTS_PREFIX=$CACHE/cluster-

PORT=${SMI_CLUSTER_PORT:-6443}
# One cluster for each cache, and each with control groups of its own.
CGROUP=smi-cluster-$(sha256sum <<<"$RUN" | cut -c1-8)
IMAGE_PREFIX=smi-conformance.local

readonly LOCK_TIMEOUT=60 LOAD_TIMEOUT=120 STOP_TIMEOUT=20 POLL=0.2
# Lines of a failing part's log that a failure shows.
readonly LOG_LINES=25

started_at=$SECONDS

stage() {
    printf '[%4d s] %s\n' "$((SECONDS - started_at))" "$*"
}

# complain MESSAGE REMEDY [LOG]
complain() {
    printf '\nerror: %s\n' "$1" >&2
    if [[ -n ${3:-} && -s $3 ]]; then
        printf '  the last lines of %s:\n' "$3" >&2
        tail -n "$LOG_LINES" "$3" | cut -c-400 | sed 's/^/  | /' >&2
    fi
    printf '  remedy: %s\n' "$2" >&2
}

die() {
    complain "$@"
    exit 1
}

# step WHAT COMMAND…: or die with what the command said, which is in $LOG.
step() {
    local what=$1
    shift
    "$@" >"$LOG" 2>&1 || die "$what: failed" "see the log; tests/cluster/down and up give a fresh cluster" "$LOG"
}

need_root() {
    [[ $(id -u) == 0 ]] ||
        die "the cluster's namespaces need root" "run it as root, or point KUBECONFIG at a cluster that you have"
}

# One `up`, `down`, `load` or `mesh` at a time. The lock goes with the process.
lock() {
    mkdir -p "$CACHE"
    exec 9>"$CACHE/cluster.lock"
    flock -w "$LOCK_TIMEOUT" 9 || die "another run holds $CACHE/cluster.lock" "wait for it, or end it"
}

# until_true SECONDS COMMAND…: whether the command succeeded in time.
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || return 1
        sleep "$POLL"
    done
}

kube() {
    "$BIN/kubectl" --kubeconfig "$KUBECONFIG_PATH" "$@"
}

# ---- processes: a pid counts only with the start time it was recorded with ----

started_of() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The name, in brackets, may hold spaces; the start time is the 20th field after it.
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    printf '%s\n' "${20}"
}

# remember FILE PID
remember() {
    printf '%s %s\n' "$2" "$(started_of "$2")" >"$1"
}

# recall FILE: the pid in it, if that very process still lives.
recall() {
    local pid started
    [[ -s $1 ]] || return 1
    read -r pid started <"$1"
    [[ $(started_of "$pid") == "$started" ]] || return 1
    printf '%s\n' "$pid"
}

box_pid() {
    recall "$RUN/box.pid"
}

# load_image ARCHIVE: into the containerd of the box, under its name and also under its digest, as one that was pulled
# has it.
load_image() {
    local pid name
    pid=$(box_pid) || die "no cluster is up" "run tests/cluster/up"
    [[ -s $1 ]] || die "$1 is no file" "write one with: smi-runner image --out FILE"
    name=$(tar -xOf "$1" index.json 2>/dev/null | sed -nE 's/.*"io.containerd.image.name": ?"([^"]*):[^":]*".*/\1/p' || true)
    # By its standard input: the archive may lie where the box does not see it.
    timeout "$LOAD_TIMEOUT" nsenter --target "$pid" --mount --net --pid --uts --ipc -- \
        ctr -n k8s.io images import --digests ${name:+--base-name "$name"} - <"$1" ||
        die "$1 was not loaded" "it must be an OCI or docker image archive"
}

# stop FILE: end the process that FILE names, and wait until it is gone.
stop() {
    local pid
    if pid=$(recall "$1"); then
        kill -KILL "$pid" 2>/dev/null || true
        until_true "$STOP_TIMEOUT" test ! -e "/proc/$pid" || return 1
    fi
    rm -f "$1"
}

# The box's init is pid 1 of its namespace: with it the kernel ends every process in the box, and with the last of
# them its mounts, links and firewall rules. A crash here leaves files that the next `down` removes.
stop_box() {
    stop "$RUN/box.pid" || die "the box does not end within $STOP_TIMEOUT s" "see ps for the process in $RUN/box.pid"
    stop "$RUN/unshare.pid" || true
    stop "$RUN/door.pid" || true
    until_true "$STOP_TIMEOUT" remove_cgroups ||
        die "cgroups named $CGROUP remain" "see cgroup.procs under /sys/fs/cgroup/*/$CGROUP"
    rm -rf "$RUN" "$FAILED"
}

remove_cgroups() {
    local folder left=0
    for folder in /sys/fs/cgroup/"$CGROUP" /sys/fs/cgroup/*/"$CGROUP"; do
        [[ -d $folder ]] || continue
        find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || left=1
    done
    return "$left"
}
