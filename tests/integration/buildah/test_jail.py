"""Ways out of a compile, tried with the real buildah in every isolation that there is."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from integration.conftest import ROOT, copy_project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Machine

pytestmark = [pytest.mark.buildah, pytest.mark.archive]
_ESCAPES = ROOT / "tests" / "data" / "escapes"
_KERNEL = "6.1.0-*-cloud-amd64"
_USER = 54321
# What a folder without capabilities holds on its own. The rest is for the pod, whose /dev, /sys and network are seen.
_HELD_BY_THE_CONTAINER = {
    "double-chroot", "secret-by-path", "root-of-a-process", "environment-of-a-keeper", "memory-of-a-keeper",
    "files-of-a-keeper", "user-namespace", "mount-namespace", "user-and-mount-namespace", "mount-proc", "mount-tmpfs",
    "remount-proc-sys", "unmount-proc-sys", "ptrace-init", "setns-of-init", "open-by-handle", "mknod-disk", "mknod-mem",
    "raise-priority", "init-module", "packet-socket", "bpf", "perf", "dev-mem", "kcore",
}  # fmt: skip


class _Lab:
    """A project whose driver does what a test says, built with the real buildah."""

    def __init__(self, machine: Machine, folder: Path, lock_text: str) -> None:
        self.machine = machine
        self.project = copy_project(folder)
        (self.project / "versions.lock.yaml").write_text(lock_text)
        self.source = self.project / "evil"
        self.source.mkdir()
        (self.source / "LICENSE").write_text("GPL-2.0\n")

    def configure(self, *, make: str = "make", containerfile: str = "", **build: Any) -> None:
        file = self.project / "versions.yaml"
        config = yaml.safe_load(file.read_text())
        driver: dict[str, Any] = {
            "name": "evil", "version": "1.0.0", "source": "evil", "modules": ["evil"], "make": make,
            "vendor": "V", "summary": "S", "description": "D", "maintainer": "M",
        }  # fmt: skip
        if containerfile:
            (self.project / "Containerfile").write_text(containerfile)
            driver["containerfile"] = "Containerfile"
        config["drivers"] = [driver]
        config["build"] = {**config.get("build", {}), "boot": "never", "retries": 0, **build}
        file.write_text(yaml.safe_dump(config))

    def build(self, **environment: str) -> tuple[dict[str, Any], str]:
        """Return the only cell's result and its log."""
        machine = self.machine.with_environment(environment)
        done = machine.builder(self.project, "build", "--json", "--kernel", _KERNEL, "--group", "laptop")
        assert done.stdout, done.stderr
        cells = json.loads(done.stdout)["cells"]
        assert len(cells) == 1
        log = self.project / ".kmodsmith" / "cells" / cells[0]["cell"] / "build.log"
        return cells[0], log.read_text(errors="replace")


@pytest.fixture
def lab(machine: Machine, tmp_path: Path, lock_text: str) -> _Lab:
    return _Lab(machine, tmp_path, lock_text)


@contextmanager
def _bait(folder: Path) -> Iterator[dict[str, str]]:
    """Things of the host that a way out would find: a key, an abstract socket, shared memory."""
    secret = folder / "signing.key"
    secret.write_text("a private key")
    name = f"kmodsmith-{os.getpid()}"
    shared = Path("/dev/shm", name)
    shared.write_text("x")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0{name}")
        listening.listen()
        yield {"SECRET": str(secret), "ABSTRACT": name, "SHARED": name}
    shared.unlink()


def _write_probe(source: Path, bait: dict[str, str]) -> None:
    shutil.copy(_ESCAPES / "probe.c", source)
    defines = " ".join(f"-D{name}='\"{value}\"'" for name, value in bait.items())
    (source / "Makefile").write_text(f"all:\n\tgcc {defines} -o probe probe.c && ./probe >&2\n")


def _open_ways(log: str) -> set[str]:
    found = dict(re.findall(r"^PROBE ([\w-]+): (open|closed)", log, re.MULTILINE))
    assert len(found) > 35, log[-3000:]
    assert int(re.findall(r"^PROBE-SAW (\d+) keepers", log, re.MULTILINE)[0]) >= 1, "nobody to look at is no proof"
    assert found.keys() >= _HELD_BY_THE_CONTAINER
    return {name for name, state in found.items() if state == "open"}


def test_no_way_leads_out_of_the_room(lab: _Lab, tmp_path: Path) -> None:
    lab.configure()
    with _bait(tmp_path) as bait:
        _write_probe(lab.source, bait)
        _, log = lab.build()
    assert _open_ways(log) == set()


