"""Predictions against published chips and other simulators. Floor 6."""
