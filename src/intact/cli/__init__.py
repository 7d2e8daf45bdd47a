"""The ``intact`` command: ``app`` parses and refuses without loading anything heavy, ``commands`` calls and renders."""
