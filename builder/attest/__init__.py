"""What is said of images, and how it is signed: signatures, statements, bills of materials. Pure."""
