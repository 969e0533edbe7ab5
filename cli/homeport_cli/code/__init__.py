"""The code that goes along with a service: which files it is, what they hold, and sending what the server lacks.

Floors: bundle > selection, mappings, survey, hashing, upload > git, walk > words. `applying` is the one caller.
"""
