"""Measurements of the product against its peers, as ratios taken in one run on one machine."""
