"""Which image KMM would take for a kernel."""

from __future__ import annotations

from builder.emit.kmm.mapping import choose_mapping, expand, image_of


def test_the_first_mapping_that_fits_counts() -> None:
    mappings = [{"regexp": "el9"}, {"literal": "5.14.0-1.el9.x86_64"}, {"regexp": "(?=bad"}, {"regexp": "^6"}]
    assert choose_mapping(mappings, "5.14.0-1.el9.x86_64") == 0
    assert choose_mapping(mappings, "6.12.0-1.el10.x86_64") == 3
    assert choose_mapping(mappings, "4.18.0-1.el8.x86_64") is None


def test_variables_are_replaced_as_kmm_does() -> None:
    text = "q/${MOD_NAMESPACE}/$MOD_NAME:${KERNEL_FULL_VERSION}-$KERNEL_X-${KERNEL_XYZ}-${NO:-x}"
    kernel = "5.14.0-427.68.1.el9_4.x86_64+rt"
    assert expand(text, kernel, name="m", namespace="n") == "q/n/m:5.14.0-427.68.1.el9_4.x86_64_rt-5-5.14.0-"
    container = {"containerImage": "q/a:$KERNEL_Y", "kernelMappings": [{"regexp": "^5"}]}
    assert image_of(container, kernel, name="m", namespace="n") == "q/a:14"
    assert image_of(container, "6.1.0-1", name="m", namespace="n") is None
