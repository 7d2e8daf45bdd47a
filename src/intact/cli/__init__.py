"""The ``intact`` command: ``app`` gathers the commands, whose modules parse, refuse, and only then load what is heavy."""
