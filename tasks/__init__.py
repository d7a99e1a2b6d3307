"""Prefect tasks: one thin module per stage around one function of tsrec."""
