"""A project on a machine with a buildah on PATH that pretends."""

from __future__ import annotations

import functools
import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from builder.__main__ import run_cli
from builder.boot.stage import Booter, BootReport, BootRequest
from builder.boot.verdict import BootCheck, BootProblem, Verdict
from builder.build import cells as build_module
from builder.host.locks import share_store
from builder.image.packed import Packing, pack_image
from builder.sources.lock import Lock
from builder.sources.lock_file import read_lock, write_lock
from builder.store import jail as jail_module
from builder.store.jail import Walls
from fakes.locks import debian_of
from fakes.project import KERNELS
from fakes.samples import FLAGS, LABELS, Sample, image_entries, write_facts, write_sample_image
from fakes.signers import certify

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fakes.tools import FakeTools


# Keeps a store as files: a name per line in 'names'. 'build' gives a ready module, unless the kernel is in 'broken',
# and 'push' a ready image; both are in the folder of the kernel, whose version is also the image's id. A call can be
# held up by a hook: a file 'before-VERB' in the store is run first; 'compile',
# 'assemble' and 'self-test' are hooks of component images, 'cached' one of a compile that has a cache. What the shell has built in is used where it can be:
# thousands of these are started, and each further program of one takes longer than all the rest of it.
_BUILDAH = """
store="{store}"
stands_for() {{ found=; while read -r name id; do [ "$name" != "$1" ] || found=$id; done <"$store/names"; }}
digest_of() {{ digest=; [ ! -f "$store/$1/digest" ] || read -r digest <"$store/$1/digest"; }}
list() {{
    printf '['; first=1
    while read -r name id; do
        [ $first = 1 ] || printf ','; first=0
        digest_of "$id"
        printf '{{"id":"%s","digest":"sha256:%s","names":["%s"]}}' "$id" "$digest" "$name"
    done <"$store/names"; printf ']'
}}
verb=$1; shift
[ ! -f "$store/before-$verb" ] || . "$store/before-$verb"
case "$verb" in
images) list ;;
containers) printf '[]' ;;
info) printf '{{"store":{{"GraphDriverName":"overlay","GraphRoot":"%s","RunRoot":"%s"}}}}' "$store" "$store/run" ;;
inspect) for name in "$@"; do :; done; stands_for "$name"; id=${{found:-$name}}; digest_of "$id"
    [ -d "$store/$id" ] || {{ echo "Error: $name: image not known" >&2; exit 125; }}
    echo "$id sha256:$digest" ;;
pull) : ;;
tag) stands_for "$1"; found=${{found:-$1}}; shift
    for name in "$@"; do echo "$name $found" >>"$store/names"; done ;;
push) for word in "$@"; do case "$word" in dir:*) to=${{word#dir:}} ;; -*) ;; *) from=$word ;; esac; done
    stands_for "$from"; found=${{found:-$from}}
    [ -d "$store/$found" ] || {{ echo "Error: image not known" >&2; exit 125; }}
    cp -r "$store/$found/exported" "$to" ;;
rmi)
    while read -r name id; do
        for gone in "$@"; do [ "$name" != "$gone" ] || continue 2; done; echo "$name $id" >>"$store/left"
    done <"$store/names"; cat "$store/left" >"$store/names" 2>/dev/null; rm "$store/left" ;;
build)
    out=; new=; own=; kernel=; stage=; tags=; is_driver=; component=
    while [ $# -gt 0 ]; do
        case "$1" in
        --volume) case "$2" in *:/out) out=${{2%%:*}} ;; */new) new=${{2%%:*}} ;; */own) own=${{2%%:*}} ;; esac ;;
        --target) stage=$2 ;;
        --tag) tags="$tags $2" ;;
        --iidfile) id_file=$2 ;;
        --label) case "$2" in io.kmodsmith.component=*) kernel=${{2#*=}}; kernel=${{kernel%/*}}-${{kernel##*/}} ;; esac ;;
        --build-arg) case "$2" in KERNEL_VERSION=*) kernel=${{2#*=}} ;; BUILD_COMMAND=*) is_driver=1 ;;
            TARGETARCH=*) component=compile ;; esac ;;
        esac
        shift
    done
    [ -n "$component$kernel" ] || component=self-test
    hook=$component; [ -z "$component" ] || [ "$stage" = build ] || hook=assemble
    if [ -n "$hook" ] && [ -f "$store/$hook" ]; then . "$store/$hook"; fi
    if [ -n "$component" ] && [ "$stage" = build ]; then
        exit 0
    elif [ "$stage" = build ]; then
        if [ -z "$is_driver" ]; then
            cp "$store/$kernel/facts/"* "$out/"
            [ ! -f "$store/hostile-facts" ] || (cd "$out"; . "$store/hostile-facts"); exit
        fi
        [ ! -f "{store}/broken" ] || while read -r broken message; do
            [ "$kernel" != "$broken" ] || {{ echo "$message"; cat "{store}/noise" 2>/dev/null; exit 2; }}
        done <"{store}/broken"
        mkdir -p "$out/opt/lib/modules/$kernel/extra"
        cp "$store/$kernel/demo.ko" "$out/opt/lib/modules/$kernel/extra/demo.ko"
        [ ! -f "$store/hostile" ] || (cd "$out"; . "$store/hostile")
        [ -z "$new" ] || [ ! -f "$store/cached" ] || . "$store/cached"
    else
        for name in $tags; do echo "$name $kernel" >>"$store/names"; done
        [ -z "$id_file" ] || echo "sha256:$kernel" >"$id_file"
    fi ;;
esac
"""


