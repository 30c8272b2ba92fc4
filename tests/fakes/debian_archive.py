"""A small Debian archive, and an apt-get on PATH that serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools


def package_digest(name: str, version: str) -> str:
    return f"{name}{version}".encode().hex()[:64].rjust(64, "0")


def make_stanza(name: str, version: str = "1", depends: str = "", arch: str = "amd64") -> str:
    lines = [f"Package: {name}", f"Version: {version}", f"Architecture: {arch}", "Installed-Size: 3"]
    lines += [f"Depends: {depends}"] if depends else []
    lines += [f"Filename: pool/{name}_{version}.deb", "Size: 100", f"SHA256: {package_digest(name, version)}"]
    return "\n".join(lines)


def make_headers(
    raw: str,
    version: str = "1",
    *,
    common: str,
    kbuild: str = "linux-kbuild-6.1",
    gcc: str = "linux-compiler-gcc-12-x86",
) -> str:
    return make_stanza(f"linux-headers-{raw}", version, f"{common} (= {version}), {kbuild} (>= 1), {gcc}")


COMMON = [
    make_stanza("linux-kbuild-6.1", depends="libc6 (>= 2), pahole"),
    make_stanza("linux-headers-6.1.0-9-common", arch="all"),
    make_stanza("linux-headers-6.1.0-9-common-rt", arch="all"),
    make_stanza("linux-compiler-gcc-12-x86", depends="gcc-12 (>= 12)"),
    *(
        make_stanza(name)
        for name in (
            "gcc-12",
            "gcc-12-aarch64-linux-gnu",
            "libc6",
            "pahole",
            "busybox-static",
            "base-files",
            "libxtables-dev",
            "libxtables12",
        )
    ),
]
AMD64 = [
    *COMMON,
    make_headers("6.1.0-9-amd64", common="linux-headers-6.1.0-9-common"),
    make_headers("6.1.0-9-rt-amd64", common="linux-headers-6.1.0-9-common-rt"),
]
ARM64 = [
    *COMMON,
    make_stanza("linux-headers-6.1.0-9-arm64", depends="linux-headers-6.1.0-9-common (= 1), linux-kbuild-6.1, gcc-12"),
]


def serve_archive(tools: FakeTools, folder: Path, amd64: list[str], arm64: list[str] = ARM64, update: str = "") -> None:
    """Put an apt-get on PATH whose update writes the package lists and whose install names everything."""
    data = folder / "archive"
    data.mkdir(exist_ok=True)
    for arch, stanzas in (("amd64", amd64), ("arm64", arm64)):
        (data / arch).write_text("\n\n".join(stanzas) + "\n")
    names = ("libc6", "pahole", "gcc-12", "gcc-12-aarch64-linux-gnu", "busybox-static", "base-files")
    (data / "uris").write_text("".join(f"'u' f 1 SHA256:{package_digest(name, '1')}\n" for name in names))
    # What a build package comes to: itself, what it depends on, and what is in the toolchain already.
    more = ("libxtables-dev", "libxtables12", "libc6")
    (data / "more").write_text("".join(f"'u' f 1 SHA256:{package_digest(name, '1')}\n" for name in more))
    has_ccache = any(stanza.startswith("Package: ccache\n") for stanza in amd64)
    cache = ("ccache", "libc6") if has_ccache else ()
    (data / "ccache").write_text("".join(f"'u' f 1 SHA256:{package_digest(name, '1')}\n" for name in cache))
    write = f'for arch in amd64 arm64; do cat "{data}/$arch" >"$folder/state/lists/my%5fnames_${{arch}}"; done'
    tools.add(
        "apt-get",
        f"""folder=${{APT_CONFIG%/*}}; arch=amd64; case $folder in *aarch64) arch=arm64 ;; esac
case "$1" in
update) {update or write} ;;
indextargets) echo "http://deb.test/debian/ $folder/state/lists/my%5fnames_$arch" ;;
install) case " $* " in
    *" ccache "*) cat "{data}/ccache"; exit ;;
    *" absent "*) echo "E: Unable to locate package absent" >&2; exit 100 ;;
    *" libxtables-dev "*|*" libxtables.dev "*) cat "{data}/more" ;;
    esac; cat "{data}/uris" ;;
esac""",
    )
