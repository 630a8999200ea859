"""Exceptions that users meet.

Each message says what is wrong, where, and how to mend it. The command line
prints the message alone and exits with `exit_code`; a traceback means a bug.
"""

from __future__ import annotations


class LspsimError(Exception):
    """Base of all errors that a user can mend."""

    exit_code = 2


class ConfigError(LspsimError):
    """A hardware description is malformed, incomplete or contradicts itself."""


class WorkloadError(LspsimError):
    """A workload, operator or mask is malformed or does not fit its operator."""


class UnsupportedOperatorError(WorkloadError):
    """A model contains an operator that lspsim does not model."""


class ScheduleError(LspsimError):
    """A workload cannot be scheduled on the given hardware."""


class ResultError(LspsimError):
    """A result cannot be read, written or compared."""


class ModelError(LspsimError):
    """A model name, checkpoint or module cannot be loaded."""


class MissingDependencyError(LspsimError):
    """An optional dependency is needed and not installed."""