def test_where_the_pod_is_the_room_the_container_still_holds(lab: _Lab, tmp_path: Path) -> None:
    lab.configure()
    with _bait(tmp_path) as bait:
        _write_probe(lab.source, bait)
        _, log = lab.build(KMODSMITH_JAIL="pod")
    assert _open_ways(log) & _HELD_BY_THE_CONTAINER == set()


def test_no_way_leads_out_of_a_plain_users_room(machine: Machine, lock_text: str) -> None:
    # pytest closes its own folders to other users, every time that it starts.
    with tempfile.TemporaryDirectory(prefix="kmodsmith-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        lab = _Lab(machine, folder, lock_text)
        lab.configure()
        with _bait(folder) as bait:
            Path(bait["SECRET"]).chmod(0o644)  # the user could read it: nothing but the room keeps the compile from it
            _write_probe(lab.source, bait)
            log = _build_as_user(lab.project, folder)
    assert _open_ways(log) == set()


# A machine of its own as far as files go: another user, and Python reachable for it wherever root keeps it.
_BECOME = """
set -eu
cp /etc/passwd /etc/group /etc/subuid /etc/subgid "$SCRATCH/" 2>/dev/null || :
echo "tester:x:$ID:$ID::$SCRATCH/home:/bin/sh" >>"$SCRATCH/passwd"; echo "tester:x:$ID:" >>"$SCRATCH/group"
echo "tester:700000:65536" >>"$SCRATCH/subuid"; echo "tester:700000:65536" >>"$SCRATCH/subgid"
for name in passwd group subuid subgid; do
    [ -e /etc/$name ] || : >/etc/$name
    mount --bind "$SCRATCH/$name" /etc/$name
done
mount -t tmpfs none /mnt; number=0
for folder in $NEEDED; do
    number=$((number + 1)); mkdir /mnt/$number; mount --bind "$folder" /mnt/$number
done
case "$NEEDED" in */root/*) mount -t tmpfs -o mode=0755 none /root;; esac
number=0
for folder in $NEEDED; do
    number=$((number + 1)); mkdir -p "$folder"; mount --bind /mnt/$number "$folder"
done
exec setpriv --reuid "$ID" --regid "$ID" --clear-groups "$@"
"""


def _build_as_user(project: Path, folder: Path) -> str:
    """Build as a plain user with subordinate ids; returns the log."""
    scratch = folder / "user"
    for name in ("home", "run"):
        (scratch / name).mkdir(parents=True)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "kmodsmith", "packages")
    if cache.is_dir():
        shutil.copytree(cache, scratch / "home/.cache/kmodsmith/packages")
    settings = scratch / "storage.conf"
    settings.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{scratch}/home/graph"\nrunroot = "{scratch}/run/store"\n'
    )
    for given in (scratch / "home", scratch / "run", project):
        for path in (given, *given.rglob("*")):
            os.chown(path, _USER, _USER, follow_symlinks=False)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": f"{scratch}/home", "XDG_RUNTIME_DIR": f"{scratch}/run",
        "CONTAINERS_STORAGE_CONF": str(settings), "SCRATCH": str(scratch), "ID": str(_USER), "USER": "tester",
        "NEEDED": " ".join({sys.base_prefix, sys.prefix, str(ROOT)} - {"/usr"}),
    }  # fmt: skip
    builder = [sys.executable, "-m", "builder", "--project", str(project)]
    words = ["build", "--json", "--kernel", _KERNEL, "--group", "laptop"]
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _BECOME, "sh", *builder, *words]
    done = subprocess.run(command, env=environment, cwd=ROOT, text=True, capture_output=True, check=False, timeout=600)
    assert done.stdout, done.stderr
    log: Path = project / ".kmodsmith" / "cells" / json.loads(done.stdout)["cells"][0]["cell"] / "build.log"
    return log.read_text(errors="replace") or done.stdout + done.stderr


_MOUNT = """\
ARG DTK_AUTO
FROM ${DTK_AUTO} AS trap
RUN ln -s / /rootdir; ln -s __SECRET_FOLDER__ /secret
FROM ${DTK_AUTO} AS build
RUN --mount=type=bind,from=trap,source=/rootdir,destination=/exploit,rw exec >&2; ls -la /exploit/ /exploit__SECRET_FOLDER__; \\
    echo "LISTED"; touch /exploit/usr/left-behind && echo "WROTE"; exit 1
FROM scratch AS modules
COPY --from=build /out /
"""


