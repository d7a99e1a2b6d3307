"""Prefect flows, their deployments, and the command line. No logic."""

import flows.settings  # noqa: F401  (before anything imports prefect)
