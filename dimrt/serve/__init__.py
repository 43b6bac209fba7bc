"""The local HTTP endpoint and its page."""
