"""With a real registry server: publishing, signatures and who judges them, faults, lists."""
