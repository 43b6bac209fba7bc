"""What `dimrt bench` needs on a device: the device card, ceilings, timing, power, reports."""
