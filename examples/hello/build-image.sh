#!/bin/sh
# Makes the image of the hello example out of this machine's own package archive: no registry is asked.
#
#   build-image.sh [TAG]        TAG is homeport-hello:1, the one in hello.homeport.yml
#
# The image is one static busybox (2 MB: a shell and a web server) and the two scripts in image/. Needs a Docker engine,
# and Debian's or Ubuntu's package archive unless a static busybox is installed here. An image that is there is kept.
set -eu

tag=${1:-homeport-hello:1}
here=$(cd "$(dirname "$0")" && pwd)
docker=${DOCKER:-docker}

say() { printf '%s\n' "$*"; }
die() {
    printf 'build-image: %s\n' "$*" >&2
    exit 1
}

$docker version >/dev/null 2>&1 || die "no Docker engine answers; start it (systemctl start docker) and run this again"
if $docker image inspect "$tag" >/dev/null 2>&1; then
    say "image $tag is there already"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' TERM INT HUP

# busybox-static conflicts with the busybox package that many machines have, so it is unpacked and never installed.
busybox=$(command -v busybox || true)
if [ -z "$busybox" ] || ldd "$busybox" >/dev/null 2>&1 || ! "$busybox" --list | grep -qx httpd; then
    mkdir "$work/deb"
    (cd "$work/deb" && apt-get -q -o APT::Sandbox::User=root download busybox-static >"$work/log" 2>&1) ||
        die "cannot download the package busybox-static ($(tail -n 1 "$work/log")); run apt-get update and try again"
    dpkg-deb -x "$work"/deb/*.deb "$work/deb/root"
    busybox=$(find "$work/deb/root" -path '*bin/busybox' -type f)
fi

root=$work/root
mkdir -p "$root/bin" "$root/etc" "$root/www/cgi-bin" "$root/tmp"
chmod 1777 "$root/tmp"
cp "$busybox" "$root/bin/busybox"
for applet in $("$root/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
cp "$here/image/serve" "$root/bin/serve"
cp "$here/image/index.cgi" "$root/www/cgi-bin/index.cgi"
chmod 755 "$root/bin/serve" "$root/www/cgi-bin/index.cgi"
echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
echo 'nobody:x:65534:65534:nobody:/:/bin/false' >>"$root/etc/passwd"

tar -C "$root" --owner=0 --group=0 --numeric-owner -c . |
    $docker import -c 'ENV PATH=/bin' -c 'USER nobody' -c 'EXPOSE 8000' -c 'CMD ["serve"]' - "$tag" >"$work/log" 2>&1 ||
    die "docker import failed: $(tail -n 1 "$work/log")"
say "image $tag is made"
