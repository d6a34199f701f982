"""HTML pages, and the configuration snippets people copy; no Python but the loader."""
