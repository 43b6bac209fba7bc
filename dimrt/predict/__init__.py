"""How long an edit takes on a device, before anything is loaded: operations, bytes and the device's rates."""
