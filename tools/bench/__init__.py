"""`make bench`: what Grace costs, measured on a stack of its own beside something comparable in the same run."""
