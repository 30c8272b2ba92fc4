from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from builder.host.bounds import Limits
from builder.kernel import Arch, parse_kernel_version
from builder.store import jail as jail_module
from builder.store.build import REFUSING_RUNTIME, ImageBuild, find_mistake, ran_something
from builder.store.images import Store
from builder.store.jail import Jail, Walls

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIMITS = Limits(memory_bytes=2**30, processes=100, disk_bytes=2**31)


@pytest.fixture
def walls() -> Walls:
    return Walls(has_room=True, users=((0, 1), (1, 65535)), groups=((0, 65536),), grouping=None)


@pytest.fixture
def build(tmp_path: Path, walls: Walls, monkeypatch: pytest.MonkeyPatch) -> ImageBuild:
    store = Store(driver="overlay", graph_root=tmp_path / "graph", run_root=tmp_path / "run")
    store.graph_root.mkdir()
    monkeypatch.setattr(jail_module, "find_walls", lambda: walls)
    monkeypatch.setattr(jail_module, "find_store", lambda: store)
    monkeypatch.setattr(jail_module, "remove_room", lambda _folder: None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return ImageBuild(
        context=Path("/src"),
        containerfile=Path("/Containerfile.host"),
        arguments={"BUILD_COMMAND": "make modules", "DTK_AUTO": "toolkit"},
        log_file=Path("/log"),
        jail=Jail(_LIMITS),
    )


@contextmanager
def _compiled(build: ImageBuild, make_jobs: int = 1) -> Iterator[tuple[str, ...]]:
    with build.jail.open_room() as room:
        yield build.compile(room, make_jobs=make_jobs).argv


def _values(words: tuple[str, ...], option: str) -> list[str]:
    return [words[number + 1] for number, word in enumerate(words) if word == option]


def test_compile_has_a_target_results_and_no_clock(build: ImageBuild) -> None:
    with _compiled(build) as words:
        assert _values(words, "--timestamp") == ["0"]
        assert "--identity-label=false" in words
        assert _values(words, "--target") == ["build"]
        assert _values(words, "--volume") == ["/room/out:/out"]
        assert words[-3:] == ("--file", "/Containerfile", "/context")


def test_compile_is_inside_of_namespaces_with_its_inputs_read_only(build: ImageBuild) -> None:
    with _compiled(build) as words:
        assert {"--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent"} <= {*words}
        bound = {words[at + 1]: words[at + 2] for at, word in enumerate(words) if word == "--ro-bind"}
        assert bound["/src"] == "/context"
        assert bound["/Containerfile.host"] == "/Containerfile"
        written = [words[at + 2] for at, word in enumerate(words) if word == "--bind"]
        assert written == ["/room"], "the container store and everything else is read-only"


def test_compile_has_no_capability_that_leaves_a_root_folder(build: ImageBuild) -> None:
    with _compiled(build) as words:
        assert _values(words, "--cap-drop") == ["all"]
        kept = set(_values(words[words.index("buildah") :], "--cap-add"))
        assert kept == {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID"}
        assert _values(words, "--userns-uid-map") == ["0:0:1", "1:1:65535"]
        assert _values(words, "--userns-gid-map") == ["0:0:65536"]


def test_without_a_user_namespace_no_capability_is_left(build: ImageBuild, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = Walls(has_room=True, users=(), groups=(), grouping=None)
    monkeypatch.setattr(jail_module, "find_walls", lambda: bare)
    with _compiled(build) as words:
        assert "--cap-add" not in words[words.index("buildah") :]
        assert "--userns-uid-map" not in words


def test_compile_gets_no_environment_of_ours(build: ImageBuild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://name:sesame@proxy.example")
    with _compiled(build) as words:
        assert "--http-proxy=false" in words
        assert words[words.index("env") + 1] == "-i"
        assert "sesame" not in " ".join(words)


def test_compile_is_bounded_also_without_control_groups(build: ImageBuild) -> None:
    with _compiled(build) as words:
        bounds = set(_values(words, "--ulimit"))
        assert bounds == {"core=0:0", "nproc=100:100", f"fsize={2**31}:{2**31}", f"data={2**30}:{2**30}"}


def test_assemble_replaces_the_stage_and_runs_nothing(build: ImageBuild) -> None:
    words = build.assemble(
        Path("/mods"), names=("one", "two"), kernel=parse_kernel_version("6.1.0-1-arm64"), labels={"a": "b"},
        id_file=Path("/scratch/id"),
    ).argv  # fmt: skip
    assert _values(words, "--build-context") == ["modules=/modules"]
    assert _values(words, "--platform") == ["linux/arm64"]
    assert _values(words, "--tag") == ["one", "two"]
    assert _values(words, "--iidfile") == ["/told/id"]
    assert _values(words, "--isolation") == ["oci"]
    assert _values(words, "--runtime") == ["/usr/bin/false"]
    assert "--unshare-net" in words
    assert words[-3:] == ("--file", "/Containerfile", "/context")


def test_make_jobs_do_not_reach_the_final_image(build: ImageBuild) -> None:
    with _compiled(build, make_jobs=8) as words:
        assert "BUILD_COMMAND=export MAKEFLAGS=-j8; make modules" in words
    with _compiled(build) as words:
        assert "BUILD_COMMAND=make modules" in words


def test_a_plain_user_enters_a_user_namespace_first(build: ImageBuild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with _compiled(build) as words:
        assert words[:3] == ("buildah", "unshare", "--")


def test_where_the_pod_is_the_room_paths_are_the_hosts(build: ImageBuild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        jail_module, "find_walls", lambda: Walls(has_room=False, users=((0, 9),), groups=((0, 9),), grouping=None)
    )
    with _compiled(build) as words:
        assert "bwrap" not in words
        assert words[-3:] == ("--file", "/Containerfile.host", "/src")


_COMMAND = f"+ buildah build --runtime {REFUSING_RUNTIME} --tag x ."
_REFUSED = f"error running container: from {REFUSING_RUNTIME} creating container for [/x]: : exit status 1"


@pytest.mark.parametrize(
    ("log", "ran"),
    [
        (f"{_COMMAND}\nSTEP 1/2: FROM x\nSTEP 2/2: RUN x\n{_REFUSED}\nError: exit status 1\n", True),
        (_REFUSED, True),
        (f"{_COMMAND}\nSTEP 1/1: COPY a /\nError: no space left on device\n", False),
        (f"{_COMMAND}\nSTEP 1/1: COPY false {REFUSING_RUNTIME}\nError: no space left on device\n", False),
        (f"{_COMMAND}\n{_REFUSED}\n{_COMMAND}\nError: database is locked\n", False),
        (f"it said {REFUSING_RUNTIME}\n{_COMMAND}\nError: database is locked\n", False),
        ("", False),
    ],
)
def test_what_refuses_commands_is_also_in_the_command_itself(log: str, ran: bool) -> None:
    assert ran_something(log) is ran


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ('Error: building at STEP "COPY a /": checking: stat: "/a": no such file or directory', "COPY a /"),
        ('Error: building at STEP "ADD https://x.test/a /": dial tcp: lookup x.test on [::1]:53', "no build has a network"),
        ('Error: building at STEP "ADD --chown=1:1 git://x.test/a /": dial tcp', "no build has a network"),
        ('Error: The target "x" was not found in the provided Dockerfile', "target"),
        ('Error: building at STEP "RUN cat b || echo no such file or directory": exit status 1', ""),
        ('Error: building at STEP "COPY a /": write /a: no space left on device', ""),
        ('Error: building at STEP "ADD a.tar /": open /store/x: input/output error', ""),
        ("Error: open /store/images.lock: permission denied", ""),
        ("no such file or directory", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_what_a_containerfile_cannot_have_is_told_from_what_a_machine_lacks(last: str, words: str) -> None:
    said = find_mistake(f"STEP 1/2: FROM a\n{last}\n")
    assert words in said
    assert bool(said) is bool(words)


def _together(build: ImageBuild, target: str = "") -> tuple[str, ...]:
    return build.put_together(
        {"wheels": Path("/w"), "licenses": Path("/l")}, names=("a:1", "b:1"), arch=Arch.AARCH64,
        labels={"name": "x", "io.kmodsmith.cell.key": "k"}, id_file=Path("/t/id"), target=target,
    ).argv  # fmt: skip


def test_an_image_is_put_together_of_folders_by_copying_alone(build: ImageBuild) -> None:
    words = _together(build)
    assert _values(words, "--runtime") == [REFUSING_RUNTIME]
    assert _values(words, "--platform") == ["linux/arm64"]
    assert [word.partition("=")[0] for word in _values(words, "--build-context")] == ["wheels", "licenses"]
    assert _values(words, "--tag") == ["a:1", "b:1"]
    assert _values(words, "--label") == ["io.kmodsmith.cell.key=k", "name=x"]
    assert _values(words, "--annotation") == ["io.kmodsmith.cell.key=k"]
    assert (_values(words, "--target"), _values(_together(build, "image"), "--target")) == ([], ["image"])


def test_a_compile_may_copy_from_folders_and_have_further_options(build: ImageBuild) -> None:
    with build.jail.open_room() as room:
        words = build.compile(room, contents={"wheels": Path("/w")}, options=("--platform", "linux/arm64")).argv
    assert _values(words, "--build-context") == ["wheels=/wheels"]
    assert _values(words, "--platform") == ["linux/arm64"]
    bound = {words[at + 1]: words[at + 2] for at, word in enumerate(words) if word == "--ro-bind"}
    assert bound["/w"] == "/wheels", "and it is read-only"
    with _compiled(build) as plain:
        assert not _values(plain, "--build-context")
