"""The ``intact`` command."""