_DEPMOD = """
folder=$2/lib/modules/$3
for name in modules.dep modules.dep.bin modules.alias.bin modules.symbols.bin; do echo extra/demo.ko: >"$folder/$name"; done
"""


FEW = ("6.1.0-10-amd64", "6.1.0-10-cloud-amd64", "6.1.0-10-rt-amd64", "6.12.5+deb12-amd64")
OOPS = BootProblem(
    check=BootCheck.KERNEL_OOPS, step="load demo", sentence="Oops: 0002", place="demo_init+0x1/0x2 [demo]"
)


@dataclass(frozen=True)
class _Offer:
    """What buildah gives for a kernel: the module, and the image as ``push`` leaves it in a folder."""

    module: bytes
    exported: Mapping[str, bytes]
    digest: str


def _make_offer(kernel: str, labels: tuple[tuple[str, str], ...], **changes: Any) -> _Offer:
    machine, flags = (183, FLAGS + "aarch64") if kernel.endswith("arm64") else (62, FLAGS)
    module = Sample(**{"kernel": kernel, "machine": machine, "flags": flags, **changes}).write()
    with TemporaryDirectory() as folder:
        entries = image_entries({"extra/demo.ko": module}, kernel)
        layout = write_sample_image(Path(folder), [entries], LABELS | {"release": kernel, **dict(labels)})
        blobs = {file.name: file.read_bytes() for file in (layout / "blobs" / "sha256").iterdir()}
        digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"].removeprefix("sha256:")
    blobs["manifest.json"] = blobs.pop(digest)
    return _Offer(module, blobs, digest)


_known_offer = functools.lru_cache(maxsize=256)(_make_offer)  # hundreds of tests start with the same six


