"""The code that goes along with a service: which files it is, what they hold, and sending what the server lacks.

Floors: checked, upload > bundle > selection, mappings, survey, hashing > git, walk > words. `operations.deploy` is the one
caller.
"""
