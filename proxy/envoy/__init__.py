"""Envoy as the data plane: configuration built as data, served, supervised and listened to.

``build`` and the files it imports are pure: state in, resources out. ``discovery`` serves them,
``supervisor`` keeps the process alive, ``request_file`` and ``access_log`` read what it says about
every flow.
"""
