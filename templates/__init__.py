"""Pages and the configuration snippets that people copy."""
