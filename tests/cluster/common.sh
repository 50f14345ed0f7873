# Sourced by every script here: where things are kept. Nothing of it lies in the checkout.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/llmroute/cluster
export BUILDAH_ISOLATION=chroot CGO_ENABLED=0

say() { echo "cluster: $*" >&2; }
die() { say "$@"; exit 1; }

short_hash() { sha256sum | cut -c1-12; }

# Run a command while nobody else runs one under the same name, then let go.
alone() { # NAME COMMAND...
    local name=$1
    shift
    mkdir -p "$cache"
    (flock 9 && "$@" 9>&-) 9>"$cache/.$name.lock"
}

# Inside of its network namespace every cluster has the same addresses.
node_address=198.51.100.2
pod_network=10.244.0.0/24

cgroup_hierarchies() { # one folder with version 2, one for each controller with version 1
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        echo /sys/fs/cgroup
    else
        find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d
    fi
}

# Buildah keeps its images in the cache too; in a container whose root is an overlay, it cannot stack another on it.
unset STORAGE_DRIVER
export CONTAINERS_STORAGE_CONF=$cache/storage.conf
if [ ! -e "$CONTAINERS_STORAGE_CONF" ]; then
    mkdir -p "$cache"
    driver=overlay
    [ "$(stat --file-system --format %T "$cache")" != overlayfs ] || driver=vfs
    printf '[storage]\ndriver = "'$driver'"\ngraphroot = "%s"\nrunroot = "%s"\n' "$cache/store" "$cache/store/run" \
        >"$CONTAINERS_STORAGE_CONF.$$"
    mv "$CONTAINERS_STORAGE_CONF.$$" "$CONTAINERS_STORAGE_CONF"
fi

archive() { # IMAGE FILE
    mkdir -p "$(dirname "$2")"
    rm -f "$2.part"
    buildah push -q "$1" "docker-archive:$2.part:$1"
    mv "$2.part" "$2"
}
