"""What signs images and what is stated of them."""

from __future__ import annotations

import pytest
from fakes.published_image import (
    OTHER,
    SIGNER,
    PublishedImage,
)

from builder.errors import SignerError
from builder.publish.attest.simple_signing import signature_tag
from builder.signing.image_key import OpenImageSigner


def test_a_key_of_another_public_key_signs_nothing(image: PublishedImage) -> None:
    broken = OpenImageSigner(SIGNER.key, OTHER._private)
    with pytest.raises(SignerError, match="does not belong to the public key"):
        image.sign(signer=broken)
    assert signature_tag(image.facts.digest) not in {name for _, name in image.server.manifests}
