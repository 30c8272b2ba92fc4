"""Images in registries: published, signed, attested, compared, verified, bundled."""
