"""Distributed parameter sweeps of trading strategies that tell skill from luck."""

__version__ = "0.1.0"
