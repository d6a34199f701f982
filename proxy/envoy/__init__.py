"""Envoy as the data plane: configuration built as data, served, supervised and listened to.

``build`` and the files it imports are pure: state in, resources out. ``discovery`` serves them,
``supervisor`` keeps the process alive, ``access_log`` reads what it says about every flow.
"""
