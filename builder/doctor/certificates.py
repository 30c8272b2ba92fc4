"""What the doctor says of the certificates of signers, before one that expired stops a night's build."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from builder.doctor.condition import Condition, State
from builder.errors import SignerError
from builder.signing.certificates import find_complaints, read_named_identities

if TYPE_CHECKING:
    from datetime import datetime

    from builder.config.model.config import Config
    from builder.signing.certificates import SignerIdentity

_AHEAD = timedelta(days=30)
_REMEDY = "ask for a new one, and name both under 'signers' while nodes learn to trust it"


def examine_certificates(config: Config, *, now: datetime) -> list[Condition]:
    """Look at the certificate of every signer; what is wrong is a warning, since most verbs sign nothing."""
    return [_examine(config, name, now) for name in config.signers]


def _examine(config: Config, name: str, now: datetime) -> Condition:
    title = f"certificate of {name}"
    try:
        identity = read_named_identities(config, [name])[0]
    except SignerError as error:
        return Condition(name=title, status=State.WARN, message=error.message)
    if complaints := find_complaints([identity], now=now):
        return Condition(name=title, status=State.WARN, message=complaints[0], remedy=_REMEDY)
    return _examine_end(title, identity, now)


def _examine_end(title: str, identity: SignerIdentity, now: datetime) -> Condition:
    end = identity.certificate.x509.not_valid_after_utc
    if end - now > _AHEAD:
        return Condition(name=title, status=State.OK, message=f"valid until {end:%Y-%m-%d}")
    message = f"expires on {end:%Y-%m-%d}, in {(end - now).days} days; after that nothing new can be signed by it"
    return Condition(name=title, status=State.WARN, message=message, remedy=_REMEDY)
