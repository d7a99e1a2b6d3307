"""Prefect flows, their deployments, and the command line. No logic.

Prefect settings that tsrec needs are set here, before any module of this package imports prefect; the environment
overrides them.
"""

import os

# Telemetry tries the network; a fresh home migrates its database first, which on two busy cores takes its time.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "tsrec")
os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")  # tsrec is also used without a flow
