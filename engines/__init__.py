"""Engines: the graphs of a bundle compiled for one kind of device, and the cache that holds them."""
