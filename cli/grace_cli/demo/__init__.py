"""The main job, end to end, for somebody who watches: `grace demo`."""
