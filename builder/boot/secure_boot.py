"""Secure Boot for guests: whom the firmware trusts, who signed the kernel, and keys that only guests know.

The kernel is started as its vendor signed it: the certificate inside its own signature is enrolled, nothing is signed
anew. The keys made here never sign anything that leaves the machine; see ``GuestKeys``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import sys
import uuid
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from builder.digest import content_id
from builder.errors import FormatError, HostError
from builder.host.locks import alone
from builder.host.run import Command, run
from builder.kmod.signature import Certificate, append_signature
from builder.signing.create import certify_itself

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from builder.boot.machine import Firmware

# The kernel's own names (Documentation/ABI and security/integrity/platform_certs/load_uefi.c): certificates of the
# firmware's db, and of shim's list of machine owner keys.
DB = "db"
MOK = "MokListRT"
_VARIABLES_FORMAT = "1"
# Vendor GUIDs and attributes of variables (UEFI 2.10, sections 3.3, 8.2 and 32.6; edk2's AuthenticatedVariableFormat.h;
# shim), and the kind of a signature list that holds a certificate.
_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_IMAGE_SECURITY = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
_SECURE_BOOT_ENABLE = "f0a30bc7-af08-4556-99c4-001009c93a44"
_SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"
_X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
_OWNER = uuid.UUID("d6b9cc4a-5e1c-4f1b-9d36-6b6d6f647374")
_BOOT_ONLY = 0x3
_RUNTIME = 0x7
_AUTHENTICATED = 0x27
# EFI_TIME of 2010-01-01: variables that are authenticated by time need one.
_TIMESTAMP = struct.pack("<HBBBBBxIhBx", 2010, 1, 1, 0, 0, 0, 0, 0, 0)
_PE_POINTER = 0x3C
_DIRECTORY_OF_CERTIFICATES = 4
_DIRECTORIES = {0x10B: 96, 0x20B: 112}
_PKCS7_CERTIFICATE = 2


def read_kernel_signers(image: bytes) -> list[x509.Certificate]:
    """Return the certificates inside a kernel image's signatures; none where it is not signed.

    Format: Microsoft's PE/COFF specification, "The Attribute Certificate Table".

    Raises:
        FormatError: it is not a PE image, or its table is damaged.
    """
    if image[:2] != b"MZ":
        return []
    try:
        header = struct.unpack_from("<I", image, _PE_POINTER)[0]
        if image[header : header + 4] != b"PE\0\0":
            return []
        optional = header + 24
        directories = optional + _DIRECTORIES[struct.unpack_from("<H", image, optional)[0]]
        offset, size = struct.unpack_from("<II", image, directories + 8 * _DIRECTORY_OF_CERTIFICATES)
        found: list[x509.Certificate] = []
        end = offset + size
        while offset + 8 < end:
            length, _, kind = struct.unpack_from("<IHH", image, offset)
            if kind == _PKCS7_CERTIFICATE:
                found += _read_certificates(image[offset + 8 : offset + length])
            offset += max(8, (length + 7) // 8 * 8)
    except (struct.error, KeyError, ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise FormatError(f"the kernel image has a damaged signature: {error}") from None
    return found


def _read_certificates(data: bytes) -> list[x509.Certificate]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it is BER and not DER: firmware takes both
        return pkcs7.load_der_pkcs7_certificates(data)


@dataclass(frozen=True, slots=True)
class GuestKey:
    """A key that exists for guests only, with its certificate."""

    key: rsa.RSAPrivateKey
    certificate: Certificate

    def sign_module(self, content: bytes) -> bytes:
        """Return a module, uncompressed and unsigned, with this key's signature."""
        signature = self.key.sign(content, padding.PKCS1v15(), hashes.SHA256())
        return append_signature(content, [(self.certificate, "sha256", signature)])


class GuestKeys:
    """Three keys, made once for a machine: none of them is a signer, none ever gets near an image.

    ``platform`` owns the guests' firmware. ``throwaway`` signs copies of modules that have no signer, so that the
    kernel can be locked down for them, too. ``stranger`` is trusted by nobody: what it signs must be refused.

    Raises:
        HostError: one that was made is damaged.
    """

    def __init__(self, folder: Path) -> None:
        with alone(folder):
            folder.mkdir(exist_ok=True, mode=0o700)
            self.platform, self.throwaway, self.stranger = (
                _open_key(folder / f"{name}.pem", name) for name in ("platform", "throwaway", "stranger")
            )


