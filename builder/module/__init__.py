"""Reading kernel objects: ELF, modinfo, symbol versions, compression, signatures, and Module.symvers. Pure."""
