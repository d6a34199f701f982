"""Decides who may reach a socket: pure functions over frozen values. No signing, no I/O."""
