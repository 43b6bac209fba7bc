"""TensorRT engines of a bundle."""

from dimrt.bundle import Bundle


def engines_are_ready(bundle: Bundle) -> bool:
    """Whether engines of the bundle for this machine's GPU are in the cache."""
    return False
