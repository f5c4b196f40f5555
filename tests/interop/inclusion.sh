#!/usr/bin/env bash
# Checks one inclusion proof with nothing but coreutils and openssl: the path from the leaf to the root, and the
# log's signature under the root. Cosignatures are left to others.
#
# usage: inclusion.sh LEAF_FILE PROOF_FILE LOG_PUB_PEM
#
# Exit 0: accepted. Exit 8: refused, with the reason. Anything else: something else broke.
set -euo pipefail

exec 3>&1
refuse() {
    printf 'refused: %s\n' "$1" >&3
    exit 8
}
hex() { od -An -v -tx1 | tr -d ' \n'; }
bytes() { printf '%s' "${1^^}" | basenc --base16 --decode; }
sha256() { sha256sum | cut -c1-64; }
node() { bytes "01$1$2" | sha256; }
number() { [[ $1 =~ ^(0|[1-9][0-9]{0,17})$ ]] || refuse "$1 is no number"; }
# The hexadecimal form of a hash in its one base64 form.
hash() {
    local value
    value=$(printf '%s' "$1" | base64 --decode 2>/dev/null | hex) || refuse "$1 is no hash"
    [[ ${#value} == 64 && $(bytes "$value" | base64) == "$1" ]] || refuse "$1 is no hash"
    printf '%s' "$value"
}

leaf=$1 proof=$2 key=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mapfile -t lines <"$proof"

# Head and path, up to the first empty line.
at=0
[[ ${lines[at++]:-} == c2sp.org/tlog-proof@v1 ]] || refuse 'not a tlog-proof'
[[ ${lines[at]:-} != 'extra '* ]] || ((at += 1))
[[ ${lines[at]:-} == 'index '* ]] || refuse 'no index'
index=${lines[at++]#index }
number "$index"
path=()
while [[ -n ${lines[at]:-} ]]; do
    path+=("$(hash "${lines[at]}")") || exit 8
    ((at += 1))
done

# The checkpoint: three lines of text, an empty line, signatures.
((${#lines[@]} > at + 5)) || refuse 'no checkpoint'
text=("${lines[@]:at+1:3}")
[[ -z ${lines[at + 4]} ]] || refuse 'more than three lines in the checkpoint'
origin=${text[0]} size=${text[1]}
number "$size"
root=$(hash "${text[2]}") || exit 8
printf '%s\n' "${text[@]}" >"$folder/text"

# The log's signature: its key's id, then 64 bytes over the text.
raw=$(openssl pkey -pubin -in "$key" -outform DER | tail -c 32 | hex)
id=$({ printf '%s\n\1' "$origin" && bytes "$raw"; } | sha256 | cut -c1-8)
signed=no
for line in "${lines[@]:at+5}"; do
    [[ $line == "— $origin "* ]] || continue
    signature=$(printf '%s' "${line##* }" | base64 --decode | hex) || refuse "not base64: $line"
    [[ $signature == "$id"* ]] || continue
    bytes "${signature:8}" >"$folder/signature"
    openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in "$folder/text" -sigfile "$folder/signature" \
        >/dev/null 2>&1 || refuse 'the signature is not of the log'
    signed=yes
done
[[ $signed == yes ]] || refuse 'not signed by the log'

# RFC 9162, section 2.1.3.2.
((index < size)) || refuse "entry $index of $size"
fn=$index sn=$((size - 1))
r=$({ printf '\0' && cat "$leaf"; } | sha256)
for p in "${path[@]}"; do
    ((sn > 0)) || refuse 'the path is too long'
    if ((fn % 2 == 1 || fn == sn)); then
        r=$(node "$p" "$r")
        while ((fn % 2 == 0 && fn != 0)); do
            ((fn >>= 1, sn >>= 1)) || true
        done
    else
        r=$(node "$r" "$p")
    fi
    ((fn >>= 1, sn >>= 1)) || true
done
((sn == 0)) || refuse 'the path is too short'
[[ $r == "$root" ]] || refuse 'the path leads to another root'
printf 'accepted: entry %s of %s %s\n' "$index" "$origin" "$size"
