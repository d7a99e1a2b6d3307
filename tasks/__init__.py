"""Prefect tasks: a thin one per stage around one function of tsrec, and what they show in the UI."""
