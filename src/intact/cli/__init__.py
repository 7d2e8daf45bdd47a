"""The ``intact`` command: ``app`` gathers the commands; each module parses its own, refuses, and loads what is heavy only then."""
