"""What whoever tells of devices on a node needs: who works, looks at devices, the runtime's file, troubles."""
