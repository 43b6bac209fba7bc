"""Small programs that embed dimrt."""
