"""Two measurements compared: start at compare.py."""
