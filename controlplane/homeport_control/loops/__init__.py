"""Read, decide, write: one thin loop per subject; each turn returns a sentence."""
