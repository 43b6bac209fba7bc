"""Draw-In-Mind image editing on the edge."""
