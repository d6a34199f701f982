"""One file per group of commands; ``clients.mysocketctl.cli`` imports the one that is called."""
