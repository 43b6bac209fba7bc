"""How much memory an edit takes, before anything is loaded: from the manifest and the sizes of files alone."""
