"""Whom a guest's firmware trusts, and the keys that only guests know."""

from __future__ import annotations

import json
import os
import struct
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from fakes.samples import Sample
from fakes.signers import KEYS, certify
from virt.firmware.efi import efijson, efivar  # type: ignore[import-untyped]

from builder.boot.machine import Firmware
from builder.boot.secure_boot import DB, MOK, GuestKeys, make_variables, read_kernel_signers
from builder.errors import CommandError, FormatError, HostError
from builder.kmod.signature import split_signature

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography import x509
    from fakes.tools import FakeTools

    from builder.kmod.signature import Certificate

_VENDOR, _SECOND = certify(name="Vendor"), certify("ec", name="Second")
_PKCS7 = 2


def _pe(*entries: tuple[int, bytes], magic: int = 0x20B, signature: bytes = b"PE\0\0") -> bytes:
    """Write what of a PE image leads to its signatures; an entry is its kind and content."""
    table = b"".join(
        struct.pack("<IHH", 8 + len(content), 0x200, kind) + content + bytes(-len(content) % 8)
        for kind, content in entries
    )
    directories = bytes(32) + struct.pack("<II", 512, len(table)) + bytes(8)
    optional = struct.pack("<H", magic).ljust({0x10B: 96}.get(magic, 112), b"\0") + directories
    head = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 64) + signature + bytes(20) + optional
    return head.ljust(512, b"\0") + table


def _signed_by(*certificates: Certificate) -> bytes:
    return pkcs7.serialize_certificates([certificate.x509 for certificate in certificates], Encoding.DER)


@pytest.mark.parametrize(
    ("image", "signers"),
    [
        (_pe(), []),
        (_pe((_PKCS7, _signed_by(_VENDOR))), [_VENDOR]),
        (_pe((_PKCS7, _signed_by(_VENDOR)), magic=0x10B), [_VENDOR]),
        (_pe((_PKCS7, _signed_by(_VENDOR)), (_PKCS7, _signed_by(_SECOND))), [_VENDOR, _SECOND]),
        (_pe((0xEF1, b"of another kind"), (_PKCS7, _signed_by(_VENDOR, _SECOND))), [_VENDOR, _SECOND]),
    ],
    ids=["unsigned", "signed", "32 bits", "twice", "among others"],
)
def test_the_signers_of_a_kernel_are_in_its_signatures(image: bytes, signers: Sequence[Certificate]) -> None:
    assert set(read_kernel_signers(image)) == {certificate.x509 for certificate in signers}


@pytest.mark.parametrize(
    "image",
    [b"", b"MZ".ljust(64, b"\0"), b"not PE at all" * 20, _pe((_PKCS7, _signed_by(_VENDOR)), signature=b"NE\0\0")],
    ids=["empty", "MZ only", "text", "NE"],
)
def test_what_is_not_pe_is_not_signed(image: bytes) -> None:
    assert read_kernel_signers(image) == []


@pytest.mark.parametrize(
    "image",
    [
        b"MZ",
        _pe((_PKCS7, _signed_by(_VENDOR)), magic=0x30B),
        _pe((_PKCS7, b"no PKCS#7")),
        _pe((_PKCS7, _signed_by(_VENDOR)[:-1])),
        _pe((_PKCS7, _signed_by(_VENDOR)))[:-8],
        _pe((_PKCS7, _signed_by(_VENDOR)))[:512],
        _pe((_PKCS7, _signed_by(_VENDOR)))[:160],
    ],
    ids=["no header", "no form", "rubbish", "short", "cut in it", "cut before it", "cut in the header"],
)
def test_a_damaged_signature_is_not_taken_for_none(image: bytes) -> None:
    """Without one the kernel is booted without Secure Boot, which proves less."""
    with pytest.raises(FormatError, match="damaged signature"):
        read_kernel_signers(image)


def test_guest_keys_are_made_once_and_only_for_their_owner(tmp_path: Path) -> None:
    first, again = GuestKeys(tmp_path / "keys"), GuestKeys(tmp_path / "keys")
    keys = (first.platform, first.throwaway, first.stranger)
    assert [key.certificate.fingerprint for key in keys] == [
        key.certificate.fingerprint for key in (again.platform, again.throwaway, again.stranger)
    ]
    assert len({key.certificate.fingerprint for key in keys}) == 3
    assert {file.stat().st_mode & 0o077 for file in (tmp_path / "keys").iterdir()} == {0}
    module = Sample().write()
    signed = split_signature(first.stranger.sign_module(module))
    assert signed.content == module
    assert first.stranger.certificate.accepts(signed.signers[0].signature, signed.digest("sha256"), "sha256")
    assert not first.throwaway.certificate.accepts(signed.signers[0].signature, signed.digest("sha256"), "sha256")