def _open_key(file: Path, name: str) -> GuestKey:
    if not file.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"kmodsmith boot test: {name}")])
        certificate = certify_itself(subject, key, datetime.now(UTC))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.unlink(missing_ok=True)  # of a run that was killed: in containers, process ids come again
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(private + certificate.public_bytes(serialization.Encoding.PEM))
        temporary.rename(file)
    pem = file.read_bytes()
    with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm):
        private_key = serialization.load_pem_private_key(pem, None)
        if isinstance(private_key, rsa.RSAPrivateKey):
            return GuestKey(private_key, Certificate(x509.load_pem_x509_certificate(pem)))
    raise HostError(f"{file} holds no RSA key with its certificate", hint="remove it: it is made again")


@cache
def _digest_of(file: Path) -> str:
    """Return the SHA-256 of a template, read once in a run: that of arm64 has 64 MiB."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def make_variables(
    folder: Path,
    firmware: Firmware,
    *,
    owner: Certificate,
    kernel_signers: Sequence[x509.Certificate],
    module_signers: Sequence[Certificate],
    enrolled_in: str,
) -> Path:
    """Return a file with the firmware's variables, Secure Boot on; made once for each set of certificates.

    Args:
        folder: where such files are kept.
        firmware: gives the template; its variables are dropped.
        owner: platform key and key exchange key.
        kernel_signers: who may have signed the kernel.
        module_signers: who may have signed modules.
        enrolled_in: variable that gets the module signers, ``DB`` or ``MOK``.
    """
    kernel_ders = [certificate.public_bytes(serialization.Encoding.DER) for certificate in kernel_signers]
    module_ders = [certificate.der for certificate in module_signers]
    template = _digest_of(firmware.variables)
    everything = [sorted(der.hex() for der in ders) for ders in (kernel_ders, module_ders, [owner.der])]
    identity = content_id("variables", _VARIABLES_FORMAT, template, enrolled_in, everything)
    file = folder / f"variables-{identity[:32]}.fd"
    with alone(file):
        if not file.exists():
            trusted = [*kernel_ders, *(module_ders if enrolled_in == DB else [])]
            owners = module_ders if enrolled_in == MOK else []
            _write_variables(firmware.variables, file, owner.der, trusted, owners)
    return file


def _write_variables(
    template: Path, file: Path, owner: bytes, trusted: Sequence[bytes], machine_owner: Sequence[bytes]
) -> None:
    variables = [
        _variable("PK", _GLOBAL, _signature_lists([owner]), attributes=_AUTHENTICATED),
        _variable("KEK", _GLOBAL, _signature_lists([owner]), attributes=_AUTHENTICATED),
        _variable(DB, _IMAGE_SECURITY, _signature_lists(trusted), attributes=_AUTHENTICATED),
        _variable("SecureBootEnable", _SECURE_BOOT_ENABLE, b"\x01", attributes=_BOOT_ONLY),
    ]
    if machine_owner:
        variables.append(_variable(MOK, _SHIM, _signature_lists(machine_owner), attributes=_RUNTIME))
    temporary = file.with_suffix(f".{os.getpid()}")
    wanted = temporary.with_suffix(".json")
    wanted.write_text(json.dumps({"version": 2, "variables": variables}))
    argv = (
        sys.executable, "-m", "virt.firmware.vars", "--input", str(template), "--output", str(temporary),
        "--delete", "dbx", "--set-json", str(wanted),
    )  # fmt: skip
    try:
        run(Command(argv=argv)).check()
        temporary.rename(file)
    finally:
        wanted.unlink()
        temporary.unlink(missing_ok=True)


def _variable(name: str, guid: str, data: bytes, *, attributes: int) -> dict[str, object]:
    """Return a variable in the form of python-uefivars, which virt-firmware reads."""
    variable: dict[str, object] = {"name": name, "guid": guid, "attr": attributes, "data": data.hex()}
    return variable | {"time": _TIMESTAMP.hex()} if attributes == _AUTHENTICATED else variable


def _signature_lists(certificates: Sequence[bytes]) -> bytes:
    """Return certificates (DER) as EFI_SIGNATURE_LISTs, each with one (UEFI 2.10, section 32.4.1)."""
    lists = b""
    for certificate in certificates:
        entry = _OWNER.bytes_le + certificate
        lists += _X509.bytes_le + struct.pack("<III", 28 + len(entry), 0, len(entry)) + entry
    return lists
