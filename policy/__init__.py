"""Decides who may reach a socket: pure functions over frozen values. Never signs, never does I/O."""
