"""Controlled changes of how a case was acquired."""
