"""``python -m intact``: the same as the ``intact`` command."""

from intact.cli.app import main

main()
