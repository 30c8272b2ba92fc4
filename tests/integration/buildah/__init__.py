"""With the real buildah: toolkits, compiles in their jail, images, signatures of modules."""