def test_a_mount_whose_source_is_a_link_shows_nothing_of_the_host(lab: _Lab, tmp_path: Path) -> None:
    # CVE-2024-1753: buildah resolves the link on the host's side.
    secret = tmp_path / "secrets"
    secret.mkdir()
    (secret / "signing-key-of-the-vendor").write_text("a private key")
    lab.configure(containerfile=_MOUNT.replace("__SECRET_FOLDER__", str(secret)))
    _, log = lab.build()
    assert "signing-key-of-the-vendor" not in log
    assert "LISTED\n" in log
    assert "WROTE\n" not in log
    assert not Path("/usr/left-behind").exists()


def test_a_compile_sees_no_environment_but_its_own(lab: _Lab) -> None:
    lab.configure(make="env >&2; cat /proc/1/environ >&2; exit 1")
    _, log = lab.build(HTTPS_PROXY="http://name:sesame@proxy.example", BUILDAH_FORMAT="oci", CONTAINERS_X="sesame")
    assert "KERNEL_SRC_DIR" in log
    assert "sesame" not in log


@pytest.mark.parametrize(
    ("limits", "make", "code"),
    [
        ({"compile_memory": 96}, "dd if=/dev/zero of=/dev/null bs=400M count=1; cat /dev/zero | tail", "memory-limit"),
        ({"compile_processes": 64}, "bomb() { bomb | bomb & }; bomb; sleep 2; exit 1", "processes-limit"),
        ({"compile_disk": 64}, "dd if=/dev/zero of=big bs=1M count=60; dd if=/dev/zero of=b2 bs=1M count=60; sleep 60", "disk-limit"),
        ({}, "yes it prints without an end", "output-limit"),
        ({"compile_disk": 64}, "cd /out; dd if=/dev/zero of=big bs=1M count=60; dd if=/dev/zero of=b2 bs=1M count=60; sleep 60", "disk-limit"),
    ],
    ids=["memory", "fork bomb", "disk", "log", "disk of the results"],
)  # fmt: skip
def test_a_compile_cannot_use_up_the_machine(lab: _Lab, limits: dict[str, Any], make: str, code: str) -> None:
    lab.configure(make=make, **limits)
    cell, log = lab.build()
    assert (cell["failure"]["failure_class"], cell["failure"]["code"]) == ("compile", code), log[-2000:]


_REAL_MAKEFILE = "obj-m := evil.o\nall:\n\tmake -C /lib/modules/$(KERNEL_VERSION)/build M=$(CURDIR) modules\n"
_RUNS_LAST = """\
ARG DTK_AUTO
ARG BASE_IMAGE
FROM ${DTK_AUTO} AS build
ARG KERNEL_VERSION
COPY . /src
RUN cd /src; make; root=/out/opt/lib/modules/$KERNEL_VERSION; mkdir -p $root/extra; cp evil.ko $root/extra/; \
    for name in modules.order modules.builtin modules.builtin.modinfo; do : >$root/$name; done; \
    depmod -b /out/opt $KERNEL_VERSION
FROM scratch AS modules
COPY --from=build /out /
FROM ${BASE_IMAGE}
COPY --from=modules / /
RUN echo ran >/ran
"""


def test_the_last_stage_runs_nothing_on_the_container_store(lab: _Lab) -> None:
    lab.configure(containerfile=_RUNS_LAST)
    (lab.source / "Makefile").write_text(_REAL_MAKEFILE)
    (lab.source / "evil.c").write_text('#include <linux/module.h>\nMODULE_LICENSE("GPL");\n')
    cell, log = lab.build()
    assert cell["failure"]["code"] == "last-stage-runs", log[-2000:]


def test_rooms_are_gone_afterwards_and_those_of_killed_runs_with_the_next(lab: _Lab) -> None:
    graph = lab.machine.folder / "graph"
    (graph / "kmodsmith-room-left" / "graph").mkdir(parents=True)
    lab.configure(make="mkdir -p deep; i=0; while [ $i -lt 1500 ]; do mkdir d && cd d; i=$((i+1)); done; exit 1")
    lab.build()
    assert list(graph.glob("kmodsmith-room-*")) == []


def test_who_outlived_a_killed_run_is_gone_with_its_room(lab: _Lab) -> None:
    """The kernel kills bubblewrap with us, what it has just started does not yet: such a one holds a room's folders."""
    room = lab.machine.folder / "graph" / "kmodsmith-room-left"
    (room / "graph").mkdir(parents=True)
    mounts = ("--ro-bind", "/", "/", "--bind", str(room), "/mnt", "--proc", "/proc")
    words = ["bwrap", "--unshare-pid", "--as-pid-1", *mounts, "--", "sh", "-c", "echo; exec sleep 600"]
    lab.configure(make="exit 1")
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        lab.build()
        # Closed with its last process only.
        assert select.select([process.stdout], [], [], 10)[0]
        assert process.stdout.read() == b""