class Bench:
    """A project on a machine with fake tools."""

    def __init__(self, folder: Path, tools: FakeTools, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.store = folder.parent / "store"
        self._tools = tools
        self._capsys = capsys
        self.store.mkdir()
        (self.store / "names").touch()
        tools.add("buildah", _BUILDAH.format(store=self.store))
        tools.add("depmod", _DEPMOD)
        for kernel in KERNELS:
            self.offer(kernel)
        # The environment of a compile is its own; that of a fake must know where the fakes are.
        tools.add("env", 'shift; while [ "${1#*=}" != "$1" ]; do shift; done; exec "$@"')

    def offer(self, kernel: str, *, labels: dict[str, str] | None = None, **changes: Any) -> None:
        """Prepare what buildah will give for a kernel; ``changes`` are fields of the module."""
        folder = self.store / kernel
        shutil.rmtree(folder, ignore_errors=True)
        write_facts(folder / "facts", kernel)
        known = tuple(sorted((labels or {}).items()))
        offer = _make_offer(kernel, known, **changes) if changes else _known_offer(kernel, known)
        (folder / "demo.ko").write_bytes(offer.module)
        (folder / "exported").mkdir()
        for name, content in offer.exported.items():
            (folder / "exported" / name).write_bytes(content)
        (folder / "digest").write_text(f"{offer.digest}\n")

    def offer_with_keys(self) -> None:
        """Have images carry the keys of their cells, as buildah labels them."""
        for cell in json.loads(self.run("plan", "--json", "--boot", "never")[1])["cells"]:
            self.offer(cell["kernel"], labels={"io.kmodsmith.cell.key": cell["key"]})

    def digest(self, kernel: str) -> str:
        """Return the digest of a kernel's image in registries."""
        return pack_image(self.store / kernel / "exported", Packing()).digest

    def run(self, *arguments: str) -> tuple[int, str, str]:
        code = run_cli(["--project", str(self.folder), *arguments])
        printed = self._capsys.readouterr()
        return code, printed.out, printed.err

    def build(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        code, out, _ = self.run("build", "--json", *arguments)
        return code, json.loads(out)

    def break_kernel(self, kernel: str, message: str) -> None:
        with (self.store / "broken").open("a") as file:
            file.write(f"{kernel} {message}\n")

    def use_signer(self, *, until: datetime = datetime(2120, 1, 1, tzinfo=UTC), **signer: str) -> None:
        certificate = certify(since=datetime(2020, 1, 1, tzinfo=UTC), until=until)
        (self.folder / "vendor.pem").write_bytes(certificate.x509.public_bytes(Encoding.PEM))
        file = self.folder / "versions.yaml"
        wanted = "{source: debian, newest: true, signing: required, signers: [vendor],"
        text = file.read_text().replace("{source: debian, newest: true,", wanted)
        text = text.replace("{source: debian}", "{source: debian, tag_suffix: -unsigned}")
        file.write_text(f"{text}signers: {json.dumps({'vendor': {'certificate': 'vendor.pem', **signer}})}\n")

    @contextmanager
    def another_run(self) -> Iterator[None]:
        """Somebody with another HOME, cache and project uses the same store."""
        with share_store(self.store):
            yield

    def calls(self, verb: str) -> list[list[str]]:
        return [call for call in self._tools.calls("buildah") if call[:1] == [verb]]

    def started_builds(self) -> int:
        return sum(any(word.startswith("BUILD_COMMAND=") for word in call) for call in self.calls("build"))


@pytest.fixture
def bench(
    project_dir: Path,
    fake_tools: FakeTools,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Bench:
    monkeypatch.setenv("XDG_CACHE_HOME", str(project_dir.parent / "cache"))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(jail_module, "find_walls", lambda: Walls(has_room=False, users=(), groups=(), grouping=None))
    monkeypatch.setattr(build_module, "_RETRY_PAUSE_S", 0.0)
    monkeypatch.setattr(
        "builder.sources.debian.toolkit.DebianToolkits.ensure",
        lambda _self, kernel, _wanted=(): f"toolkit:{kernel.tag}",
    )
    monkeypatch.setattr(
        "builder.sources.debian.toolkit.DebianToolkits.ensure_runtime", lambda _self, arch: f"base:{arch}"
    )
    monkeypatch.setattr("builder.sources.debian.toolkit.DebianToolkits.prefetch", lambda _self, _kernels: None)
    return Bench(project_dir, fake_tools, capsys)


@pytest.fixture
def booting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A project whose cells are booted; what comes of it is what a test puts here, by kernel."""
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text() + "build: {boot: changed}\n")
    lock_file = bench.folder / "versions.lock.yaml"
    lock = read_lock(lock_file)
    source = debian_of(lock)
    package = next(iter(source.packages.values()))
    kernels = {raw: kernel.model_copy(update={"image": "image"}) for raw, kernel in source.kernels.items()}
    packages = {**source.packages, "image": package}
    write_lock(
        Lock(sources={"debian": source.model_copy(update={"kernels": kernels, "packages": packages})}), lock_file
    )
    outcomes: dict[str, Any] = {"boots": []}

    def boot(_self: Booter, request: BootRequest) -> BootReport:
        outcomes["boots"].append(request.kernel.raw)
        outcome = outcomes.get(request.kernel.raw, ())
        if isinstance(outcome, Exception):
            raise outcome
        return BootReport(
            cell=request.cell, kernel=request.kernel.raw, wish="auto", mode="secure", acceleration="tcg",
            from_snapshot=False, enrolled="db", signed_by="throwaway", seconds=8.0, boot_seconds=6.0, facts={}, steps=[],
            verdict=Verdict(problems=outcome, allowed=(), refusals=("refused",)),
        )  # fmt: skip

    monkeypatch.setattr(Booter, "boot", boot)
    monkeypatch.setattr(Booter, "check", lambda _self, _arches: None)
    monkeypatch.setattr("builder.sources.debian.source.DebianSource.read_busybox", lambda *_: b"")
    return outcomes
