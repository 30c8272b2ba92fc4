"""``signers`` and ``publish.signer``: who signs, and exactly one way to the private key. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from builder.config.model.declaration import Declaration, complain, form
from builder.config.model.file_names import FileName, RelativeFile
from builder.config.model.names import Text
from builder.config.pkcs11_uri import parse_pkcs11_uri
from builder.errors import SignerError

if TYPE_CHECKING:
    from typing import Self


def _check_pkcs11(text: str) -> str:
    if "pin-value" not in text:  # which has a sentence of its own
        try:
            parse_pkcs11_uri(text)
        except SignerError as error:
            raise complain(error.message) from None
    return text


VariableName = Annotated[str, form(r"^[A-Za-z_][A-Za-z0-9_]*$", "the name of an environment variable, without $")]


class KeyPlace(Declaration):
    """Exactly one way to a private key."""

    key_file: FileName | None = None
    """Private key, PEM or DER, relative to versions.yaml; nobody but its owner may be able to read it."""
    pkcs11: (
        Annotated[
            str,
            form(
                r"^pkcs11:\S+$",
                "a PKCS#11 URI such as pkcs11:token=vendor;object=kmod?module-path=/usr/lib/softhsm/libsofthsm2.so",
            ),
            AfterValidator(_check_pkcs11),
        ]
        | None
    ) = None
    """PKCS#11 URI (RFC 7512) of a private key on a token, with module-path: the key never leaves the token. The module
    is loaded on the host, so it is trusted as `command` is."""
    command: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    """Program that gets a digest (raw bytes, stdin) and prints its signature (base64); {algorithm} becomes sha256
    and so on. For cloud KMS and signing hosts; RSA: PKCS#1 v1.5, ECDSA: DER. It runs on the host, as whoever builds:
    who may change this file may run anything there, unless `--untrusted` forbids it (docs/security.md)."""
    passphrase_env: VariableName | None = None
    """Environment variable with the key file's passphrase or the token's PIN."""
    passphrase_file: FileName | None = None
    """File with the key file's passphrase or the token's PIN."""
    pass_environment: tuple[VariableName, ...] = ()
    """Environment variables that the PKCS#11 module or the command needs; no others are passed on."""

    _WAYS: ClassVar = ("key_file", "pkcs11", "command")
    _root: Path = PrivateAttr(default=Path())
    _is_forbidden: bool = PrivateAttr(default=False)

    @property
    def is_forbidden(self) -> bool:
        """Whether the key may not be opened, and no program started for it: the file is not trusted."""
        return self._is_forbidden

    @property
    def way(self) -> tuple[str, str | tuple[str, ...]]:
        """Which of the ways it is, and what it says."""
        return next((name, value) for name in self._WAYS if (value := getattr(self, name)) is not None)

    def resolve(self, name: str) -> Path:
        """Return the absolute place of a file that the entry names."""
        try:
            return self._root / Path(name).expanduser()
        except RuntimeError:  # there is no such user: then it is a folder of that name
            return self._root / name

    @model_validator(mode="after")
    def _check(self) -> Self:
        ways = [name for name in self._WAYS if getattr(self, name) is not None]
        if len(ways) != 1:
            known = f"{', '.join(self._WAYS[:-1])} and {self._WAYS[-1]}"
            raise complain(f"give exactly one of {known}, not {' and '.join(ways) or 'none'}")
        if self.passphrase_env and self.passphrase_file:
            raise complain("give either passphrase_env or passphrase_file, not both")
        if self.pkcs11 and "pin-value" in self.pkcs11:
            raise complain("a PIN does not belong into a file: use passphrase_env or passphrase_file, not pin-value")
        return self


class Signer(KeyPlace):
    """Somebody who signs modules: a certificate, and exactly one way to its private key."""

    certificate: RelativeFile
    """X.509 certificate, PEM or DER, relative to versions.yaml."""
    digest: Literal["sha256", "sha384", "sha512"] = "sha256"
    """Digest algorithm; the kernels that load the modules must have it (CONFIG_MODULE_SIG_HASH tells)."""


class ImageSigner(KeyPlace):
    """Who signs images and what is attested of them; another key than those that sign modules."""

    public_key: RelativeFile
    """Public key, PEM, relative to versions.yaml: what clusters are given. ECDSA P-256, as cosign makes it, or RSA."""
