"""The machine that a run is on: devices, threads, memory, progress, folders of its own, and how places are named."""
