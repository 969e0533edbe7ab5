"""What command line and server both do with a machine by SSH: reach it, become root, install, look at it, let it go.

The one registers fleets from where the keys are, the other brings on-demand hosts up with keys that it was given. What it does
not cover: where keys come from and who is trusted (each side's own), and what follows from what happens here.
"""
