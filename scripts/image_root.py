"""Lays out a part of an image, inside the Dockerfile: `image_root.py python|dependencies|sidecar|operator DESTINATION`.

`python` copies the interpreter that runs this, the standard library without its tests and what only people at a prompt
use, every shared library that they load, and the certificate authorities. `dependencies` copies the environment in
/opt/llmroute; `sidecar` and `operator` install the package into it, and copy what came. Whatever is copied is compiled
to bytecode that is never checked against its source (the root is read-only), and carries one time, so that the same
content is the same layer in every build and release. Any glibc-based image serves; what comes from Debian packages
stays visible to scanners in /var/lib/dpkg/status.d, as in distroless images.
"""

import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

APPLICATION = Path("/opt/llmroute")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SPARED_PACKAGES = {
    *("__pycache__", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "dist-packages", "sqlite3"),
    *("test", "tests", "tkinter", "turtledemo", "curses", "dbm"),
}
SPARED_MODULES = re.compile(
    r"(_tkinter|_test|_ctypes_test|_xx|xx|readline|_curses|_dbm|_gdbm|_sqlite3|turtle\.py|.*\.a$)"
)
UNUSED_CLIENT = re.compile(r".*/site-packages/kubernetes/client/(api|models)$")
"""The blocking one: a quarter of the image."""
SPARED_INSTALLED = {
    "__pycache__",
    "tests",
    "direct_url.json",
    *("activate", "activate.csh", "activate.fish", "Activate.ps1"),
}
SPARED_SOURCES = re.compile(r".*\.(pyx|pxd|pxi|c|h|pyi|lib|typed)$")
ACCOUNTS = {
    "passwd": "root:x:0:0:root:/root:/sbin/nologin\nllmroute:x:10001:10001:llmroute:/tmp:/sbin/nologin\n",
    "group": "root:x:0:\nllmroute:x:10001:\n",
    "nsswitch.conf": "hosts: files dns\n",
}


def main() -> None:
    """Lay out the part that the command line names."""
    part, root = sys.argv[1], Path(sys.argv[2])
    if part == "python":
        copy_python(root)
    elif part == "dependencies":
        copy_tree(APPLICATION, root)
        copy_libraries(root, APPLICATION)
    else:
        copy_package(part, root)
    compile_bytecode(root)
    set_times(root)


def copy_python(root: Path) -> None:
    """The interpreter, its library, its shared libraries, certificates, and the accounts' files."""
    interpreter = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            (root / "usr" / name).mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(Path("/", name).readlink())
    place(root, interpreter)
    for link in ("python3", "python"):
        (root / interpreter.parent.relative_to("/") / link).symlink_to(interpreter.name)
    copy_tree(library, root)
    copy_libraries(root, interpreter, library)
    place(root, CERTIFICATES)
    for name, content in ACCOUNTS.items():
        (root / "etc" / name).write_text(content)
    for folder in ("tmp", "run"):
        (root / folder).mkdir()
    (root / "tmp").chmod(0o1777)
    index_libraries(root)


def copy_package(part: str, root: Path) -> None:
    """The package itself; its wheel holds both planes, and the sidecar's image gets only its own."""
    (wheel,) = Path("/wheel").glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(APPLICATION / "bin/python")]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    site = next(APPLICATION.glob("lib/python3*/site-packages"))
    planes = ("llmroute",) if part == "sidecar" else ("llmroute", "llmroute_operator")
    scripts = ("llmroute",) if part == "sidecar" else ("llmroute", "llmroute-operator", "llmroute-injector")
    for folder in (*(site / plane for plane in planes), *site.glob("llmroute-*.dist-info")):
        copy_tree(folder, root)
    for script in scripts:
        place(root, APPLICATION / "bin" / script)


def copy_tree(source: Path, root: Path) -> None:
    """Copy a folder to the same path under `root`, without tests, caches, and modules for a prompt."""
    shutil.copytree(source, root / source.relative_to("/"), symlinks=True, ignore=spared, dirs_exist_ok=True)


def spared(folder: str, names: list[str]) -> set[str]:
    """What of a folder does not go into an image."""
    inside = folder.startswith(str(APPLICATION))
    if inside and UNUSED_CLIENT.match(folder):
        return set(names) - {"__init__.py"}
    if inside:
        return {name for name in names if name in SPARED_INSTALLED or SPARED_SOURCES.match(name)}
    return {
        name for name in names if name in SPARED_PACKAGES or SPARED_MODULES.match(name) or name.startswith("config-3")
    }


def copy_libraries(root: Path, *sources: Path) -> None:
    """Every shared library that the ELF files below `sources` load and that is not among them."""
    files = [file for source in sources for file in ([source] if source.is_file() else source.rglob("*.so*"))]
    kept = [str(file) for file in files if (root / file.relative_to("/")).exists()]
    listed = subprocess.run(["ldd", *kept], capture_output=True, text=True, check=False).stdout
    libraries = {Path(path) for path in re.findall(r"(?:=> |^\t)(/\S+)", listed, re.MULTILINE)}
    # glibc opens libgcc_s when a thread is cancelled, without being linked to it.
    libraries |= {path for library in libraries for path in library.parent.glob("libgcc_s.so.1")}
    record_packages(root, sorted(place(root, library) for library in libraries if APPLICATION not in library.parents))


def place(root: Path, path: Path) -> Path:
    """Copy one file to the same path under `root`, and the links that lead to it. The file's own path."""
    path = path.parent.resolve() / path.name
    copy = root / path.relative_to("/")
    copy.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_symlink():
        if not copy.exists():
            shutil.copy2(path, copy)
        return path
    if not copy.is_symlink():
        copy.symlink_to(path.readlink())
    return place(root, path.parent / path.readlink())


def record_packages(root: Path, files: Iterable[Path]) -> None:
    """The status of the Debian packages that `files` come from, for scanners, and their copyrights."""
    if not Path("/var/lib/dpkg/status").exists():
        return
    # dpkg knows files by the path of before /lib became a link to /usr/lib, on releases that did not move them.
    names = [name for file in files for name in (str(file), str(file).removeprefix("/usr"))]
    found = subprocess.run(["dpkg", "-S", *names], capture_output=True, text=True, check=False).stdout
    for package in sorted({line.split(": ")[0] for line in found.splitlines()}):
        name = package.split(":")[0]
        status = root / "var/lib/dpkg/status.d" / name
        status.parent.mkdir(parents=True, exist_ok=True)
        status.write_bytes(subprocess.run(["dpkg-query", "-s", package], capture_output=True, check=True).stdout)
        if (words := Path("/usr/share/doc", name, "copyright")).exists():
            place(root, words)


def index_libraries(root: Path) -> None:
    """The loader's cache, without which it finds nothing in /usr/local/lib."""
    shutil.copy2("/etc/ld.so.conf", root / "etc")
    shutil.copytree("/etc/ld.so.conf.d", root / "etc/ld.so.conf.d", dirs_exist_ok=True)
    subprocess.run(["ldconfig", "-r", str(root)], check=True)
    shutil.rmtree(root / "var/cache", ignore_errors=True)


def compile_bytecode(root: Path) -> None:
    """Bytecode beside every source, with the paths that tracebacks will show."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(
        root, maxlevels=20, quiet=1, stripdir=str(root), prependdir="/", invalidation_mode=mode, force=True
    ):
        raise SystemExit("a module could not be compiled")


def set_times(root: Path) -> None:
    """Give everything below `root` one time."""
    for path in (root, *root.rglob("*")):
        os.utime(path, (0, 0), follow_symlinks=False)


if __name__ == "__main__":
    main()
