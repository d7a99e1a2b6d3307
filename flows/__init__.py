"""Prefect flows, their deployments, and the command line. No logic."""

import flows.prefect_environment  # noqa: F401  (before anything imports prefect)