def _in_pem(kind: str, certificate: Certificate = _VENDOR) -> bytes:
    from cryptography.hazmat.primitives import serialization

    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return KEYS[kind].private_bytes(Encoding.PEM, form, plain) + certificate.x509.public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    "content",
    [b"", b"rubbish", _in_pem("ec"), _in_pem("rsa").partition(b"-----BEGIN CERT")[0]],
    ids=["empty", "no key", "not RSA", "no certificate"],
)
def test_a_damaged_guest_key_is_named_and_is_the_machines_fault(tmp_path: Path, content: bytes) -> None:
    """A boot test that cannot open it says nothing about the kernel."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "platform.pem").write_bytes(content)
    with pytest.raises(HostError, match=r"platform\.pem holds no RSA key") as caught:
        GuestKeys(tmp_path / "keys")
    assert "remove it" in (caught.value.hint or "")


def test_what_a_killed_run_left_of_a_key_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    left = tmp_path / "keys" / f"platform.{os.getpid()}"
    left.write_text("half")
    GuestKeys(tmp_path / "keys")
    assert not left.exists()


# Keeps what it is asked for, and makes a file.
_TOOL = 'for word; do case "$last" in --output) echo made >"$word";; --set-json) cp "$word" "{kept}";; esac; last=$word; done'
_KERNEL_SIGNER = certify("other", name="Kernel")


class _Variables:
    """Firmware variables, by a tool that only pretends to make them."""

    def __init__(self, folder: Path, tools: FakeTools) -> None:
        self.folder = folder / "boot"
        self.folder.mkdir()
        self.template = folder / "VARS.fd"
        self.template.write_bytes(b"template")
        self.tools = tools
        self._kept = folder / "wanted.json"
        tools.add("firmware-vars", _TOOL.format(kept=self._kept))

    def make(self, enrolled_in: str = DB, signers: Sequence[Certificate] = (_SECOND,)) -> Path:
        return make_variables(
            self.folder, Firmware(code=self.template, variables=self.template, needs_smm=True), owner=_VENDOR,
            kernel_signers=[_KERNEL_SIGNER.x509], module_signers=signers, enrolled_in=enrolled_in,
        )  # fmt: skip

    def wanted(self) -> dict[str, Any]:
        """Return the variables that the tool was asked for, as virt-firmware reads them."""
        read = json.loads(self._kept.read_text(), object_hook=efijson.efi_decode)
        return {str(variable.name): variable for variable in read.values()}

    def trusted(self) -> dict[str, list[x509.Certificate]]:
        return {name: [entry.x509 for entry in item.sigdb] for name, item in self.wanted().items() if item.sigdb}


@pytest.fixture
def variables(tmp_path: Path, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> _Variables:
    monkeypatch.setattr("sys.executable", "firmware-vars")
    return _Variables(tmp_path, fake_tools)


@pytest.mark.parametrize(
    ("enrolled_in", "trusted"),
    [
        (DB, {"db": [_KERNEL_SIGNER, _SECOND, _VENDOR]}),
        (MOK, {"db": [_KERNEL_SIGNER], "MokListRT": [_SECOND, _VENDOR]}),
    ],
)
def test_the_firmware_trusts_the_signers_where_the_kernel_looks_for_them(
    variables: _Variables, enrolled_in: str, trusted: dict[str, list[Certificate]]
) -> None:
    variables.make(enrolled_in, [_SECOND, _VENDOR])
    everybody = {"PK": [_VENDOR], "KEK": [_VENDOR], **trusted}
    assert variables.trusted() == {name: [item.x509 for item in items] for name, items in everybody.items()}


def test_secure_boot_is_on_and_every_variable_has_the_owner_and_attributes_that_firmware_wants(
    variables: _Variables,
) -> None:
    variables.make(MOK)
    wanted = variables.wanted()
    assert wanted["SecureBootEnable"].data == b"\x01"
    assert all(item.data == bytes(item.sigdb) for item in wanted.values() if item.sigdb), "sizes and all"
    for name in ("PK", "KEK", "db", "SecureBootEnable"):
        expected = efivar.efivar_defaults[name]
        assert (str(wanted[name].guid), wanted[name].attr) == (expected["guid"], expected["attr"]), name
    assert {name for name, item in wanted.items() if item.time} == {"PK", "KEK", "db"}, "who needs one"


def test_the_template_loses_its_list_of_what_is_forbidden(variables: _Variables) -> None:
    variables.make()
    (call,) = variables.tools.calls("firmware-vars")
    assert call[:4] == ["-m", "virt.firmware.vars", "--input", str(variables.template)]
    assert call[call.index("--delete") + 1] == "dbx"


def test_variables_are_made_once_for_each_set_of_certificates(variables: _Variables) -> None:
    first = variables.make(signers=[_SECOND, _VENDOR])
    assert variables.make(signers=[_VENDOR, _SECOND]) == first
    assert len(variables.tools.calls("firmware-vars")) == 1
    others = {variables.make(signers=[_SECOND]), variables.make(MOK, [_SECOND, _VENDOR])}
    assert len({first, *others}) == 3
    assert first.read_text() == "made\n"


def test_variables_that_cannot_be_made_leave_nothing(variables: _Variables) -> None:
    variables.tools.add(
        "firmware-vars", f"{_TOOL.format(kept=variables.folder.parent / 'x')}; echo damaged >&2; exit 1"
    )
    with pytest.raises(CommandError, match="damaged"):
        variables.make()
    assert not [file for file in variables.folder.iterdir() if not file.name.endswith(".lock")]
