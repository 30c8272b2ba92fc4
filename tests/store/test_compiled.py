"""Results that are kept for the next run, which another one may have written by hand."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from builder.errors import FormatError
from builder.host.places import file_digest
from builder.store.compiled import CompiledResults
from builder.store.result import CompileResult
from builder.store.result_folder import read_result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from builder.store.result import ResultEntry


def _write_kept(folder: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> CompiledResults:
    folder.mkdir()
    with tarfile.open(folder / "x", "w", format=tarfile.GNU_FORMAT) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return _name_kept(folder)


def _name_kept(folder: Path) -> CompiledResults:
    (folder / "x").rename(folder / f"key-{file_digest(folder / 'x')}.tar")
    return CompiledResults(folder)


def _member(path: str, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(path)
    for name, value in fields.items():
        setattr(member, name, value)
    return member, b"\0" * member.size


def test_results_are_kept(left: Path, tmp_path: Path) -> None:
    result = read_result(left)
    kept = CompiledResults(tmp_path / "kept")
    assert kept.restore("key") is None
    kept.keep("key", CompileResult({}))
    kept.keep("key", result)
    assert kept.restore("key") == result
    assert kept.keys() == {"key"}


class _TwiceAtOnce(dict[str, "ResultEntry"]):
    """Entries in whose middle somebody else keeps a result of the same compile."""

    def __init__(self, entries: Mapping[str, ResultEntry], keep: Callable[[], None]) -> None:
        super().__init__(entries)
        self._keep = keep

    def items(self) -> Any:
        for number, item in enumerate(super().items()):
            if number == 1:
                self._keep()
            yield item


def test_two_that_keep_one_result_at_once_do_not_write_into_each_others_file(left: Path, tmp_path: Path) -> None:
    result = read_result(left)
    kept, others = CompiledResults(tmp_path / "kept"), CompiledResults(tmp_path / "kept")
    seen: list[CompileResult | None] = []

    def keep() -> None:
        others.keep("key", result)
        seen.append(others.restore("key"))

    kept.keep("key", CompileResult(_TwiceAtOnce(result.entries, keep)))
    assert seen == [result], "who was done first has its own, whole"
    assert kept.restore("key") == result
    assert [file.suffix for file in (tmp_path / "kept").iterdir()] == [".tar"], "nothing half-written is left"


def test_a_result_that_another_run_dropped_meanwhile_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pathlib.Path.glob", lambda folder, _: iter([folder / "key-0.tar"]))
    CompiledResults(tmp_path).drop("key")


def test_results_that_older_versions_kept_are_read(left: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    with tarfile.open(folder / "x", "w") as archive:
        archive.add(left, arcname=".")
    assert _name_kept(folder).restore("key") == read_result(left)


@pytest.mark.parametrize(
    "members",
    [
        [_member("/etc/cron.d/x")],
        [_member("../../x")],
        [_member("./a/../../x")],
        [_member("a"), _member("a")],
        [_member("link", type=tarfile.SYMTYPE, linkname="/etc"), _member("link/x")],
        [_member("x", type=tarfile.SYMTYPE, linkname="/etc/shadow")],
        [_member("a"), _member("b", type=tarfile.LNKTYPE, linkname="a")],
        [_member("x", type=tarfile.CHRTYPE)],
        [_member("x", type=tarfile.FIFOTYPE)],
        [_member("x", type=tarfile.GNUTYPE_SPARSE)],
        [_member("x", type=b"Z")],
        [_member("a\nb")],
    ],
)
def test_kept_results_that_were_made_by_hand_are_refused(
    members: list[tuple[tarfile.TarInfo, bytes]], tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match="compiled again"):
        _write_kept(tmp_path / "kept", members).restore("key")


def test_headers_within_headers_within_headers_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 11
    block = header.tobuf(tarfile.USTAR_FORMAT) + b"11 path=ab\n".ljust(512, b"\0")
    (folder / "x").write_bytes(block * 3000)
    with pytest.raises(FormatError, match="compiled again"):
        _name_kept(folder).restore("key")
