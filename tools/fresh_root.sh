#!/bin/sh
# Runs ./dev in a bare system, as on a newcomer's machine: makes a minimal Debian or Ubuntu with
# debootstrap, copies the files of this tree that git does not ignore into it, and runs
# `./dev WORD...` there. For root on Debian or Ubuntu with debootstrap.
#
# Usage: fresh_root.sh [-s SUITE] [-m MIRROR] [-u USER] FOLDER WORD...
#   FOLDER  where the systems are kept: FOLDER/SUITE stays bare, each run works in FOLDER/run
#   SUITE   bookworm (the default), noble, ...; MIRROR is where debootstrap finds it
#   USER    run as a new user of that name, without rights, instead of root
# Example: fresh_root.sh /var/tmp/roots demo
set -eu
suite=bookworm mirror='' user=''
while getopts s:m:u: option; do
  case $option in
    s) suite=$OPTARG ;;
    m) mirror=$OPTARG ;;
    u) user=$OPTARG ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
folder=$1
shift
source=$(cd "$(dirname "$0")/.." && pwd)
bare=$folder/$suite root=$folder/run

if [ ! -d "$bare" ]; then
  echo "== making $bare"
  mkdir -p "$folder"
  # No mirror means debootstrap's own choice for the suite.
  debootstrap --variant=minbase "$suite" "$bare.part" ${mirror:+"$mirror"} >"$folder/$suite.log"
  mv "$bare.part" "$bare"
fi
rm -rf "$root"
cp -a "$bare" "$root"
mkdir "$root/tilewise"
git -C "$source" rev-parse --git-dir >/dev/null
(cd "$source" && git ls-files -z --cached --others --exclude-standard |
  tar --null --ignore-failed-read -cf - -T -) | tar -xf - -C "$root/tilewise"

# This machine's way to the network goes along: names, proxies, and certificates of its own.
cp /etc/resolv.conf "$root/etc/resolv.conf"
certificates=
if [ -n "${SSL_CERT_FILE-}" ]; then
  mkdir -p "$root/etc/ssl/certs"
  cp "$SSL_CERT_FILE" "$root/etc/ssl/certs/host.crt"
  certificates="SSL_CERT_FILE=/etc/ssl/certs/host.crt PIP_CERT=/etc/ssl/certs/host.crt"
fi
home=/root
if [ -n "$user" ]; then
  home=/home/$user
  chroot "$root" useradd --create-home "$user"
  chroot "$root" chown -R "$user" /tilewise
fi
cat >"$root/run-word" <<END
cd /tilewise
exec env -i HOME=$home PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 $certificates \\
  ${http_proxy:+http_proxy=$http_proxy} ${https_proxy:+https_proxy=$https_proxy} ./dev "\$@"
END

echo "== ./dev $* in $root"
# A mount namespace of its own: the mounts vanish with the run.
# shellcheck disable=SC2016
exec unshare --mount --propagation private sh -c '
  root=$1 user=$2
  shift 2
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  exec chroot ${user:+--userspec="$user"} "$root" sh /run-word "$@"
' sh "$root" "$user" "$@"
