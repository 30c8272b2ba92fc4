"""What is said of a published image, as documents: statements, bundles, signatures, SBOM. Pure."""
